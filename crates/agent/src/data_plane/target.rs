//! Where a request or a connection goes, and what is expected there.
//!
//! Routing makes a [`Target`] from the mesh of the moment; it holds what it needs of it, so a change of the mesh does not touch a
//! request at hand. While it is held, the request counts as load of its endpoint. Where that endpoint was not reached, the request
//! [moves on](Target::move_on) to another one of the same service, a bounded number of times.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{
    balance::{Load, pick},
    net::Source,
    pool::Key,
    telemetry::Service,
};
use crate::mesh::{Endpoint, Mesh, ServicePort, Standing, Transport, Workload};

/// Where a request or a connection goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: Key,
    /// What it is counted under.
    pub(crate) service: Service,
    /// Who should be there, as far as the mesh knows.
    pub(crate) workload: Option<Arc<Workload>>,
    /// For what the endpoint was chosen, if it was.
    choice: Option<Choice>,
    /// How often the request was sent again.
    n_retries: u8,
}

/// An endpoint that was chosen among others.
#[derive(Debug)]
struct Choice {
    port: Arc<ServicePort>,
    transport: Transport,
    load: Load,
    /// Endpoints that were chosen before and not reached.
    tried: [Option<Arc<Standing>>; MAX_MOVES],
}

/// How often a request moves on to another endpoint, as often as Istio's sidecars send one again.
const MAX_MOVES: usize = 2;

// === impl Target ===

impl Target {
    /// An address that the mesh says nothing about.
    pub(crate) fn unknown(key: Key, service: Service) -> Self {
        Self {
            key,
            service,
            workload: None,
            choice: None,
            n_retries: 0,
        }
    }

    /// A pod that was dialled by its own address.
    pub(crate) fn pod(
        mesh: &Mesh,
        workload: &Arc<Workload>,
        address: SocketAddr,
        service: Service,
    ) -> Self {
        let key = key(mesh, address, workload.transport_to(address.port()));
        Self {
            workload: Some(Arc::clone(workload)),
            ..Self::unknown(key, service)
        }
    }

    /// An endpoint that was chosen for a request to a service.
    pub(crate) fn endpoint(
        mesh: &Mesh,
        port: &Arc<ServicePort>,
        endpoint: &Endpoint,
        service: Service,
    ) -> Self {
        Self {
            key: key(mesh, endpoint.address, endpoint.transport),
            service,
            workload: Some(Arc::clone(&endpoint.workload)),
            choice: Some(Choice {
                port: Arc::clone(port),
                transport: endpoint.transport,
                load: Load::new(endpoint),
                tried: Default::default(),
            }),
            n_retries: 0,
        }
    }

    /// SPIFFE IDs that the other side may have, where mutual TLS is spoken.
    pub(crate) fn identities(&self) -> &[Arc<str>] {
        match (&self.choice, &self.workload) {
            (Some(choice), _) => &choice.port.identities,
            (None, Some(workload)) => std::slice::from_ref(&workload.identity),
            (None, None) => &[],
        }
    }

    /// Server name of mutual TLS.
    pub(crate) fn sni(&self) -> Option<&str> {
        self.choice.as_ref().map(|choice| &*choice.port.sni)
    }

    /// How often the request was sent again, here or elsewhere.
    pub(crate) fn n_retries(&self) -> u8 {
        self.n_retries
    }

    /// The request is sent once more to the same endpoint.
    pub(crate) fn repeat(&mut self) {
        self.n_retries = self.n_retries.saturating_add(1);
    }

    /// The endpoint was not reached: others come first for a while.
    pub(crate) fn eject(&self) {
        if let Some(choice) = &self.choice {
            choice.load.standing().eject(Instant::now());
        }
    }

    /// The endpoint was not reached, and is ejected. Becomes another endpoint of the same service that was not tried
    /// yet and is reached in the same way; false, and nothing changes, if there is none or enough were tried.
    ///
    /// The same way, because whoever can make endpoints fail must not bring about that a request is sent in plain text.
    pub(crate) fn move_on(&mut self, mesh: &Mesh) -> bool {
        self.eject();
        let Some(choice) = &self.choice else {
            return false;
        };
        let mut tried = choice.tried.clone();
        let Some(free) = tried.iter_mut().find(|tried| tried.is_none()) else {
            return false;
        };
        *free = Some(Arc::clone(choice.load.standing()));
        let may = |endpoint: &Endpoint| {
            let mut tried = tried.iter().flatten();
            endpoint.transport == choice.transport
                && !tried.any(|tried| Arc::ptr_eq(tried, &endpoint.standing))
        };
        // Who has come meanwhile can take it, too.
        let port = mesh.current(&choice.port).unwrap_or(&choice.port);
        let Some(endpoint) = pick(port, may) else {
            return false;
        };
        let mut other = Self::endpoint(mesh, port, endpoint, self.service.clone());
        if let Some(choice) = &mut other.choice {
            choice.tried = tried;
        }
        other.n_retries = self.n_retries.saturating_add(1);
        *self = other;
        true
    }
}

fn key(mesh: &Mesh, address: SocketAddr, transport: Transport) -> Key {
    Key {
        address,
        source: Source::Routing,
        is_secured: transport == Transport::IstioMtls && mesh.settings().auto_mtls,
    }
}

//! Where a request or a connection goes, and what is expected there.
//!
//! Routing makes a [`Target`] from the mesh of the moment; it holds what it needs of it, so a change of the mesh does not touch a
//! request at hand. While it is held, the request counts as load of its endpoint.

use std::{net::SocketAddr, sync::Arc};

use super::{
    balance::{Load, pick},
    net::Source,
    pool::Key,
    telemetry::Service,
};
use crate::mesh::{Endpoint, Mesh, ServicePort, Transport, Workload};

/// Where a request or a connection goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: Key,
    /// What it is counted under.
    pub(crate) service: Service,
    /// Who should be there, as far as the mesh knows.
    pub(crate) workload: Option<Arc<Workload>>,
    /// The service that the endpoint was chosen for.
    port: Option<Arc<ServicePort>>,
    _load: Option<Load>,
}

// === impl Target ===

impl Target {
    /// An address that the mesh says nothing about.
    pub(crate) fn unknown(key: Key, service: Service) -> Self {
        Self {
            key,
            service,
            workload: None,
            port: None,
            _load: None,
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
            port: Some(Arc::clone(port)),
            _load: Some(Load::new(endpoint)),
        }
    }

    /// SPIFFE IDs that the other side may have, where mutual TLS is spoken.
    pub(crate) fn identities(&self) -> &[Arc<str>] {
        match (&self.port, &self.workload) {
            (Some(port), _) => &port.identities,
            (None, Some(workload)) => std::slice::from_ref(&workload.identity),
            (None, None) => &[],
        }
    }

    /// Server name of mutual TLS.
    pub(crate) fn sni(&self) -> Option<&str> {
        self.port.as_ref().map(|port| &*port.sni)
    }

    /// Another endpoint of the same service, where this one cannot be reached.
    pub(crate) fn alternative(&self, mesh: &Mesh) -> Option<Self> {
        let port = self.port.as_ref()?;
        let endpoint = pick(&port.endpoints, Some(self.key.address))?;
        Some(Self::endpoint(mesh, port, endpoint, self.service.clone()))
    }
}

fn key(mesh: &Mesh, address: SocketAddr, transport: Transport) -> Key {
    Key {
        address,
        source: Source::Routing,
        is_secured: transport == Transport::IstioMtls && mesh.settings().auto_mtls,
    }
}

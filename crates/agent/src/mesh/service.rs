//! Services and what is behind them, as the data plane sees them.
//!
//! Made by `build` and immutable afterwards, the standing of endpoints aside. A [`ServicePort`] is what routing ends at: it holds
//! all that one request needs, so that nothing is looked up twice.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{Workload, protocol::Protocol, standing::Standing};
use crate::peer::{Names, ServiceNames, names::Handle};

/// A service of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Its name in Kubernetes, `web`.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its full name, in lower case and without a final dot, `web.shop.svc.cluster.local`.
    pub hostname: Arc<str>,
    /// Whether it has no virtual address, so that clients dial the pods.
    pub headless: bool,
    /// Its names in telemetry.
    pub(super) names: Handle<ServiceNames>,
}

/// One port of a service.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// The service.
    pub service: Arc<Service>,
    /// The port that clients dial.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Who takes new requests, the preferred ones first, then sorted by address.
    pub endpoints: Vec<Endpoint>,
    /// Where each tier of them ends that is preferred to the next one; the last one ends with the last of them.
    pub(super) tiers: Box<[u32]>,
    /// Who is there but takes no new requests by way of the service, being not ready or somewhere else than the service wants; clients
    /// that dial their addresses reach them.
    pub aside: Vec<Endpoint>,
    /// Whether clients reach the addresses that they dial, rather than one of the endpoints.
    pub passthrough: bool,
    /// SPIFFE IDs that an endpoint may have, sorted; those of endpoints that stand aside and the service's `subjectAltNames` too.
    pub identities: Arc<[Arc<str>]>,
    /// Server name of mutual TLS, `outbound_.80_._.web.shop.svc.cluster.local`.
    pub sni: Arc<str>,
}

/// Where a port of a service is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoint {
    /// Address and port of the application.
    pub address: SocketAddr,
    /// Who it is.
    pub workload: Arc<Workload>,
    /// How to reach it.
    pub transport: Transport,
    /// How it is doing; the same in every service and after every change, as long as the address is known.
    pub standing: Arc<Standing>,
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// As it is.
    #[default]
    Plaintext,
    /// By Istio's mutual TLS, from sidecar to sidecar.
    IstioMtls,
}

// === impl Service ===

impl Service {
    /// What telemetry calls it. Only the first call for a service takes the lock of `names`.
    pub fn names(&self, names: &Names) -> &ServiceNames {
        let make = || names.service(&self.hostname, &self.name, &self.namespace);
        self.names.get_or_make(make)
    }
}

// === impl ServicePort ===

impl ServicePort {
    /// Everyone behind the port, those that stand aside at the end.
    pub fn all_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(&self.aside)
    }

    /// Who takes new requests, the preferred ones first: of one tier nobody is nearer than the others. At least one tier, which may be
    /// empty.
    pub fn tiers(&self) -> impl Iterator<Item = &[Endpoint]> {
        let ends = self.tiers.iter().map(|end| *end as usize);
        let mut start = 0;
        ends.chain([self.endpoints.len()]).map(move |end| {
            let tier = self.endpoints.get(start..end).unwrap_or_default();
            start = end;
            tier
        })
    }
}

// === impl Endpoint ===

/// Equal in all but how it is doing, which is no property of the mesh.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
            && self.transport == other.transport
            && Arc::ptr_eq(&self.standing, &other.standing)
            && (Arc::ptr_eq(&self.workload, &other.workload) || self.workload == other.workload)
    }
}

impl Eq for Endpoint {}

impl Endpoint {
    /// Requests at hand at this moment.
    #[must_use]
    pub fn load(&self) -> u32 {
        self.standing.n_at_hand()
    }

    /// Whether it could not be reached lately, so that others come first.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.standing.is_ejected(Instant::now)
    }
}

// === impl Transport ===

impl Transport {
    /// The name, as in the configuration dump.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::IstioMtls => "istio-mtls",
        }
    }
}

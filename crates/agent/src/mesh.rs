//! The picture of the mesh that the data plane decides by: services, endpoints, workloads, settings.
//!
//! [`Mesh::build`] makes it of a [`Model`], which comes from a file or from discovery, on the housekeeping thread; workers read the
//! current one from the [`MeshStore`]. A mesh never changes: a change is a new one, which shares with the last all that stayed the
//! same, so that counters and connections that hang on a workload or a port survive.
//!
//! ```text
//! --local-mesh FILE ──► local ──► Model ──► build ──► Mesh ──► MeshStore ──► workers
//! ```

mod build;
pub mod local;
pub mod model;
mod names;
pub mod problem;
pub mod protocol;
pub mod service;
pub mod settings;
pub mod standing;
pub mod store;
mod workload;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub use model::Model;
pub use problem::{Problem, Problems};
pub use protocol::Protocol;
pub use service::{Endpoint, Service, ServicePort, Transport};
pub use settings::{AccessLog, MtlsMode, OutboundPolicy, Settings};
pub use standing::Standing;
pub use store::MeshStore;
pub use workload::{Locality, Workload};

use names::{Host, Names};

/// The mesh at one moment. The default one knows nothing and forbids nothing.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    settings: Settings,
    /// Sorted by host name and port.
    ports: Vec<Arc<ServicePort>>,
    /// Sorted by `uid`.
    workloads: Vec<Arc<Workload>>,
    own: Option<Arc<Workload>>,
    names: Names,
    by_virtual_ip: HashMap<Target, u32>,
    /// The port, and the position among all its endpoints.
    by_endpoint: HashMap<Target, (u32, u32)>,
    by_ip: HashMap<IpAddr, u32>,
    inbound: InboundPorts,
}

/// Who this agent's pod is, as far as the picture depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Own {
    /// The pod's addresses; one is enough.
    pub addresses: Vec<IpAddr>,
    /// Its namespace, which short names of services are relative to.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Name of what owns it, a Deployment for example.
    pub workload_name: String,
    /// Its cluster.
    pub cluster: String,
    /// The trust domain where the model names none.
    pub trust_domain: String,
    /// DNS domain of the cluster, the end of its services' names. Default: `cluster.local`.
    pub cluster_domain: String,
}

/// How connections to one of the pod's own ports are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound<'a> {
    /// Whether they must come by mutual TLS.
    pub mtls: MtlsMode,
    /// What is spoken.
    pub protocol: Protocol,
    /// The service that leads to the port, if one does; the first by name if several do.
    pub service: Option<&'a Arc<ServicePort>>,
}

/// Address and port; an IPv4 address is never written as IPv6.
type Target = (IpAddr, u16);

/// The own ports.
#[derive(Clone, Debug, Default)]
struct InboundPorts {
    /// For ports that nobody has said anything about.
    mtls: MtlsMode,
    /// The others, sorted by port.
    declared: Vec<InboundPort>,
}

#[derive(Clone, Copy, Debug)]
struct InboundPort {
    port: u16,
    mtls: MtlsMode,
    protocol: Protocol,
    service: Option<u32>,
}

/// DNS domain of a cluster where nobody says another.
const CLUSTER_DOMAIN: &str = "cluster.local";

// === impl Mesh ===

impl Mesh {
    /// Makes a picture of `model` for the pod `own`. What is the same as in `previous` is taken over from there.
    ///
    /// # Errors
    /// Everything that is wrong with the model, each with its place.
    pub fn build(model: &Model, own: &Own, previous: Option<&Self>) -> Result<Self, Problems> {
        build::build(model, own, previous)
    }

    /// What holds for the whole mesh.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The port of the service whose virtual address and port this is.
    #[must_use]
    pub fn service_at(&self, virtual_ip: SocketAddr) -> Option<&Arc<ServicePort>> {
        self.port(*self.by_virtual_ip.get(&target(virtual_ip))?)
    }

    /// The port `port` of the service that the bytes of a `Host` field mean: its full name, or `svc`, `svc.ns` or `svc.ns.svc` seen
    /// from the own namespace, or a name that a wildcard service stands for; in any case, with or without a final dot. A port in
    /// `host` must be `port`. Allocates nothing.
    #[must_use]
    pub fn service_named(&self, host: &[u8], port: u16) -> Option<&Arc<ServicePort>> {
        let host = Host::parse(host)?;
        if host.port.is_some_and(|given| given != port) {
            return None;
        }
        let ports = self.names.find(host.name)?;
        let ports = self.ports.get(ports.start as usize..ports.end as usize)?;
        ports.iter().find(|candidate| candidate.port == port)
    }

    /// The endpoint at this address, ready or not, and the service that it belongs to: for clients that dial a pod by itself. Of
    /// several services a headless one is preferred, then the first by name.
    #[must_use]
    pub fn endpoint_at(&self, address: SocketAddr) -> Option<(&Arc<ServicePort>, &Endpoint)> {
        let (port, idx) = *self.by_endpoint.get(&target(address))?;
        let port = self.port(port)?;
        let endpoint = port.all_endpoints().nth(idx as usize)?;
        Some((port, endpoint))
    }

    /// The port as it is in this mesh, of which `port` may be an earlier state.
    #[must_use]
    pub fn current(&self, port: &ServicePort) -> Option<&Arc<ServicePort>> {
        let key = build::sort_key(port);
        let idx = self
            .ports
            .binary_search_by(|known| build::sort_key(known).cmp(&key));
        self.ports.get(idx.ok()?)
    }

    /// The workload that this address is of; none for addresses that a node's pods share.
    #[must_use]
    pub fn workload_at(&self, ip: IpAddr) -> Option<&Arc<Workload>> {
        self.workloads
            .get(*self.by_ip.get(&ip.to_canonical())? as usize)
    }

    /// Whether anything is known of where this leads.
    #[must_use]
    pub fn knows(&self, destination: SocketAddr) -> bool {
        let target = target(destination);
        self.by_endpoint.contains_key(&target)
            || self.by_virtual_ip.contains_key(&target)
            || self.by_ip.contains_key(&target.0)
    }

    /// How connections to the pod's own `port` are taken.
    #[must_use]
    pub fn inbound(&self, port: u16) -> Inbound<'_> {
        let declared = &self.inbound.declared;
        let idx = declared.binary_search_by_key(&port, |declared| declared.port);
        match idx.ok().and_then(|idx| declared.get(idx)) {
            Some(declared) => Inbound {
                mtls: declared.mtls,
                protocol: declared.protocol,
                service: declared.service.and_then(|service| self.port(service)),
            },
            None => Inbound {
                mtls: self.inbound.mtls,
                protocol: Protocol::undeclared(port),
                service: None,
            },
        }
    }

    /// This agent's own pod, if the model knows it.
    #[must_use]
    pub fn own_workload(&self) -> Option<&Arc<Workload>> {
        self.own.as_ref()
    }

    /// Own ports of which something is known, with how they are taken, sorted.
    pub fn inbound_ports(&self) -> impl Iterator<Item = (u16, Inbound<'_>)> {
        let ports = self.inbound.declared.iter().map(|declared| declared.port);
        ports.map(|port| (port, self.inbound(port)))
    }

    /// Every port of every service, sorted by host name and port.
    #[must_use]
    pub fn service_ports(&self) -> &[Arc<ServicePort>] {
        &self.ports
    }

    /// Every workload, sorted by `uid`.
    #[must_use]
    pub fn workloads(&self) -> &[Arc<Workload>] {
        &self.workloads
    }

    fn port(&self, idx: u32) -> Option<&Arc<ServicePort>> {
        self.ports.get(idx as usize)
    }
}

// === impl Own ===

impl Own {
    /// A pod without addresses in `namespace` of a cluster with Istio's default names.
    #[must_use]
    pub fn new(namespace: &str, workload_name: &str) -> Self {
        Self {
            addresses: Vec::new(),
            namespace: namespace.to_owned(),
            service_account: "default".to_owned(),
            workload_name: workload_name.to_owned(),
            cluster: "Kubernetes".to_owned(),
            trust_domain: settings::TRUST_DOMAIN.to_owned(),
            cluster_domain: CLUSTER_DOMAIN.to_owned(),
        }
    }
}

fn target(address: SocketAddr) -> Target {
    (address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;

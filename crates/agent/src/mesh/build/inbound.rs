//! How the pod's own ports are taken: by which services lead to them, and by the modes of mutual TLS.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Builder;
use crate::mesh::{
    InboundPort, InboundPorts,
    model::WorkloadMode,
    problem::{Fault, Place},
    protocol::Protocol,
    service::ServicePort,
    settings::MtlsMode,
    workload::Workload,
};

/// What a port is known by so far.
#[derive(Clone, Copy, Default)]
struct Known {
    service: Option<(u32, Protocol)>,
    mtls: Option<MtlsMode>,
}

// === impl Builder ===

impl Builder<'_> {
    pub(super) fn inbound(
        &mut self,
        own: Option<&Workload>,
        workloads: &[Arc<Workload>],
        ports: &[Arc<ServicePort>],
    ) -> InboundPorts {
        self.check_modes(workloads);
        let model = &self.model.peer_authentication;
        let (namespace, name) = match own {
            Some(own) => (&*own.namespace, &*own.workload_name),
            None => (self.own.namespace.as_str(), self.own.workload_name.as_str()),
        };
        let none = WorkloadMode::default();
        let listed = model.workloads.get(&format!("{namespace}/{name}"));
        let modes = model.own.as_ref().or(listed).unwrap_or(&none);
        let mtls = modes
            .mode
            .or_else(|| model.namespaces.get(namespace).copied())
            .or(model.mode)
            .unwrap_or_default();
        let mut known = own.map(|own| own_ports(own, ports)).unwrap_or_default();
        for (port, mode) in &modes.ports {
            known.entry(port.get()).or_default().mtls = Some(*mode);
        }
        let declared = known.into_iter().map(|(port, known)| InboundPort {
            port,
            mtls: known.mtls.unwrap_or(mtls),
            protocol: known
                .service
                .map_or_else(|| Protocol::undeclared(port), |(_, protocol)| protocol),
            service: known.service.map(|(idx, _)| idx),
        });
        InboundPorts {
            mtls,
            declared: declared.collect(),
        }
    }

    /// Refuses modes for what is not there: what is meant to be strict would stay open.
    fn check_modes(&mut self, workloads: &[Arc<Workload>]) {
        let own = self.own;
        let name = |namespace: &str, name: &str| format!("{namespace}/{name}");
        let mut names = BTreeSet::from([name(&own.namespace, &own.workload_name)]);
        let mut namespaces = BTreeSet::from([own.namespace.clone()]);
        for workload in workloads {
            names.insert(name(&workload.namespace, &workload.workload_name));
            namespaces.insert(workload.namespace.to_string());
        }
        let model = &self.model.peer_authentication;
        let place = || Place::root("peerAuthentication");
        for key in model.namespaces.keys() {
            if !namespaces.contains(key) {
                let fault = Fault::unknown("namespace with workloads", key, namespaces.iter());
                self.refuse(place().field("namespaces").field(key), fault);
            }
        }
        for key in model.workloads.keys() {
            if !names.contains(key) {
                let fault = Fault::unknown("workload", key, names.iter());
                self.refuse(place().field("workloads").field(key), fault);
            }
        }
    }
}

/// Ports of `own` that services lead to. Where services differ about the protocol, the first bytes decide.
fn own_ports(own: &Workload, ports: &[Arc<ServicePort>]) -> BTreeMap<u16, Known> {
    let mut known: BTreeMap<u16, Known> = BTreeMap::new();
    for (port, idx) in ports.iter().zip(0..) {
        let own_endpoints = port
            .all_endpoints()
            .filter(|endpoint| endpoint.workload.uid == own.uid);
        for endpoint in own_endpoints {
            let service = &mut known.entry(endpoint.address.port()).or_default().service;
            *service = match *service {
                None => Some((idx, port.protocol)),
                Some((first, protocol)) if protocol == port.protocol => Some((first, protocol)),
                Some((first, _)) => Some((first, Protocol::Auto)),
            };
        }
    }
    known
}

//! The workload's own calls: accepted on the outbound port, routed by original destination and host.
//!
//! [`inbound`](super::inbound) is the mirror. A pod that was dialled by its own address gets the call itself; otherwise the host that a
//! request names decides, then the virtual address, unless that service's own clients choose; what the mesh does not know is left to
//! policy.

use std::sync::Arc;

use super::{
    balance,
    captured::Decision,
    error::Failure,
    net::{OriginalDestination, Source},
    pool::Key,
    target::Target,
    telemetry::Service,
};
use crate::{
    discovery::Demand,
    mesh::{Mesh, OutboundPolicy, ServicePort},
    peer::Names,
};

/// Where a call goes; `host` are the bytes of the request's `Host` field, none for what is not HTTP. With `demand`, an address that the
/// mesh does not know is nobody's only if it is settled.
pub(crate) fn route(
    mesh: &Mesh,
    names: &Names,
    OriginalDestination(destination): OriginalDestination,
    host: Option<&[u8]>,
    demand: Option<&Demand>,
) -> Decision {
    if let Some((port, endpoint)) = mesh.endpoint_at(destination) {
        let service = Service::Known(port.service.names(names).clone());
        return Decision::Forward(Target::pod(mesh, &endpoint.workload, destination, service));
    }
    let named = host.and_then(|host| mesh.service_named(host, destination.port()));
    let port = named.or_else(|| mesh.service_at(destination));
    if let Some(port) = port.filter(|port| !port.passthrough) {
        return balanced(mesh, names, port);
    }
    if let Some(workload) = mesh.workload_at(destination.ip()) {
        let service = Service::Passthrough;
        return Decision::Forward(Target::pod(mesh, workload, destination, service));
    }
    let is_unknown =
        |demand: &Demand| !demand.allows_unanswered() && !demand.is_settled(destination.ip());
    if demand.is_some_and(is_unknown) {
        return Decision::Refuse(Service::Passthrough, Failure::Undiscovered);
    }
    let key = Key::plaintext(destination, Source::Routing);
    if let Some(port) = port {
        let service = Service::Known(port.service.names(names).clone());
        return Decision::Forward(Target::unknown(key, service));
    }
    match mesh.settings().outbound_policy {
        OutboundPolicy::AllowAny => Decision::Forward(Target::unknown(key, Service::Passthrough)),
        OutboundPolicy::RegistryOnly => Decision::Refuse(Service::BlackHole, Failure::NoRoute),
    }
}

fn balanced(mesh: &Mesh, names: &Names, port: &Arc<ServicePort>) -> Decision {
    let service = Service::Known(port.service.names(names).clone());
    match balance::pick(port, |_| true) {
        Some(endpoint) => Decision::Forward(Target::endpoint(mesh, port, endpoint, service)),
        None => Decision::Refuse(service, Failure::NoEndpoint),
    }
}

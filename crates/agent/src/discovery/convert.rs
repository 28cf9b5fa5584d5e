//! Messages of discovery in the words of the mesh's [`model`](crate::mesh::model).
//!
//! Called for each resource when it comes, which decides whether it is used, and again when a model is made of all. What a message says
//! and this sidecar cannot make use of is left out; what contradicts itself is refused with the field. A resource that passes here
//! passes [`Mesh::build`] by itself.

mod balancing;
mod policies;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    time::Duration,
};

use prost::Message;
use wire::{minimesh as wire_mesh, peer_authentication::PolicyError, workload as wds};

pub use policies::{attached_modes, own_modes, policy};

use crate::{
    config::Encoding,
    mesh::{
        Mesh, Model, OutboundPolicy, Own,
        model::{
            EndpointPort, InboundTls, NetworkAddress, NetworkMode, OutboundTrafficPolicy, Port,
            PortList, PortNumber, Service, Settings, TunnelProtocol, Workload, WorkloadStatus,
            WorkloadType,
        },
        problem::{Fault, Place, Problem},
    },
};

/// What a resource of type `istio.workload.Address` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A service; whether it is the one that Kubernetes would mean by its host name.
    Service(Service, bool),
    /// A workload.
    Workload(Box<Workload>),
    /// Something that has no address which this pod could dial: in another network, or known by name alone.
    Elsewhere,
}

/// Why a resource is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its bytes are no message of its type.
    #[error("it cannot be decoded")]
    Garbled(#[source] prost::DecodeError),
    /// A field is wrong.
    #[error("{0}")]
    Wrong(Problem),
    /// The mesh could not be built with it.
    #[error("{}", .0.to_string().replace('\n', "; "))]
    Unfit(crate::mesh::Problems),
    /// It is called otherwise than its contents say.
    #[error("by its contents its name would be {expected:?}")]
    Name {
        /// The name that would be right.
        expected: String,
    },
    /// It is no policy.
    #[error("{0}")]
    Policy(PolicyError),
    /// It is neither a service nor a workload.
    #[error("it is neither a service nor a workload")]
    Empty,
}

const PORT: &str = "a port number from 1 to 65535";
const ADDRESS: &str = "an IP address of 4 or 16 bytes";
const DURATION: &str = "a duration that is not negative";
/// A name that is longer than any that the mesh takes is not worth keeping whole for a message.
const EXTENSION: &str = "minimesh.discovery.v1.InboundTls";

/// Whether the address that came under `name` can be used by the pod `own`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_address(name: &str, body: &[u8], own: &Own, network: &str) -> Result<(), Refusal> {
    let mut model = Model::default();
    let expected = match address(body, network)? {
        Address::Service(service, _) => {
            let expected = format!("{}/{}", service.namespace, service.hostname);
            model.services.push(service);
            expected
        }
        Address::Workload(mut workload) => {
            // What they refer to comes, or not, as resources of their own.
            workload.services.clear();
            let expected = workload.uid.clone();
            model.workloads.push(*workload);
            expected
        }
        Address::Elsewhere => return Ok(()),
    };
    if expected != name {
        return Err(Refusal::Name { expected });
    }
    check(&model, own)
}

/// Whether these settings can be used by the pod `own`.
///
/// # Errors
/// The first thing that is wrong with them.
pub fn check_settings(body: &[u8], own: &Own) -> Result<(), Refusal> {
    let model = Model {
        settings: settings(body)?,
        ..Model::default()
    };
    check(&model, own)
}

/// Decodes a service or a workload; `network` is the pod's own.
///
/// # Errors
/// When it is none, or a field cannot be read.
pub fn address(body: &[u8], network: &str) -> Result<Address, Refusal> {
    let message = wds::Address::decode(body).map_err(Refusal::Garbled)?;
    match message.r#type.ok_or(Refusal::Empty)? {
        wds::address::Type::Service(message) => {
            let is_canonical = message.canonical;
            Ok(Address::Service(service(message, network)?, is_canonical))
        }
        wds::address::Type::Workload(message) => {
            let is_here = is_own_network(&message.network, network);
            let workload = workload(message)?;
            Ok(if is_here && !workload.addresses.is_empty() {
                Address::Workload(Box::new(workload))
            } else {
                Address::Elsewhere
            })
        }
    }
}

/// Decodes the settings of the mesh.
///
/// # Errors
/// When they are none, or a field cannot be read.
pub fn settings(body: &[u8]) -> Result<Settings, Refusal> {
    let message = wire_mesh::MeshSettings::decode(body).map_err(Refusal::Garbled)?;
    let policy = wire_mesh::OutboundPolicy::try_from(message.outbound_policy)
        .map_err(|_| unknown("outboundPolicy", message.outbound_policy))?;
    let encoding = message.access_log_encoding.map(|number| {
        let encoding = wire_mesh::AccessLogEncoding::try_from(number)
            .map_err(|_| unknown("accessLogEncoding", number))?;
        Ok(match encoding {
            wire_mesh::AccessLogEncoding::Text => Encoding::Text,
            wire_mesh::AccessLogEncoding::Json => Encoding::Json,
        })
    });
    Ok(Settings {
        outbound_traffic_policy: OutboundTrafficPolicy {
            mode: match policy {
                wire_mesh::OutboundPolicy::AllowAny => OutboundPolicy::AllowAny,
                wire_mesh::OutboundPolicy::RegistryOnly => OutboundPolicy::RegistryOnly,
            },
        },
        enable_auto_mtls: message.enable_auto_mtls,
        access_log_file: message.access_log_file,
        access_log_encoding: encoding.transpose()?,
        protocol_detection_timeout: duration(
            message.protocol_detection_timeout,
            "protocolDetectionTimeout",
        )?,
        connect_timeout: duration(message.connect_timeout, "connectTimeout")?,
        trust_domain: Some(message.trust_domain).filter(|name| !name.is_empty()),
        trust_domain_aliases: message.trust_domain_aliases,
    })
}

fn check(model: &Model, own: &Own) -> Result<(), Refusal> {
    Mesh::build(model, own, None)
        .map(drop)
        .map_err(Refusal::Unfit)
}

fn service(message: wds::Service, network: &str) -> Result<Service, Refusal> {
    let mut addresses = Vec::new();
    for (idx, address) in message.addresses.iter().enumerate() {
        let place = || Place::root("addresses").index(idx).field("address");
        let ip = ip(&address.address, place)?;
        let is_prefix = address.length.is_some_and(|length| length != bits(ip));
        // Istio writes 0.0.0.0 where a service has no address.
        if is_own_network(&address.network, network) && !is_prefix && !ip.is_unspecified() {
            addresses.push(NetworkAddress(ip));
        }
    }
    let mut ports: Vec<Port> = Vec::new();
    for (idx, port) in message.ports.iter().enumerate() {
        let place = |field| Place::root("ports").index(idx).field(field);
        let service_port = number(port.service_port, || place("servicePort"))?;
        let target_port = target(port.target_port, || place("targetPort"))?;
        // DNS has one for TCP and one for UDP, and Istio tells of both.
        if ports.iter().any(|known| known.service_port == service_port) {
            continue;
        }
        ports.push(Port {
            service_port,
            target_port,
            name: String::new(),
            app_protocol: app_protocol(port.app_protocol).map(str::to_owned),
        });
    }
    Ok(Service {
        ports,
        name: message.name,
        namespace: message.namespace,
        hostname: message.hostname,
        addresses,
        subject_alt_names: message.subject_alt_names,
        load_balancing: balancing::load_balancing(message.load_balancing)?,
    })
}

fn workload(message: wds::Workload) -> Result<Workload, Refusal> {
    let addresses = message.addresses.iter().enumerate().map(|(idx, bytes)| {
        let ip = ip(bytes, || Place::root("addresses").index(idx))?;
        Ok(NetworkAddress(ip))
    });
    let addresses = addresses.collect::<Result<_, Refusal>>()?;
    let mut services = BTreeMap::new();
    for (key, list) in &message.services {
        services.insert(key.clone(), endpoint_ports(key, list)?);
    }
    Ok(Workload {
        addresses,
        services,
        tunnel_protocol: match wds::TunnelProtocol::try_from(message.tunnel_protocol) {
            Ok(wds::TunnelProtocol::LegacyIstioMtls) => TunnelProtocol::LegacyIstioMtls,
            // A workload that takes tunnels alone takes plain text, too, unless its policy forbids it, and Istio's sidecars dial it
            // so. This sidecar opens no tunnels.
            Ok(wds::TunnelProtocol::None | wds::TunnelProtocol::Hbone) => TunnelProtocol::None,
            Err(_) => return Err(unknown("tunnelProtocol", message.tunnel_protocol)),
        },
        inbound_tls: inbound_tls(&message.extensions)?,
        workload_type: WorkloadType::default(),
        status: match wds::WorkloadStatus::try_from(message.status) {
            Ok(wds::WorkloadStatus::Healthy) => WorkloadStatus::Healthy,
            Ok(wds::WorkloadStatus::Unhealthy) | Err(_) => WorkloadStatus::Unhealthy,
        },
        network_mode: match wds::NetworkMode::try_from(message.network_mode) {
            Ok(wds::NetworkMode::Standard) => NetworkMode::Standard,
            Ok(wds::NetworkMode::HostNetwork) => NetworkMode::HostNetwork,
            Err(_) => return Err(unknown("networkMode", message.network_mode)),
        },
        uid: message.uid,
        name: message.name,
        namespace: message.namespace,
        trust_domain: message.trust_domain,
        service_account: message.service_account,
        canonical_name: message.canonical_name,
        canonical_revision: message.canonical_revision,
        workload_name: message.workload_name,
        cluster_id: message.cluster_id,
        node: message.node,
        authorization_policies: message.authorization_policies,
        locality: balancing::locality(message.locality),
    })
}

fn endpoint_ports(key: &str, list: &wds::PortList) -> Result<PortList, Refusal> {
    let mut ports = Vec::new();
    for (idx, port) in list.ports.iter().enumerate() {
        let place = |field| {
            let ports = Place::root("services").field(key).field("ports");
            ports.index(idx).field(field)
        };
        let service_port = number(port.service_port, || place("servicePort"))?;
        let target_port = target(port.target_port, || place("targetPort"))?;
        ports.push(EndpointPort {
            service_port,
            target_port: target_port.unwrap_or(service_port),
        });
    }
    Ok(PortList { ports })
}

fn inbound_tls(extensions: &[wds::Extension]) -> Result<InboundTls, Refusal> {
    let mut tls = InboundTls::default();
    for (idx, extension) in extensions.iter().enumerate() {
        if extension.name != EXTENSION {
            continue;
        }
        let place = || Place::root("extensions").index(idx).field("config");
        let config = extension.config.as_ref();
        let Some(Ok(message)) = config.map(wire::Any::unpack::<wire_mesh::InboundTls>) else {
            return Err(wrong(place(), Fault::value("the message", "an InboundTls")));
        };
        for port in message.disabled_ports {
            let place = || place().field("disabledPorts");
            tls.disabled_ports.push(number(port, place)?);
        }
    }
    Ok(tls)
}

/// Kubernetes' name of the protocol; nothing where the first bytes decide.
fn app_protocol(number: i32) -> Option<&'static str> {
    match wds::AppProtocol::try_from(number).ok()? {
        wds::AppProtocol::Unknown => None,
        wds::AppProtocol::Http11 => Some("http"),
        wds::AppProtocol::Http2 => Some("http2"),
        wds::AppProtocol::Grpc => Some("grpc"),
        wds::AppProtocol::Tcp => Some("tcp"),
        wds::AppProtocol::Tls => Some("tls"),
    }
}

fn is_own_network(network: &str, own: &str) -> bool {
    network.is_empty() || network == own
}

fn ip(bytes: &[u8], place: impl FnOnce() -> Place) -> Result<IpAddr, Refusal> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    v4.or_else(|_| v6())
        .map(|ip| ip.to_canonical())
        .map_err(|_| {
            wrong(
                place(),
                Fault::value(format!("{} bytes", bytes.len()), ADDRESS),
            )
        })
}

fn bits(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::BITS,
        IpAddr::V6(_) => Ipv6Addr::BITS,
    }
}

fn number(number: u32, place: impl FnOnce() -> Place) -> Result<PortNumber, Refusal> {
    let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
    port.map(PortNumber::from)
        .ok_or_else(|| wrong(place(), Fault::value(number, PORT)))
}

/// A port that may be left open.
fn target(port: u32, place: impl FnOnce() -> Place) -> Result<Option<PortNumber>, Refusal> {
    match port {
        0 => Ok(None),
        given => number(given, place).map(Some),
    }
}

fn duration(
    given: Option<prost_types::Duration>,
    field: &str,
) -> Result<Option<Duration>, Refusal> {
    given
        .map(|given| {
            Duration::try_from(given)
                .map_err(|_| wrong(Place::root(field), Fault::value(given, DURATION)))
        })
        .transpose()
}

fn unknown(field: &str, number: i32) -> Refusal {
    unknown_at(Place::root(field), number)
}

fn unknown_at(place: Place, number: i32) -> Refusal {
    wrong(
        place,
        Fault::value(number, "a value that this version knows"),
    )
}

fn wrong(place: Place, fault: Fault) -> Refusal {
    Refusal::Wrong(Problem { place, fault })
}

#[cfg(test)]
mod tests;

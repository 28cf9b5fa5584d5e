//! A description of the mesh as it is handed over: by discovery, or by a file.
//!
//! The messages are those of Istio's workload discovery (`istio.workload.Service`, `istio.workload.Workload`) with the names that
//! protobuf's JSON mapping gives them, and addresses as texts. Types are checked here, meaning is by
//! [`Mesh::build`](super::Mesh::build).

mod balancing;

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    net::IpAddr,
    num::NonZeroU16,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

pub use balancing::{BalancingMode, HealthPolicy, LoadBalancing, Locality, Scope};

use super::settings::{MtlsMode, OutboundPolicy};
use crate::config::Encoding;

/// Everything that is told about the mesh.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// What holds for the whole mesh.
    pub settings: Settings,
    /// Who must come by mutual TLS.
    pub peer_authentication: PeerAuthentication,
    /// The services.
    pub services: Vec<Service>,
    /// The workloads.
    pub workloads: Vec<Workload>,
}

/// Settings, with the names of Istio's MeshConfig; what is absent is left to the agent's flags, or Istio's default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// What becomes of connections to unknown destinations.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Whether endpoints that can take mutual TLS get it. Default: true.
    pub enable_auto_mtls: Option<bool>,
    /// Where the access log goes; an empty text is off.
    pub access_log_file: Option<String>,
    /// Form of the access log.
    pub access_log_encoding: Option<Encoding>,
    /// How long a client may be silent.
    #[serde(deserialize_with = "duration")]
    pub protocol_detection_timeout: Option<Duration>,
    /// How long an upstream may take to accept.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Option<Duration>,
    /// First part of identities.
    pub trust_domain: Option<String>,
    /// Trust domains that count as the mesh's own.
    pub trust_domain_aliases: Vec<String>,
}

/// MeshConfig's `outboundTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct OutboundTrafficPolicy {
    /// The mode.
    pub mode: OutboundPolicy,
}

/// Modes of mutual TLS for inbound connections, from the widest to the narrowest, which wins. What is absent inherits.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerAuthentication {
    /// Of the whole mesh. Default: PERMISSIVE.
    pub mode: Option<MtlsMode>,
    /// Of namespaces, by name.
    pub namespaces: BTreeMap<String, MtlsMode>,
    /// Of workloads, by `NAMESPACE/WORKLOAD_NAME`.
    pub workloads: BTreeMap<String, WorkloadMode>,
    /// Of the own pod, where somebody else has merged them already; it wins over all others. No file says it.
    #[serde(skip)]
    pub own: Option<WorkloadMode>,
}

/// Modes of one workload.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadMode {
    /// Of all its ports.
    pub mode: Option<MtlsMode>,
    /// Of single ports, which are those of the application.
    pub ports: BTreeMap<PortNumber, MtlsMode>,
}

/// `istio.workload.Service`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Name in Kubernetes.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Full name; absent or empty it is `NAME.NAMESPACE.svc.` and the cluster's domain.
    #[serde(default)]
    pub hostname: String,
    /// Virtual addresses; a service without any is headless.
    #[serde(default)]
    pub addresses: Vec<NetworkAddress>,
    /// Ports that clients dial.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// SPIFFE IDs that an endpoint may have besides those of the workloads.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
    /// Which endpoints come first.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
}

/// `istio.workload.NetworkAddress`: an address as a text, or an object with the fields `network`, which must be the own one, and
/// `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkAddress(pub IpAddr);

/// A port from 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNumber(NonZeroU16);

/// `istio.workload.Port` of a service.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// The port that clients dial.
    pub service_port: PortNumber,
    /// The port of the application; absent it is the same.
    #[serde(default)]
    pub target_port: Option<PortNumber>,
    /// Kubernetes' name of the port, whose first part declares the protocol.
    #[serde(default)]
    pub name: String,
    /// Kubernetes' `appProtocol`, which wins over the name.
    #[serde(default)]
    pub app_protocol: Option<String>,
}

/// `istio.workload.Workload`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Unique name; absent or empty it is made of cluster, namespace and name.
    #[serde(default)]
    pub uid: String,
    /// Name of the pod.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Addresses.
    #[serde(default)]
    pub addresses: Vec<NetworkAddress>,
    /// How its sidecar is reached.
    #[serde(default)]
    pub tunnel_protocol: TunnelProtocol,
    /// What its sidecar does not take part in.
    #[serde(default)]
    pub inbound_tls: InboundTls,
    /// First part of its identity; absent or empty it is the mesh's.
    #[serde(default)]
    pub trust_domain: String,
    /// Absent or empty it is `default`.
    #[serde(default)]
    pub service_account: String,
    /// Absent or empty it is the workload's name.
    #[serde(default)]
    pub canonical_name: String,
    /// Absent or empty it is `latest`.
    #[serde(default)]
    pub canonical_revision: String,
    /// What owns it; nothing depends on it.
    #[serde(default)]
    pub workload_type: WorkloadType,
    /// Name of what owns it; absent or empty it is the name.
    #[serde(default)]
    pub workload_name: String,
    /// Absent or empty it is the own one.
    #[serde(default)]
    pub cluster_id: String,
    /// Node that it runs on; empty it is not known.
    #[serde(default)]
    pub node: String,
    /// Where that is.
    #[serde(default)]
    pub locality: Locality,
    /// Services that it is behind, by `NAMESPACE/HOSTNAME`, with the ports that differ from the service's.
    #[serde(default)]
    pub services: BTreeMap<String, PortList>,
    /// Whether it takes new requests.
    #[serde(default)]
    pub status: WorkloadStatus,
    /// Whose its addresses are.
    #[serde(default)]
    pub network_mode: NetworkMode,
    /// Names of the policies that Istio's control plane attaches to it, `NAMESPACE/NAME`. No file says them.
    #[serde(skip)]
    pub authorization_policies: Vec<String>,
}

/// `istio.workload.PortList`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PortList {
    /// The ports.
    pub ports: Vec<EndpointPort>,
}

/// `istio.workload.Port` of a workload.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointPort {
    /// The port of the service.
    pub service_port: PortNumber,
    /// The port of this workload.
    pub target_port: PortNumber,
}

/// `minimesh.discovery.v1.InboundTls`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct InboundTls {
    /// Ports of the application that take no mutual TLS.
    pub disabled_ports: Vec<PortNumber>,
}

/// `istio.workload.TunnelProtocol`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TunnelProtocol {
    /// As it is.
    #[default]
    None,
    /// Tunnels by HTTP/2, which this agent does not open.
    Hbone,
    /// Mutual TLS from sidecar to sidecar.
    LegacyIstioMtls,
}

/// `istio.workload.WorkloadType`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are Kubernetes' own")]
pub enum WorkloadType {
    #[default]
    Deployment,
    Cronjob,
    Pod,
    Job,
}

/// `istio.workload.WorkloadStatus`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadStatus {
    /// It takes new requests.
    #[default]
    Healthy,
    /// It takes none by way of a service.
    Unhealthy,
}

/// `istio.workload.NetworkMode`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NetworkMode {
    /// Addresses of its own.
    #[default]
    Standard,
    /// Those of its node.
    HostNetwork,
}

// === impl NetworkAddress ===

impl<'de> Deserialize<'de> for NetworkAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Address;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            network: String,
            address: NetworkAddress,
        }

        impl<'de> Visitor<'de> for Address {
            type Value = NetworkAddress;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address such as 10.0.0.1 or fd00::1")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NetworkAddress, E> {
                let address: IpAddr = text
                    .parse()
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                Ok(NetworkAddress(address.to_canonical()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<NetworkAddress, M::Error> {
                let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
                if fields.network.is_empty() {
                    return Ok(fields.address);
                }
                Err(de::Error::custom(
                    "only addresses of the own network can be reached, leave `network` empty",
                ))
            }
        }

        deserializer.deserialize_any(Address)
    }
}

// === impl PortNumber ===

impl PortNumber {
    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl From<NonZeroU16> for PortNumber {
    fn from(number: NonZeroU16) -> Self {
        Self(number)
    }
}

impl Display for PortNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Also a text, because keys of JSON's objects are nothing else.
impl<'de> Deserialize<'de> for PortNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = PortNumber;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a port number from 1 to 65535")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PortNumber, E> {
                u16::try_from(number)
                    .ok()
                    .and_then(NonZeroU16::new)
                    .map(PortNumber)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortNumber, E> {
                text.parse()
                    .map(PortNumber)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// A duration with a unit, `10s`; null is as good as absent.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| runtime::duration::parse(&text).map_err(de::Error::custom))
        .transpose()
}

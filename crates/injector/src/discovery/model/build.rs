//! One object, and what it depends on, becomes one message.
//!
//! Called by [`Model::settle`] for what may have changed. What is filled and what is not stands in `docs/reference/discovery.md`.

use std::{collections::BTreeMap, hash::Hasher as _, net::IpAddr, num::NonZeroU16};

use bytes::Bytes;
use prost::{Message as _, Name as _};
use wire::{
    Any,
    minimesh::InboundTls,
    workload::{
        self, Address, Extension, LoadBalancing, Locality, NetworkAddress, NetworkMode, Port,
        PortList, TunnelProtocol, WorkloadStatus, WorkloadType,
        address::Type,
        load_balancing::{HealthPolicy, Mode as Balancing, Scope},
    },
};

use super::Model;
use crate::discovery::{
    inbound::{Takes, takes},
    object::{Endpoint, Key, Pod, Preference, Service, Slice, Target, Text},
    store::Resource,
};

/// The trust domain that messages leave out (Istio's `pkg/config/constants`).
pub(super) const TRUST_DOMAIN: &str = "cluster.local";

/// What a workload is behind: ports by the name of the service's resource.
type Memberships = BTreeMap<Text, Vec<Port>>;

// === impl Model ===

impl Model {
    pub(super) fn service_name(&self, key: &Key) -> Text {
        let Key { namespace, name } = key;
        format!("{namespace}/{name}.{namespace}.svc.{}", self.cluster.domain).into()
    }

    pub(super) fn pod_uid(&self, key: &Key) -> Text {
        format!("{}//Pod/{key}", self.cluster.name).into()
    }

    /// Named as in Istio.
    pub(super) fn manual_uid(&self, slice: &Key, address: IpAddr) -> Text {
        let cluster = &self.cluster.name;
        format!("{cluster}/discovery.k8s.io/EndpointSlice/{slice}/{address}").into()
    }

    pub(super) fn service(&self, key: &Key, service: &Service) -> Resource {
        let Key { namespace, name } = key;
        let ports = service.ports.iter().map(|port| Port {
            service_port: port.number.into(),
            target_port: port.target.into(),
            app_protocol: port.protocol.into(),
        });
        let addresses = service.addresses.iter().map(|address| NetworkAddress {
            network: String::new(),
            address: octets(*address),
            length: None,
        });
        let message = workload::Service {
            name: name.to_string(),
            namespace: namespace.to_string(),
            hostname: format!("{name}.{namespace}.svc.{}", self.cluster.domain),
            addresses: addresses.collect(),
            ports: ports.collect(),
            load_balancing: load_balancing(service),
            ip_families: service.ip_families.into(),
            canonical: true,
            ..workload::Service::default()
        };
        encoded(
            self.service_name(key),
            Type::Service(message),
            service.addresses.clone(),
            Box::default(),
        )
    }

    /// The workload of a pod; nothing as long as it has no address.
    pub(super) fn pod_workload(&self, key: &Key) -> Option<Resource> {
        let pod = self.pods.get(key)?;
        if pod.addresses.is_empty() {
            return None;
        }
        let memberships = self.memberships(key, pod);
        let (tunnel_protocol, extensions) = self.tunnel(key, pod, &memberships);
        let services = memberships.keys().cloned().collect();
        let message = workload::Workload {
            uid: self.pod_uid(key).to_string(),
            name: key.name.to_string(),
            namespace: key.namespace.to_string(),
            addresses: pod.addresses.iter().copied().map(octets).collect(),
            tunnel_protocol: tunnel_protocol.into(),
            trust_domain: self.trust_domain(),
            service_account: pod.service_account.to_string(),
            node: pod.node.to_string(),
            canonical_name: pod.canonical_name.to_string(),
            canonical_revision: pod.canonical_revision.to_string(),
            workload_type: pod.workload_type.into(),
            workload_name: pod.workload_name.to_string(),
            services: port_lists(memberships),
            status: status(pod.state.serves),
            cluster_id: self.cluster.name.clone(),
            locality: self.locality(&pod.node),
            network_mode: match pod.state.host_network {
                true => NetworkMode::HostNetwork.into(),
                false => NetworkMode::Standard.into(),
            },
            extensions,
            ..workload::Workload::default()
        };
        Some(encoded(
            self.pod_uid(key),
            Type::Workload(message),
            pod.addresses.clone(),
            services,
        ))
    }

    /// The workloads of a slice's addresses that are no pods', by address. Nobody vouches for who is there, so they have no identity.
    pub(super) fn manual_workloads(&self, key: &Key) -> Vec<(IpAddr, Resource)> {
        let Some((slice, service)) = self.slice_of(key) else {
            return Vec::new();
        };
        let mut workloads: BTreeMap<IpAddr, Resource> = BTreeMap::new();
        for endpoint in &slice.endpoints {
            let Target::Address(address) = endpoint.target else {
                continue;
            };
            if self.index.pods_of_address(address).next().is_some() {
                continue;
            }
            let name = self.service_name(&key.sibling(&slice.service));
            let mut ports = Vec::new();
            add_ports(&mut ports, service, slice);
            let message = workload::Workload {
                uid: self.manual_uid(key, address).to_string(),
                name: key.name.to_string(),
                namespace: key.namespace.to_string(),
                addresses: vec![octets(address)],
                trust_domain: self.trust_domain(),
                workload_type: WorkloadType::Pod.into(),
                services: port_lists([(name.clone(), ports)]),
                status: status(endpoint.ready),
                cluster_id: self.cluster.name.clone(),
                // The address may be shared with others that nothing is known of.
                network_mode: NetworkMode::HostNetwork.into(),
                ..workload::Workload::default()
            };
            let resource = encoded(
                self.manual_uid(key, address),
                Type::Workload(message),
                Box::new([address]),
                Box::new([name]),
            );
            workloads.entry(address).or_insert(resource);
        }
        workloads.into_iter().collect()
    }

    fn slice_of(&self, key: &Key) -> Option<(&Slice, &Service)> {
        let slice = self.slices.get(key)?;
        let service = self.services.get(&key.sibling(&slice.service))?;
        Some((slice, service))
    }

    /// The services that a pod is behind. Slices say so: by its name, or by an address that is its own.
    fn memberships(&self, key: &Key, pod: &Pod) -> Memberships {
        let mut memberships = Memberships::new();
        let named = |endpoint: &Endpoint| endpoint.target == Target::Pod(key.name.clone());
        for slice in self.index.slices_of_pod(key) {
            self.join(&slice, pod, named, &mut memberships);
        }
        for address in super::own_addresses(pod) {
            let named = |endpoint: &Endpoint| endpoint.target == Target::Address(*address);
            for slice in self.index.slices_of_address(*address) {
                self.join(&slice, pod, named, &mut memberships);
            }
        }
        memberships
    }

    /// Adds what one slice says of a pod.
    fn join(
        &self,
        slice_key: &Key,
        pod: &Pod,
        is_pod: impl Fn(&Endpoint) -> bool,
        memberships: &mut Memberships,
    ) {
        let Some((slice, service)) = self.slice_of(slice_key) else {
            return;
        };
        let mut endpoints = slice.endpoints.iter().filter(|endpoint| is_pod(endpoint));
        // A message has one status for all services of a pod, which is the pod's own. Whoever keeps a pod that serves out of one of its services means
        // that service only.
        let is_in = endpoints.any(|endpoint| endpoint.ready || !pod.state.serves);
        if is_in {
            let name = self.service_name(&slice_key.sibling(&slice.service));
            add_ports(memberships.entry(name).or_default(), service, slice);
        }
    }

    /// How the pod's sidecar is reached, and what the message has no field for.
    fn tunnel(
        &self,
        key: &Key,
        pod: &Pod,
        memberships: &Memberships,
    ) -> (TunnelProtocol, Vec<Extension>) {
        if !pod.state.sidecar {
            return (TunnelProtocol::None, Vec::new());
        }
        let targets = memberships.values().flatten();
        let targets = targets.filter_map(|port| {
            let port = u16::try_from(port.target_port).ok()?;
            NonZeroU16::new(port)
        });
        match takes(&self.policies, &key.namespace, &pod.labels, targets) {
            Takes::Nothing => (TunnelProtocol::None, Vec::new()),
            Takes::AllBut(ports) if ports.is_empty() => {
                (TunnelProtocol::LegacyIstioMtls, Vec::new())
            }
            Takes::AllBut(ports) => {
                let tls = InboundTls {
                    disabled_ports: ports.into_iter().map(|port| port.get().into()).collect(),
                };
                let extension = Extension {
                    name: InboundTls::full_name(),
                    config: Some(Any::pack(&tls)),
                };
                (TunnelProtocol::LegacyIstioMtls, vec![extension])
            }
        }
    }

    fn trust_domain(&self) -> String {
        match self.cluster.trust_domain.as_str() {
            TRUST_DOMAIN => String::new(),
            other => other.to_owned(),
        }
    }

    fn locality(&self, node: &Text) -> Option<Locality> {
        let node = self.nodes.get(node)?;
        (!node.region.is_empty() || !node.zone.is_empty()).then(|| Locality {
            region: node.region.to_string(),
            zone: node.zone.to_string(),
            subzone: node.subzone.to_string(),
        })
    }
}

/// Adds the ports of the service that the slice knows; what several slices say of one port is said once.
fn add_ports(ports: &mut Vec<Port>, service: &Service, slice: &Slice) {
    for (name, target) in &slice.ports {
        let Some(port) = service.ports.iter().find(|port| port.name == *name) else {
            continue;
        };
        let service_port = u32::from(port.number);
        let known = |known: &Port| known.service_port.cmp(&service_port);
        if let Err(position) = ports.binary_search_by(known) {
            let port = Port {
                service_port,
                target_port: (*target).into(),
                // The service's message says it.
                app_protocol: 0,
            };
            ports.insert(position, port);
        }
    }
}

fn port_lists(
    memberships: impl IntoIterator<Item = (Text, Vec<Port>)>,
) -> BTreeMap<String, PortList> {
    let memberships = memberships.into_iter();
    memberships
        .map(|(name, ports)| (name.to_string(), PortList { ports }))
        .collect()
}

fn status(serves: bool) -> i32 {
    match serves {
        true => WorkloadStatus::Healthy.into(),
        false => WorkloadStatus::Unhealthy.into(),
    }
}

fn load_balancing(service: &Service) -> Option<LoadBalancing> {
    let (scopes, mode): (&[Scope], _) = match service.preference {
        Preference::Any => (&[], Balancing::UnspecifiedMode),
        Preference::OnlySameNode => (&[Scope::Node], Balancing::Strict),
        Preference::SameNode => (
            &[
                Scope::Network,
                Scope::Region,
                Scope::Zone,
                Scope::Subzone,
                Scope::Node,
            ],
            Balancing::Failover,
        ),
        Preference::SameZone => (
            &[Scope::Network, Scope::Region, Scope::Zone],
            Balancing::Failover,
        ),
    };
    if scopes.is_empty() && !service.publish_not_ready {
        return None;
    }
    Some(LoadBalancing {
        routing_preference: scopes.iter().map(|&scope| scope.into()).collect(),
        mode: mode.into(),
        health_policy: match service.publish_not_ready {
            true => HealthPolicy::AllowAll.into(),
            false => HealthPolicy::OnlyHealthy.into(),
        },
    })
}

fn octets(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    }
}

fn encoded(name: Text, r#type: Type, addresses: Box<[IpAddr]>, services: Box<[Text]>) -> Resource {
    let address = Address {
        r#type: Some(r#type),
    };
    let value = Bytes::from(address.encode_to_vec());
    Resource {
        name,
        version: version(&value),
        value,
        addresses,
        services,
    }
}

/// A hash of the contents. Replicas of one build agree on it; where builds differ, a client that changes over is sent once more what it has.
pub(in crate::discovery) fn version(value: &[u8]) -> u64 {
    // Without a random key, unlike the maps of the standard library.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

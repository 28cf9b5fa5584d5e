//! What is received becomes what is kept.
//!
//! Called by the follower for every object. An object that discovery has no use for gives nothing; one that cannot be used gives an error that says
//! why, and is treated as if it were not there. Everything that is kept goes through [`Texts`].

use std::net::IpAddr;

use contract::{annotations, labels, pod as names};
use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::core::PartialObjectMeta;
use serde_json::json;
use template::Owner;
use wire::workload::{AppProtocol, IpFamilies, WorkloadType};

use super::received;
use crate::discovery::{
    model::protocol,
    object::{
        Endpoint, Key, Labels, Node, Pod, PodState, Preference, Service, ServicePort, Slice,
        Target, Texts,
    },
};

/// Why an object cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// An address is none.
    #[error("{field}: {value:?} is no IP address")]
    Address {
        /// Where.
        field: &'static str,
        /// What is there.
        value: String,
    },
    /// A port is none.
    #[error("{field}: {value} is no port, ports are from 1 to 65535")]
    Port {
        /// Where.
        field: &'static str,
        /// What is there.
        value: i32,
    },
}

/// Says that a sidecar can take part in mutual TLS.
const MUTUAL_TLS: &str = "istio";
/// Names the Service of an EndpointSlice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Of nodes; the last one is Istio's.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";
/// The annotation for clusters whose Services do not have the field yet.
const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
/// The canonical revision of a pod that names none.
const LATEST: &str = "latest";

/// Namespace and name.
pub(super) fn key(metadata: &ObjectMeta, texts: &mut Texts) -> Key {
    Key {
        namespace: texts.get(metadata.namespace.as_deref().unwrap_or_default()),
        name: texts.get(metadata.name.as_deref().unwrap_or_default()),
    }
}

/// A pod; nothing once it has ended.
pub(super) fn pod(pod: &received::Pod, texts: &mut Texts) -> Result<Option<Pod>, Unusable> {
    if matches!(&*pod.status.phase, "Succeeded" | "Failed") {
        return Ok(None);
    }
    let metadata = &pod.metadata;
    let label = |keys: &[&str]| {
        let labels = metadata.labels.as_ref()?;
        let mut values = keys.iter().filter_map(|&key| labels.get(key));
        values.find(|value| !value.is_empty()).cloned()
    };
    let owner = owner(metadata);
    let workload_name = label(&[labels::WORKLOAD_NAME]).unwrap_or(owner.name);
    let canonical_name = label(&[labels::CANONICAL_NAME, labels::APP_NAME, labels::APP])
        .unwrap_or_else(|| workload_name.clone());
    let canonical_revision = label(&[
        labels::CANONICAL_REVISION,
        labels::APP_VERSION,
        labels::VERSION,
    ]);
    let mut conditions = pod.status.conditions.iter();
    let is_ready =
        conditions.any(|condition| condition.r#type == "Ready" && condition.status == "True");
    let ips = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str());
    let first = pod.status.pod_ip.as_str();
    let ips: Vec<&str> = match pod.status.pod_ips.is_empty() {
        true => Some(first)
            .filter(|ip| !ip.is_empty())
            .into_iter()
            .collect(),
        false => ips.collect(),
    };
    Ok(Some(Pod {
        addresses: addresses("status.podIPs", ips)?,
        labels: kept_labels(metadata, texts),
        service_account: texts.get(&pod.spec.service_account_name),
        node: texts.get(&pod.spec.node_name),
        workload_name: texts.get(&workload_name),
        workload_type: match owner.kind.as_str() {
            "Deployment" => WorkloadType::Deployment,
            "CronJob" => WorkloadType::Cronjob,
            "Job" => WorkloadType::Job,
            _ => WorkloadType::Pod,
        },
        canonical_name: texts.get(&canonical_name),
        canonical_revision: texts.get(canonical_revision.as_deref().unwrap_or(LATEST)),
        state: PodState {
            serves: is_ready && metadata.deletion_timestamp.is_none(),
            host_network: pod.spec.host_network,
            sidecar: has_sidecar(pod),
        },
    }))
}

/// Istio goes by the label alone. Pods that were injected and whose label was taken away are known by what injection leaves behind.
fn has_sidecar(pod: &received::Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    if let Some(mode) = labels.and_then(|labels| labels.get(labels::TLS_MODE)) {
        return mode == MUTUAL_TLS;
    }
    let annotations = pod.metadata.annotations.as_ref();
    let injected = annotations.is_some_and(|all| all.contains_key(annotations::STATUS));
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let mut names = containers.map(|container| container.name.as_str());
    injected && names.any(|name| name == names::PROXY_CONTAINER)
}

/// The workload behind the pod, by the rules of injection.
fn owner(metadata: &ObjectMeta) -> Owner {
    let owners: Vec<_> = metadata
        .owner_references
        .iter()
        .flatten()
        .map(|owner| {
            json!({
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "controller": owner.controller,
            })
        })
        .collect();
    Owner::of(&json!({
        "metadata": {
            "name": metadata.name,
            "generateName": metadata.generate_name,
            "labels": metadata.labels,
            "ownerReferences": owners,
        },
    }))
}

fn kept_labels(metadata: &ObjectMeta, texts: &mut Texts) -> Labels {
    let labels = metadata.labels.iter().flatten();
    labels
        .map(|(key, value)| (texts.get(key), texts.get(value)))
        .collect()
}

/// A Service; nothing if it is another name for something outside.
pub(super) fn service(
    service: &received::Service,
    texts: &mut Texts,
) -> Result<Option<Service>, Unusable> {
    let spec = &service.spec;
    if spec.r#type == "ExternalName" {
        return Ok(None);
    }
    let ips: Vec<&str> = match spec.cluster_ips.is_empty() {
        true => vec![spec.cluster_ip.as_str()],
        false => spec.cluster_ips.iter().map(String::as_str).collect(),
    };
    let ips = ips.into_iter().filter(|ip| !matches!(*ip, "" | "None"));
    let ports = spec.ports.iter().filter(|port| is_tcp(&port.protocol));
    Ok(Some(Service {
        addresses: addresses("spec.clusterIPs", ips)?,
        ports: ports
            .map(|port| service_port(port, texts))
            .collect::<Result<_, _>>()?,
        ip_families: match &*spec.ip_families {
            [only] if only == "IPv4" => IpFamilies::Ipv4Only,
            [only] if only == "IPv6" => IpFamilies::Ipv6Only,
            [_, _] => IpFamilies::Dual,
            _ => IpFamilies::Automatic,
        },
        publish_not_ready: spec.publish_not_ready,
        preference: preference(service),
    }))
}

fn service_port(port: &received::ServicePort, texts: &mut Texts) -> Result<ServicePort, Unusable> {
    let number = number("spec.ports[].port", port.port)?;
    let target = match &port.target_port {
        None => number,
        Some(IntOrString::Int(0)) => number,
        Some(IntOrString::Int(target)) => self::number("spec.ports[].targetPort", *target)?,
        Some(IntOrString::String(_)) => 0,
    };
    let protocol: AppProtocol =
        protocol::declared(number, &port.name, port.app_protocol.as_deref());
    Ok(ServicePort {
        number,
        target,
        name: texts.get(&port.name),
        protocol,
    })
}

/// `internalTrafficPolicy` before the traffic distribution, its field before its annotation, as in Istio.
fn preference(service: &received::Service) -> Preference {
    if service.spec.internal_traffic_policy == "Local" {
        return Preference::OnlySameNode;
    }
    let annotations = service.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|annotations| annotations.get(TRAFFIC_DISTRIBUTION));
    let of = |text: &str| match text.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => Some(Preference::SameZone),
        "prefersamenode" => Some(Preference::SameNode),
        _ => None,
    };
    of(&service.spec.traffic_distribution)
        .or_else(|| of(annotation?))
        .unwrap_or_default()
}

/// An EndpointSlice; nothing if it is of no Service, or names hosts instead of addresses.
pub(super) fn slice(
    slice: &received::EndpointSlice,
    texts: &mut Texts,
) -> Result<Option<Slice>, Unusable> {
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME));
    let (Some(service), "IPv4" | "IPv6") = (service, &*slice.address_type) else {
        return Ok(None);
    };
    let ports = slice.ports.iter().flatten();
    let ports = ports.filter(|port| is_tcp(port.protocol.as_deref().unwrap_or_default()));
    let ports = ports.filter_map(|port| {
        let name = port.name.as_deref().unwrap_or_default();
        // Without a number it is every port, which no Service of ours can mean.
        Some((name, port.port?))
    });
    Ok(Some(Slice {
        service: texts.get(service),
        ports: ports
            .map(|(name, port)| Ok((texts.get(name), number("ports[].port", port)?)))
            .collect::<Result<_, _>>()?,
        endpoints: slice
            .endpoints
            .iter()
            .flatten()
            .filter_map(|endpoint| self::endpoint(endpoint, slice, texts).transpose())
            .collect::<Result<_, _>>()?,
    }))
}

fn endpoint(
    endpoint: &received::Endpoint,
    slice: &received::EndpointSlice,
    texts: &mut Texts,
) -> Result<Option<Endpoint>, Unusable> {
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let target = endpoint.target_ref.as_ref();
    let pod = target.filter(|target| target.kind == "Pod" && !target.name.is_empty());
    let target = match pod {
        // Nobody can speak for pods of another namespace.
        Some(pod) if !pod.namespace.is_empty() && pod.namespace != namespace => return Ok(None),
        Some(pod) => Target::Pod(texts.get(&pod.name)),
        // Kubernetes never sets more than one.
        None => match endpoint.addresses.first() {
            Some(address) => Target::Address(self::address("endpoints[].addresses", address)?),
            None => return Ok(None),
        },
    };
    Ok(Some(Endpoint {
        target,
        ready: endpoint.conditions.ready.unwrap_or(true),
    }))
}

/// Where a node is.
pub(super) fn node(node: &PartialObjectMeta<core::Node>, texts: &mut Texts) -> Node {
    let labels = node.metadata.labels.as_ref();
    let mut text = |key| {
        let value = labels.and_then(|labels| labels.get(key));
        texts.get(value.map_or("", String::as_str))
    };
    Node {
        region: text(REGION),
        zone: text(ZONE),
        subzone: text(SUBZONE),
    }
}

fn is_tcp(protocol: &str) -> bool {
    matches!(protocol, "" | "TCP")
}

fn addresses<'a>(
    field: &'static str,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<Box<[IpAddr]>, Unusable> {
    let texts = texts.into_iter();
    texts.map(|text| address(field, text)).collect()
}

fn address(field: &'static str, text: &str) -> Result<IpAddr, Unusable> {
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => {
            Ok(address.to_canonical())
        }
        _ => Err(Unusable::Address {
            field,
            value: text.chars().take(100).collect(),
        }),
    }
}

fn number(field: &'static str, value: i32) -> Result<u16, Unusable> {
    let port = u16::try_from(value).ok().filter(|port| *port > 0);
    port.ok_or(Unusable::Port { field, value })
}

#[cfg(test)]
mod tests;

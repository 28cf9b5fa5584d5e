//! What the agent goes by, as JSON: its settings, and its picture of the mesh.
//!
//! Only what is named here is shown; probes are counted, not shown, because their headers may hold passwords.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::{AccessLog, Config, Drain},
    discovery::status::Report,
    mesh::{self, Endpoint, Mesh, ServicePort, Workload},
    tls::{Credentials, Refusal},
};

/// Everything, or the part that is called `resource`; nothing if none is.
pub(super) fn dump(
    config: &Config,
    mesh: &Mesh,
    report: &Report,
    resource: Option<&str>,
) -> Option<Value> {
    match resource {
        None => Some(json!({
            "agent": agent(config),
            "settings": settings(mesh),
            "inbound": inbound(mesh),
            "discovery": discovery(report),
            "services": services(mesh),
            "workloads": workloads(mesh),
        })),
        Some("settings") => Some(json!({"agent": agent(config), "settings": settings(mesh)})),
        Some("inbound") => Some(json!({"inbound": inbound(mesh)})),
        Some("discovery") => Some(json!({"discovery": discovery(report)})),
        Some("services") => Some(json!({"services": services(mesh)})),
        Some("workloads") => Some(json!({"workloads": workloads(mesh)})),
        Some(_) => None,
    }
}

/// The own certificate in the form of Envoy's `/certs`.
pub(super) fn certificate(credentials: &Credentials) -> Value {
    let validity = credentials.validity();
    let left = validity.not_after - OffsetDateTime::now_utc();
    json!({
        "cert_chain": [{
            "subject_alt_names": [{"uri": credentials.id().to_string()}],
            "days_until_expiration": left.whole_days().max(0).to_string(),
            "valid_from": time_text(validity.not_before),
            "expiration_time": time_text(validity.not_after),
        }],
        "generation": credentials.generation(),
    })
}

/// Why the files of the own certificate as they are now are not in use.
pub(super) fn refusal(refusal: &Refusal) -> Value {
    json!({"at": time_text(refusal.at.into()), "reason": refusal.reason})
}

fn agent(config: &Config) -> Value {
    let drain = match config.drain {
        Drain::Fixed(limit) => json!({"fixed_ms": limit.as_millis()}),
        Drain::UntilIdle { minimum, limit } => json!({
            "until_idle_after_ms": minimum.as_millis(),
            "limit_ms": limit.map(|limit| limit.as_millis()),
        }),
    };
    let workload = &config.workload;
    let own = &config.own;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "workers": config.workers,
        "ports": BTreeMap::from(config.ports.named()),
        "interception": format!("{:?}", config.interception).to_ascii_uppercase(),
        "dns_capture": config.captures_dns,
        "access_log": config.access_log.as_ref().map(flag_log),
        "detect_timeout_ms": config.detect_timeout.as_millis(),
        "drain": drain,
        "application": config.application.to_string(),
        "probes": config.probes.n_probes(),
        "local_mesh": config.local_mesh.as_ref().map(|path| path.display().to_string()),
        "workload": {
            "name": workload.name, "namespace": workload.namespace, "service_account": workload.service_account,
            "cluster": workload.cluster, "trust_domain": workload.trust_domain, "app": workload.app,
            "version": workload.version, "canonical_name": workload.canonical_name,
            "canonical_revision": workload.canonical_revision,
        },
        "addresses": own.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cluster_domain": own.cluster_domain,
    })
}

fn flag_log(log: &AccessLog) -> Value {
    json!({"file": log.file.display().to_string(), "encoding": format!("{:?}", log.encoding)})
}

fn discovery(report: &Report) -> Value {
    let time = |time: Option<SystemTime>| time.map(|time| time_text(OffsetDateTime::from(time)));
    let kinds = report.kinds.iter().map(|of| {
        json!({
            "type": of.kind, "answered": of.is_answered, "resources": of.n_held, "version": of.version, "last_nack": of.refusal,
        })
    });
    json!({
        "control_plane": report.control_plane,
        "identifier": report.identifier,
        "connected_since": time(report.connected_since),
        "last_error": report.last_error,
        "mode": if report.wildcard { "wildcard" } else { "on-demand" },
        "cache_in_use_from": time(report.cache_from),
        "bytes": report.n_bytes,
        "types": kinds.collect::<Vec<Value>>(),
        "n_subscriptions": report.n_subscriptions,
        "subscriptions": report.subscriptions,
    })
}

fn settings(mesh: &Mesh) -> Value {
    let settings = mesh.settings();
    let access_log = settings.access_log.as_ref().map(|log| match log {
        mesh::AccessLog::Off => json!("off"),
        mesh::AccessLog::File { path, encoding } => {
            json!({"file": path.display().to_string(), "encoding": format!("{encoding:?}")})
        }
    });
    json!({
        "outbound_policy": settings.outbound_policy.as_str(),
        "auto_mtls": settings.auto_mtls,
        "access_log": access_log,
        "detection_timeout_ms": settings.detection_timeout.map(|limit| limit.as_millis()),
        "connect_timeout_ms": settings.connect_timeout.map(|limit| limit.as_millis()),
        "trust_domain": &*settings.trust_domain,
        "trust_domain_aliases": texts(&settings.trust_domain_aliases),
    })
}

fn inbound(mesh: &Mesh) -> Value {
    let row = |(port, inbound): (Option<u16>, mesh::Inbound<'_>)| {
        json!({
            "port": port,
            "mtls": inbound.mtls.as_str(),
            "protocol": inbound.protocol.as_str(),
            "service": inbound.service.map(|port| format!("{}:{}", port.service.hostname, port.port)),
        })
    };
    let declared = mesh
        .inbound_ports()
        .map(|(port, inbound)| (Some(port), inbound));
    // A port that nothing is said about stands for all others; nobody serves port 0.
    let others = std::iter::once((None, mesh.inbound(0)));
    declared.chain(others).map(row).collect()
}

fn services(mesh: &Mesh) -> Value {
    mesh.service_ports()
        .iter()
        .map(|port| service(port))
        .collect()
}

fn service(port: &ServicePort) -> Value {
    let endpoints = |endpoints: &[Endpoint]| endpoints.iter().map(endpoint).collect::<Vec<Value>>();
    json!({
        "hostname": &*port.service.hostname,
        "namespace": &*port.service.namespace,
        "port": port.port,
        "protocol": port.protocol.as_str(),
        "headless": port.service.headless,
        "sni": &*port.sni,
        "identities": texts(&port.identities),
        "endpoints": endpoints(&port.endpoints),
        "tiers": port.tiers().map(<[Endpoint]>::len).collect::<Vec<usize>>(),
        "aside": endpoints(&port.aside),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "address": endpoint.address.to_string(),
        "workload": &*endpoint.workload.uid,
        "transport": endpoint.transport.as_str(),
        "load": endpoint.load(),
    })
}

fn workloads(mesh: &Mesh) -> Value {
    let own = mesh.own_workload();
    let row = |workload: &Arc<Workload>| {
        json!({
            "uid": &*workload.uid,
            "name": &*workload.name,
            "namespace": &*workload.namespace,
            "identity": &*workload.identity,
            "cluster": &*workload.cluster,
            "workload_name": &*workload.workload_name,
            "canonical_name": &*workload.canonical_name,
            "canonical_revision": &*workload.canonical_revision,
            "addresses": workload.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "transport": workload.transport.as_str(),
            "plaintext_ports": &*workload.plaintext_ports,
            "ready": workload.ready,
            "node": &*workload.node,
            "locality": [&*workload.locality.region, &*workload.locality.zone, &*workload.locality.subzone],
            "host_network": workload.host_network,
            "own": own.is_some_and(|own| own.uid == workload.uid),
        })
    };
    mesh.workloads().iter().map(row).collect()
}

fn texts(texts: &[Arc<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

fn time_text(time: OffsetDateTime) -> Value {
    time.format(&Rfc3339).map_or(Value::Null, Value::String)
}

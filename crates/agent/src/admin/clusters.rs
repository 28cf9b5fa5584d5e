//! Endpoints of the mesh in the two forms of Envoy's `/clusters`.
//!
//! A cluster is one port of one service, `outbound|80||web.shop.svc.cluster.local`; what is told of a host is what this agent knows.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::mesh::{Endpoint, Mesh, ServicePort};

/// A line for each fact, `CLUSTER::ADDRESS::NAME::VALUE`.
pub(super) fn text(mesh: &Mesh) -> String {
    let mut page = String::new();
    for port in mesh.service_ports() {
        let cluster = name(port);
        let identities = port.identities.join(",");
        let protocol = port.protocol.as_str();
        // Writing to a string does not fail.
        let _ = writeln!(page, "{cluster}::protocol::{protocol}");
        let _ = writeln!(page, "{cluster}::identities::{identities}");
        for endpoint in port.all_endpoints() {
            let Endpoint {
                address, workload, ..
            } = endpoint;
            let health = if workload.ready {
                "healthy"
            } else {
                "/failed_eds_health"
            };
            for (fact, value) in [
                ("rq_active", endpoint.load().to_string().as_str()),
                ("hostname", &workload.name),
                ("health_flags", health),
                ("transport", endpoint.transport.as_str()),
            ] {
                let _ = writeln!(page, "{cluster}::{address}::{fact}::{value}");
            }
        }
    }
    page
}

/// Envoy's `ClusterStatuses`.
pub(super) fn json(mesh: &Mesh) -> Value {
    let clusters = mesh.service_ports().iter().map(|port| {
        let hosts = port.all_endpoints().map(host);
        json!({
            "name": name(port),
            "added_via_api": true,
            "host_statuses": hosts.collect::<Vec<Value>>(),
        })
    });
    json!({ "cluster_statuses": clusters.collect::<Vec<Value>>() })
}

fn host(endpoint: &Endpoint) -> Value {
    let health = if endpoint.workload.ready {
        "HEALTHY"
    } else {
        "UNHEALTHY"
    };
    json!({
        "address": {"socket_address": {
            "address": endpoint.address.ip().to_string(),
            "port_value": endpoint.address.port(),
        }},
        "stats": [{"name": "rq_active", "value": endpoint.load().to_string(), "type": "GAUGE"}],
        "health_status": {"eds_health_status": health},
        "hostname": &*endpoint.workload.name,
        "transport": endpoint.transport.as_str(),
    })
}

fn name(port: &ServicePort) -> String {
    format!("outbound|{}||{}", port.port, port.service.hostname)
}

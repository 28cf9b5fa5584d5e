//! Services of every kind, with callers from another namespace.

use anyhow::ensure;
use e2e::{
    Injection, Manifest, Namespace, Pod,
    load::{Connections, Load},
    policy::of_namespace,
    scenario,
};
use serde_json::{Value, json};

use super::shop::{is_served, principal, wait_served};

const REQUESTS: &str = "istio_requests_total";
/// Names of ports by the protocol that they declare, and whether that is HTTP/1. Each is a port of the Service, counted from [`FIRST`].
const NAMES: [(&str, bool); 11] = [
    ("http-page", true),
    ("web", true),
    ("http2-stream", false),
    ("grpc-calls", false),
    ("https-page", false),
    ("tls-bytes", false),
    ("tcp-bytes", false),
    ("mongo-data", false),
    ("mysql-data", false),
    ("redis-data", false),
    ("anything", false),
];
/// Number of the first of these ports.
const FIRST: usize = 7001;

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn pods_of_a_stateful_set_are_reached_by_their_own_names() {
    scenario("headless", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let other = scene.namespace(Injection::Enabled)?;
        namespace.apply(&of_namespace("STRICT"))?;
        namespace.apply(&Manifest::read("stateful.yaml")?)?;
        other.apply(&Manifest::read("client.yaml")?)?;
        let client = other.pod("client");
        client.wait_ready()?;
        let pods = [namespace.pod("db-0"), namespace.pod("db-1")];
        for pod in &pods {
            pod.wait_ready()?;
        }
        let who = principal(&client);
        for pod in &pods {
            let host = format!("{}.db.{}", pod.name(), namespace.name());
            wait_served(&client, &format!("http://{host}:8080/"), true)?;
            client
                .report(&["tcp-echo", &format!("{host}:9000"), "--bytes", "100000"])?
                .expect_clean(1)?;
            let labels = [
                ("reporter", "destination"),
                ("connection_security_policy", "mutual_tls"),
                ("source_principal", &who),
            ];
            pod.wait_for_metric(REQUESTS, &labels, 1.0)?;
            pod.wait_for_metric("istio_tcp_connections_closed_total", &labels, 1.0)?;
        }
        let service = format!("http://db.{}:8080/", namespace.name());
        for _ in 0..4 {
            ensure!(is_served(&client, &service)?, "{service} is not served");
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn every_name_of_a_protocol_passes() {
    scenario("protocols", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let other = scene.namespace(Injection::Enabled)?;
        namespace.apply(&of_namespace("STRICT"))?;
        namespace.apply(&Manifest::read("server.yaml")?)?;
        namespace.apply(&Manifest::of(service_of_all_names()))?;
        other.apply(&Manifest::read("client.yaml")?)?;
        let (server, client) = (namespace.pod("server"), other.pod("client"));
        server.wait_ready()?;
        client.wait_ready()?;
        for (number, (name, is_http)) in (FIRST..).zip(NAMES) {
            let address = format!("names.{}:{number}", namespace.name());
            let passes = match is_http {
                true => {
                    let url = format!("http://{address}/");
                    wait_served(&client, &url, true)
                }
                false => echoes(&client, &address),
            };
            passes.map_err(|error| error.context(format!("port {number}, {name}")))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn endpoints_come_and_go_under_kept_connections_without_a_lost_request() {
    scenario("scaling", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let other = scene.namespace(Injection::Enabled)?;
        namespace.apply(&of_namespace("STRICT"))?;
        namespace.apply(&Manifest::read("abrupt.yaml")?)?;
        other.apply(&Manifest::read("client.yaml")?)?;
        let client = other.pod("client");
        client.wait_ready()?;
        rolled_out(&namespace)?;
        let url = format!("http://abrupt.{}/", namespace.name());
        wait_served(&client, &url, true)?;

        let load = Load::start(&client, &url, Connections::Kept)?;
        for replicas in [4, 1, 3] {
            let replicas = format!("--replicas={replicas}");
            namespace.run(&["scale", "deployment/abrupt", &replicas])?;
            rolled_out(&namespace)?;
        }
        namespace.run(&["rollout", "restart", "deployment/abrupt"])?;
        rolled_out(&namespace)?;
        load.expect_clean(300)?;
        Ok(())
    });
}

/// Every port of the Service leads to the echo server, which speaks HTTP/1 on 8080 and sends any bytes back on 9000.
fn service_of_all_names() -> Value {
    let ports: Vec<_> = (FIRST..)
        .zip(NAMES)
        .map(|(number, (name, is_http))| {
            json!({
                "name": name,
                "port": number,
                "targetPort": if is_http { 8080 } else { 9000 },
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "names"},
        "spec": {"selector": {"app": "server"}, "ports": ports},
    })
}

fn rolled_out(namespace: &Namespace) -> anyhow::Result<()> {
    namespace.run(&["rollout", "status", "deployment/abrupt", "--timeout=90s"])?;
    Ok(())
}

fn echoes(client: &Pod, address: &str) -> anyhow::Result<()> {
    client
        .report(&["tcp-echo", address, "--bytes", "100000"])?
        .expect_clean(1)?;
    Ok(())
}

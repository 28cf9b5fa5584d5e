//! From a pod of the mesh to another: what passes, and what is counted and logged on the way.

use anyhow::{Context, ensure};
use contract::{
    annotations,
    net::{INBOUND_SOURCE_V4, INBOUND_SOURCE_V6},
};
use e2e::{Injection, Manifest, Pod, scenario};
use serde_json::Value;

use super::sidecar::Sidecar;

const REQUESTS: &str = "istio_requests_total";

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn requests_pass_both_sidecars_unchanged_and_are_counted_and_logged_by_both() {
    requests_pass(Sidecar::Native);
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn requests_pass_both_ordinary_sidecars_alike() {
    requests_pass(Sidecar::Ordinary);
}

fn requests_pass(sidecar: Sidecar) {
    scenario(sidecar.suffix("requests", "requests-ordinary"), |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        for file in ["server.yaml", "client.yaml"] {
            namespace.apply(&sidecar.asked_by(Manifest::read(file)?))?;
        }
        let (client, server) = (namespace.pod("client"), namespace.pod("server"));
        let is_injected = &server.wait_ready()?["metadata"]["annotations"][annotations::STATUS];
        ensure!(is_injected.is_string(), "the server has no sidecar");
        client.wait_ready()?;
        client.wait_to_reach("http://server/")?;

        a_request_is_counted_and_logged_on_both_sides(&client, &server)?;
        headers_arrive_unchanged(&client)?;
        a_large_body_arrives_unchanged_in_both_directions(&client, &server)?;
        a_connection_carries_a_thousand_requests(&client, &server)?;
        a_websocket_passes(&client, &server)?;
        tcp_passes(&client, &server)
    });
}

fn a_request_is_counted_and_logged_on_both_sides(client: &Pod, server: &Pod) -> anyhow::Result<()> {
    let http = [
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("response_flags", "-"),
    ];
    let source = [
        ("reporter", "source"),
        ("source_workload", "client"),
        ("source_app", "client"),
        ("source_version", "v1"),
        ("source_canonical_service", "client"),
        ("destination_service_name", "server"),
    ];
    let destination = [
        ("reporter", "destination"),
        ("destination_workload", "server"),
        ("destination_app", "server"),
        ("destination_canonical_service", "server"),
        ("connection_security_policy", "mutual_tls"),
    ];
    let sides = [
        (client, [&source[..], &http].concat()),
        (server, [&destination[..], &http].concat()),
    ];
    for (pod, labels) in &sides {
        // The one by which the server was seen to be reached.
        pod.wait_for_metric(REQUESTS, labels, 1.0)?;
    }
    let page = client.exec("shell", &["curl", "-sS", "http://server/first?q=1"])?;
    assert_eq!(page, "served by nginx\n", "the page that {client} got");
    for (pod, labels) in &sides {
        pod.wait_for_metric(REQUESTS, labels, 2.0)?;
        let n_requests = pod.metrics()?.sum(REQUESTS, labels);
        assert_eq!(n_requests, 2.0, "requests of {pod}");
    }

    let (client_ip, server_ip) = (client.ip()?, server.ip()?);
    let sent = only(client.access_log("/first?q=1")?)?;
    let received = only(server.access_log("/first?q=1")?)?;
    for line in [&sent, &received] {
        assert_eq!(
            (&*line.method, line.status, &*line.flags),
            ("GET", 200, "-")
        );
        assert_eq!(
            (line.bytes_received, line.bytes_sent),
            (0, page.len() as u64)
        );
        assert_eq!(line.authority, "server");
        assert!(line.user_agent.starts_with("curl/"), "{line:?}");
    }
    let service = format!("server.{}.svc.cluster.local", server.namespace());
    assert_eq!(sent.cluster, format!("outbound|80||{service}"));
    assert_eq!(received.cluster, "inbound|80||");
    assert_eq!(host(&received.downstream_remote), client_ip);
    assert_eq!(host(&received.downstream_local), server_ip);
    let uncaptured = match server_ip.contains(':') {
        true => INBOUND_SOURCE_V6.to_string(),
        false => INBOUND_SOURCE_V4.to_string(),
    };
    assert_eq!(host(&received.upstream_local), uncaptured);
    Ok(())
}

fn headers_arrive_unchanged(client: &Pod) -> anyhow::Result<()> {
    let long = "x".repeat(4000);
    let sent = [
        ("x-one", "1"),
        ("x-many", "a"),
        ("x-many", "b, c"),
        ("cookie", "k=v; w=\"q\""),
        ("accept", "text/html;q=0.8"),
        ("user-agent", "someone"),
        ("x-long", &long),
    ];
    let mut command: Vec<String> = ["curl", "-sSi", "http://server:8080/headers"]
        .map(str::to_owned)
        .into();
    for (name, value) in sent {
        command.extend(["-H".to_owned(), format!("{name}: {value}")]);
    }
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let answer = client.exec("shell", &command)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;

    let seen: Value = serde_json::from_str(body)?;
    let pairs = seen["headers"].as_array().into_iter().flatten();
    let mut seen: Vec<_> = pairs
        .filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)))
        // Who the caller is, is the sidecar's to say.
        .filter(|(name, _)| !["host", "x-forwarded-client-cert"].contains(name))
        .collect();
    let mut sent = sent.to_vec();
    sent.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, sent, "the headers that arrived");

    let mut fields: Vec<_> = head.lines().skip(1).collect();
    fields.retain(|field| !field.starts_with("date:"));
    let length = format!("content-length: {}", body.len());
    assert_eq!(
        fields,
        ["x-answer: one", "x-answer: two", &length],
        "the answer's headers"
    );
    Ok(())
}

fn a_large_body_arrives_unchanged_in_both_directions(
    client: &Pod,
    server: &Pod,
) -> anyhow::Result<()> {
    let make = "head -c 104857600 /dev/urandom >/tmp/large";
    client.exec("shell", &["sh", "-c", make])?;
    let sent = client.read("shell", &["sh", "-c", "sha256sum </tmp/large"])?;
    let upload = [
        "curl",
        "-sSf",
        "-T",
        "/tmp/large",
        "http://server/files/large",
    ];
    client.exec("shell", &upload)?;
    let stored = server.read("nginx", &["sh", "-c", "sha256sum </data/files/large"])?;
    assert_eq!(stored, sent, "hash of the body that {server} got");
    let download = "curl -sSf http://server/files/large | sha256sum";
    let received = client.read("shell", &["sh", "-c", download])?;
    assert_eq!(received, sent, "hash of the body that {client} got back");
    Ok(())
}

fn a_connection_carries_a_thousand_requests(client: &Pod, server: &Pod) -> anyhow::Result<()> {
    let args = [
        "get",
        "http://server/",
        "--requests",
        "1000",
        "--one-connection",
    ];
    let report = client.report(&args)?.expect_clean(1000)?;
    assert_eq!(report.connections, 1);
    for (pod, reporter) in [(client, "source"), (server, "destination")] {
        let labels = [("reporter", reporter), ("response_code", "200")];
        pod.wait_for_metric(REQUESTS, &labels, 1002.0)?;
    }
    Ok(())
}

fn a_websocket_passes(client: &Pod, server: &Pod) -> anyhow::Result<()> {
    client
        .report(&["websocket", "ws://server:8080/chat"])?
        .expect_clean(100)?;
    for pod in [client, server] {
        let line = only(pod.access_log("/chat")?)?;
        assert_eq!(line.status, 101, "{line:?}");
    }
    Ok(())
}

fn tcp_passes(client: &Pod, server: &Pod) -> anyhow::Result<()> {
    let args = ["tcp-echo", "server:9000", "--bytes", "3000000"];
    client.report(&args)?.expect_clean(1)?;
    for (pod, reporter) in [(client, "source"), (server, "destination")] {
        let labels = [("reporter", reporter), ("request_protocol", "tcp")];
        pod.wait_for_metric("istio_tcp_received_bytes_total", &labels, 3e6)?;
        pod.wait_for_metric("istio_tcp_connections_closed_total", &labels, 1.0)?;
    }
    Ok(())
}

fn only<T: std::fmt::Debug>(mut items: Vec<T>) -> anyhow::Result<T> {
    ensure!(items.len() == 1, "expected one line, saw {items:?}");
    items.pop().context("no line")
}

fn host(address: &str) -> &str {
    let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
    host.trim_start_matches('[').trim_end_matches(']')
}

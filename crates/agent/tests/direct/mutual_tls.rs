//! Two sidecars speak mutual TLS with each other, and neither application knows.
//!
//! Proxy `web` calls service `api`, whose only pod is proxy `api`'s inbound side; the test holds the client's and the server's end.

use std::{io::Read, net::SocketAddr, path::Path, sync::Arc};

use agent::{
    data_plane::{Capture, Format},
    mesh::{Mesh, MeshStore},
    pod_info::Pairs,
    tls::{
        Credentials, Store,
        credentials::{Pem, Settings},
    },
    workload::{Told, Workload},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs::default_provider,
    pki_types::ServerName,
};
use serde_json::{Value, json};
use testkit::pki::Root;
use time::OffsetDateTime;

use crate::{
    harness::{Proxy, Server, Wire, config, eventually, mesh, nobody},
    telemetry::{Page, write_to_page},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: api\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub(crate) const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
pub(crate) const API: &str = "spiffe://cluster.local/ns/shop/sa/api";

/// Both proxies and the server behind them.
struct Pair {
    root: Root,
    web: Proxy,
    api: Proxy,
    server: Server,
    /// What `api` knows of the mesh.
    known: MeshStore,
    /// What `web` shows.
    shown: Store,
}

/// How the two differ from one scene to the other.
struct Scene {
    /// Mode of mutual TLS of what calls `api`.
    mode: &'static str,
    /// The service account that `web` expects of the pod.
    expected: &'static str,
    web_has_certificate: bool,
    api_has_certificate: bool,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            mode: "STRICT",
            expected: "api",
            web_has_certificate: true,
            api_has_certificate: true,
        }
    }
}

impl Scene {
    fn set(self) -> Pair {
        let (root, server) = (Root::new("mesh"), Server::new());
        let given = |id: &str, has: bool| {
            let store = Store::default();
            if has {
                store.replace(credentials(&root, id));
            }
            store
        };
        let mut of_api = config(server.address);
        let known = MeshStore::new(demanding(self.mode));
        of_api.mesh = known.clone();
        of_api.credentials = given(API, self.api_has_certificate);
        of_api.workload = workload("api");
        let api = Proxy::new(of_api);
        let mut of_web = config(nobody());
        of_web.outbound_capture = Capture::Fixed(([10, 96, 0, 1], 80).into());
        of_web.mesh = MeshStore::new(mesh(shop(api.plane.addresses().inbound, self.expected)));
        of_web.credentials = given(WEB, self.web_has_certificate);
        of_web.workload = workload("web");
        let shown = of_web.credentials.clone();
        Pair {
            root,
            web: Proxy::new(of_web),
            api,
            server,
            known,
            shown,
        }
    }
}

/// Deployment `NAME-v1` with service account `NAME` in namespace `shop`.
fn workload(name: &str) -> Workload {
    let told = Told {
        workload_name: Some(format!("{name}-v1")),
        namespace: Some("shop".to_owned()),
        service_account: Some(name.to_owned()),
        ..Told::default()
    };
    Workload::new(told, &Pairs::new())
}

pub(crate) fn credentials(root: &Root, id: &str) -> Credentials {
    let leaf = root.workload(id);
    let pem = Pem {
        folder: Path::new("/etc/certs"),
        chain: leaf.chain.as_bytes(),
        key: leaf.key.as_bytes(),
        roots: leaf.roots.as_bytes(),
    };
    let now = OffsetDateTime::now_utc();
    Credentials::new(pem, &Settings::default(), 1, now).unwrap()
}

/// A mesh with this mode of mutual TLS.
pub(crate) fn demanding(mode: &str) -> Mesh {
    mesh(json!({"peerAuthentication": {"mode": mode}}))
}

/// Service `api` with one pod, which has a sidecar.
pub(crate) fn shop(pod: SocketAddr, service_account: &str) -> Value {
    json!({
        "services": [
            {"name": "api", "namespace": "shop", "addresses": ["10.96.0.1"], "ports": [{"servicePort": 80}]},
        ],
        "workloads": [{
            "name": "api-0", "namespace": "shop", "addresses": [pod.ip()], "workloadName": "api", "canonicalName": "api",
            "serviceAccount": service_account, "tunnelProtocol": "LEGACY_ISTIO_MTLS",
            "services": {"shop/api.shop.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": pod.port()}]}},
        }],
    })
}

/// The first request of a connection, and the server's end of it.
fn first(pair: &Pair, client: &mut Wire) -> Wire {
    client.send(GET);
    let mut upstream = pair.server.accept();
    upstream.skip_to("\r\n\r\n");
    upstream.send(OK);
    client.expect(OK);
    upstream
}

/// One request of `client`, which arrives with what the sidecar says of its sender.
#[track_caller]
fn arrives(client: &mut Wire, upstream: &mut Wire) {
    client.send(GET);
    upstream.expect("GET / HTTP/1.1\r\nHost: api\r\n");
    upstream.expect(format!("x-forwarded-client-cert: By={API};Hash="));
    let hash = upstream.read(64);
    assert!(hash.iter().all(u8::is_ascii_hexdigit), "{hash:?}");
    upstream.expect(format!(";Subject=\"\";URI={WEB}\r\n\r\n"));
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn a_request_is_secured_and_both_sides_know_who_the_other_one_is() {
    let pair = Scene::default().set();
    let mut client = pair.web.outbound();
    let mut upstream = first(&pair, &mut client);
    for _ in 0..3 {
        arrives(&mut client, &mut upstream);
    }
    let shared = [
        "response_code=\"200\"",
        &*format!("source_principal=\"{WEB}\""),
        &*format!("destination_principal=\"{API}\""),
        "source_workload=\"web-v1\"",
    ];
    let at_source = [
        &shared[..],
        &[
            "connection_security_policy=\"unknown\"",
            "destination_workload=\"api\"",
        ],
    ]
    .concat();
    let at_destination = [&shared[..], &["connection_security_policy=\"mutual_tls\""]].concat();
    eventually("both sides count them by name", || {
        pair.web.metric("istio_requests_total", &at_source) >= 4.0
            && pair.api.metric("istio_requests_total", &at_destination) >= 4.0
    });
}

#[test]
fn opaque_bytes_are_secured_whoever_speaks_first() {
    let pair = Scene::default().set();
    let mut client = pair.web.outbound();
    client.send("\0hello");
    let mut upstream = pair.server.accept();
    upstream.expect("\0hello");
    client.end();
    upstream.expect_end();
    upstream.send("still here");
    client.expect("still here");
    drop(upstream);
    client.expect_end();
    let mut client = pair.web.outbound();
    let mut upstream = pair.server.accept();
    upstream.send("220 ready\r\n");
    client.expect("220 ready\r\n");
    client.send("EHLO me\r\n");
    upstream.expect("EHLO me\r\n");
    let labels = [
        "connection_security_policy=\"mutual_tls\"",
        &*format!("source_principal=\"{WEB}\""),
    ];
    eventually("they are counted", || {
        pair.api
            .metric("istio_tcp_connections_opened_total", &labels)
            >= 2.0
    });
}

#[test]
fn where_mutual_tls_is_strict_plaintext_reaches_nobody() {
    let pair = Scene::default().set();
    for bytes in [GET, "\0opaque"] {
        let mut client = pair.api.inbound();
        client.send(bytes);
        client.expect_end();
    }
    pair.server.was_not_dialled();
    eventually("it is counted", || {
        pair.api.metric(
            "istio_tcp_connections_closed_total",
            &["response_flags=\"DPE\""],
        ) >= 2.0
    });
    // Even a sidecar without a certificate of its own lets nothing pass.
    let pair = Scene {
        api_has_certificate: false,
        ..Scene::default()
    }
    .set();
    let mut client = pair.api.inbound();
    client.expect_end();
    pair.server.was_not_dialled();
}

#[test]
fn where_it_is_permissive_everybody_is_served_and_nobody_believed() {
    let pair = Scene {
        mode: "PERMISSIVE",
        web_has_certificate: false,
        ..Scene::default()
    }
    .set();
    let mut client = pair.web.outbound();
    client.send(GET);
    let mut upstream = pair.server.accept();
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
    let labels = [
        "connection_security_policy=\"none\"",
        "source_principal=\"unknown\"",
    ];
    eventually("it is counted as it came", || {
        pair.api.metric("istio_requests_total", &labels) > 0.0
    });
    let mut silent = pair.api.inbound();
    let mut upstream = pair.server.accept();
    upstream.send("220 ready\r\n");
    silent.expect("220 ready\r\n");
}

#[test]
fn the_applications_own_tls_passes_untouched_where_it_may() {
    let hello = foreign_hello();
    let pair = Scene {
        mode: "PERMISSIVE",
        ..Scene::default()
    }
    .set();
    let mut client = pair.api.inbound();
    client.send(&hello);
    pair.server.accept().expect(&hello);
    let pair = Scene::default().set();
    let mut client = pair.api.inbound();
    client.send(&hello);
    // Where mutual TLS is demanded it is the sidecar that answers.
    assert_eq!(client.read(1), [22]);
    drop(client);
    pair.server.was_not_dialled();
}

/// What an application says that speaks TLS itself.
fn foreign_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("example.com").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_pod_that_is_not_who_it_should_be_gets_nothing() {
    let pair = Scene {
        expected: "other",
        ..Scene::default()
    }
    .set();
    let mut client = pair.web.outbound();
    client.send("GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
    assert_eq!(
        client.refusal(),
        (503, "upstream_wrong_identity".to_owned())
    );
    pair.server.was_not_dialled();
    let labels = ["side=\"client\"", "result=\"wrong_identity\""];
    eventually("the handshake is counted", || {
        pair.web.metric("minimesh_tls_handshakes_total", &labels) > 0.0
    });
}

#[test]
fn a_new_certificate_is_for_new_connections_and_cuts_none() {
    let pair = Scene::default().set();
    let mut client = pair.web.outbound();
    let mut upstream = first(&pair, &mut client);
    pair.shown.replace(credentials(&pair.root, WEB));
    arrives(&mut client, &mut upstream);
    let mut other = pair.web.outbound();
    other.send("\0opaque");
    pair.server.accept().expect("\0opaque");
    // One that nobody believes any more is refused, while what was established goes on.
    pair.shown.replace(credentials(&Root::new("other"), WEB));
    let mut stranger = pair.web.outbound();
    stranger.send("\0opaque");
    stranger.expect_end();
    arrives(&mut client, &mut upstream);
}

#[test]
fn what_a_new_rule_denies_is_ended_and_everything_else_stays() {
    let pair = Scene {
        mode: "PERMISSIVE",
        ..Scene::default()
    }
    .set();
    let mut proven = pair.web.outbound();
    let mut proven_upstream = first(&pair, &mut proven);
    let mut idle = pair.api.inbound();
    idle.send(GET);
    proven_upstream.expect(GET);
    proven_upstream.send(OK);
    idle.expect(OK);
    let mut opaque = pair.api.inbound();
    opaque.send("\0opaque");
    let mut opaque_upstream = pair.server.accept();
    opaque_upstream.expect("\0opaque");
    pair.known.replace(demanding("STRICT"));
    idle.expect_end();
    opaque.expect_end();
    opaque_upstream.expect_end();
    arrives(&mut proven, &mut proven_upstream);
}

/// What `proxy` logs from now on, as objects.
fn logged(proxy: &mut Proxy) -> Page {
    proxy.plane.access_log_control().set(Some(Format::Json));
    write_to_page(proxy.plane.access_log().unwrap())
}

#[track_caller]
fn line(page: &Page) -> Value {
    eventually("a line is written", || !page.lines().is_empty());
    serde_json::from_str(&page.lines()[0]).unwrap()
}

#[test]
fn the_log_says_what_tls_was_asked_for_and_why_it_failed() {
    let mut pair = Scene::default().set();
    let (web, api) = (logged(&mut pair.web), logged(&mut pair.api));
    let mut client = pair.web.outbound();
    first(&pair, &mut client);
    let (at_source, at_destination) = (line(&web), line(&api));
    let cluster = "outbound|80||api.shop.svc.cluster.local";
    assert_eq!(at_source["upstream_cluster"], cluster);
    assert_eq!(at_source["route_name"], "default");
    assert_eq!(at_source["requested_server_name"], Value::Null);
    let server_name = "outbound_.80_._.api.shop.svc.cluster.local";
    assert_eq!(at_destination["requested_server_name"], server_name);
    let mut pair = Scene {
        expected: "other",
        ..Scene::default()
    }
    .set();
    let (web, api) = (logged(&mut pair.web), logged(&mut pair.api));
    let mut client = pair.web.outbound();
    client.send(GET);
    let (at_source, at_destination) = (line(&web), line(&api));
    assert_eq!(at_source["response_flags"], "UF");
    assert_eq!(
        at_source["upstream_transport_failure_reason"],
        "wrong_identity"
    );
    assert_eq!(at_destination["response_flags"], "DPE");
    assert_eq!(
        at_destination["connection_termination_details"],
        "refused_by_peer"
    );
}

#[test]
fn an_answer_up_to_the_end_of_the_connection_ends_properly() {
    let pair = Scene::default().set();
    let mut client = pair.web.outbound();
    client.send(GET);
    let mut upstream = pair.server.accept();
    upstream.skip_to("\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\n\r\nup to the end");
    drop(upstream);
    client.expect("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nup to the end");
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "a proper end");
    let labels = ["response_code=\"200\"", "response_flags=\"-\""];
    eventually("it is counted as good", || {
        pair.web.metric("istio_requests_total", &labels) > 0.0
    });
    // A cut one is not made to look so.
    let mut client = pair.web.outbound();
    client.send(GET);
    let mut upstream = pair.server.accept();
    upstream.skip_to("\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\n\r\nhalf");
    client.expect("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf");
    upstream.reset();
    let end = client.stream.read(&mut [0]);
    assert!(end.is_err(), "{end:?}");
}

//! Requests go to the pods of the service that they mean.
//!
//! The mesh is given as a file gives it; where the application dialled is fixed, as a netfilter rule would report it.

use std::net::SocketAddr;

use agent::{data_plane::Capture, mesh::MeshStore};
use serde_json::{Value, json};

use crate::harness::{Proxy, Server, Wire, config, eventually, mesh, nobody};

const GET: &str = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The virtual address of service `web`.
const WEB: ([u8; 4], u16) = ([10, 96, 0, 1], 80);

/// A pod of service `web` in namespace `shop`.
fn pod(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name, "namespace": "shop", "addresses": [address.ip()], "workloadName": name, "canonicalName": "web",
        "services": {"shop/web.shop.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": address.port()}]}},
    })
}

/// Services `web`, with these pods, and `empty`, without any.
fn shop(pods: &[(&str, SocketAddr)]) -> Value {
    let pods: Vec<_> = pods.iter().map(|(name, at)| pod(name, *at)).collect();
    json!({
        "services": [
            {"name": "web", "namespace": "shop", "addresses": ["10.96.0.1"], "ports": [{"servicePort": 80}]},
            {"name": "empty", "namespace": "shop", "addresses": ["10.96.0.2"], "ports": [{"servicePort": 80}]},
        ],
        "workloads": pods,
    })
}

/// A proxy whose application dials `destination`, in a mesh that the test can change.
fn proxy_in(mesh_of: Value, destination: impl Into<SocketAddr>) -> (Proxy, MeshStore) {
    let store = MeshStore::new(mesh(mesh_of));
    let mut config = config(nobody());
    config.outbound_capture = Capture::Fixed(destination.into());
    config.mesh = store.clone();
    (Proxy::new(config), store)
}

/// One request on a connection of its own, served by `server`.
fn served(proxy: &Proxy, server: &Server) -> (Wire, Wire) {
    let mut client = proxy.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    (client, upstream)
}

#[test]
fn a_request_to_a_virtual_address_reaches_a_pod_and_is_counted_by_name() {
    let server = Server::new();
    let (proxy, _) = proxy_in(shop(&[("web-0", server.address)]), WEB);
    let (mut client, mut upstream) = served(&proxy, &server);
    upstream.send(OK);
    client.expect(OK);
    let labels = [
        "destination_workload=\"web-0\"",
        "destination_service=\"web.shop.svc.cluster.local\"",
        "destination_service_name=\"web\"",
        "destination_service_namespace=\"shop\"",
        "destination_canonical_service=\"web\"",
        "destination_principal=\"unknown\"",
    ];
    eventually("the request is counted", || {
        proxy.metric("istio_requests_total", &labels) > 0.0
    });
}

#[test]
fn requests_at_hand_send_the_next_one_to_the_other_pod() {
    let servers = [Server::new(), Server::on([127, 0, 0, 2])];
    let pods = [("web-0", servers[0].address), ("web-1", servers[1].address)];
    let (proxy, _) = proxy_in(shop(&pods), WEB);
    let (mut clients, mut served) = (Vec::new(), [Vec::new(), Vec::new()]);
    for n in 1..=8 {
        let mut client = proxy.outbound();
        client.send(GET);
        clients.push(client);
        eventually("a pod is dialled", || {
            for (server, served) in servers.iter().zip(&mut served) {
                served.extend(server.try_accept());
            }
            served.iter().map(Vec::len).sum::<usize>() == n
        });
        // Each goes where fewer are waiting, so after an even number both have the same.
        let at_hand = served.each_ref().map(Vec::len);
        assert!(at_hand[0].abs_diff(at_hand[1]) <= n % 2, "{at_hand:?}");
    }
}

#[test]
fn a_pod_that_is_not_there_is_passed_over() {
    let server = Server::new();
    let gone = SocketAddr::from(([127, 0, 0, 2], nobody().port()));
    let pods = [("web-0", server.address), ("web-1", gone)];
    let (proxy, _) = proxy_in(shop(&pods), WEB);
    for _ in 0..8 {
        let (mut client, mut upstream) = served(&proxy, &server);
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        client.expect(OK);
    }
    let (proxy, _) = proxy_in(shop(&pods), WEB);
    let mut client = proxy.outbound();
    client.send("\x16\x03\x01opaque");
    server.accept().expect("\x16\x03\x01opaque");
}

#[test]
fn a_service_without_pods_says_so() {
    let (proxy, _) = proxy_in(shop(&[]), ([10, 96, 0, 2], 80));
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.refusal(), (503, "no_healthy_upstream".to_owned()));
    let labels = [
        "destination_service_name=\"empty\"",
        "response_flags=\"UH\"",
    ];
    eventually("it is counted", || {
        proxy.metric("istio_requests_total", &labels) > 0.0
    });
}

#[test]
fn the_host_that_a_request_names_decides_before_the_address() {
    let server = Server::new();
    let (proxy, _) = proxy_in(shop(&[("web-0", server.address)]), ([10, 96, 0, 2], 80));
    for host in [
        "web",
        "WEB.shop",
        "web.shop.svc:80",
        "web.shop.svc.cluster.local.",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut client = proxy.outbound();
        client.send(&request);
        let mut upstream = server.accept();
        upstream.expect(request.replace("Connection: close\r\n", ""));
        upstream.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        client.expect("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    }
}

#[test]
fn a_pod_that_is_dialled_by_its_own_address_gets_the_call_itself() {
    let servers = [Server::new(), Server::on([127, 0, 0, 2])];
    let pods = [("web-0", servers[0].address), ("web-1", servers[1].address)];
    let (proxy, _) = proxy_in(shop(&pods), servers[1].address);
    for _ in 0..8 {
        let (mut client, mut upstream) = served(&proxy, &servers[1]);
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        client.expect(OK);
    }
    servers[0].was_not_dialled();
}

#[test]
fn a_change_of_the_mesh_concerns_the_next_request_and_cuts_nothing() {
    let (old, new) = (Server::new(), Server::on([127, 0, 0, 2]));
    let (proxy, store) = proxy_in(shop(&[("web-0", old.address)]), WEB);
    let (mut client, mut upstream) = served(&proxy, &old);
    store.replace(mesh(shop(&[("web-1", new.address)])));
    upstream.send(OK);
    client.expect(OK);
    client.send(GET);
    new.accept().expect(GET);
}

#[test]
fn a_client_that_has_said_nothing_does_not_hold_up_the_end() {
    let server = Server::new();
    let mut model = shop(&[("web-0", server.address)]);
    model["services"][0]["ports"][0]["name"] = json!("http");
    let (proxy, _) = proxy_in(model, WEB);
    let mut client = proxy.outbound();
    eventually("it is accepted", || proxy.plane.active_connections() == 1);
    let patience = std::time::Duration::from_secs(60);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let joined = runtime.block_on(proxy.plane.join(patience));
    assert_eq!(joined.cut, 0);
    client.expect_end();
}

//! Upstream connections are kept, and what an ending one has lost is sent again where that does no harm.
//!
//! Every loss is provoked at the moment where a real server would cause it.

use std::time::Duration;

use agent::mesh::MeshStore;
use serde_json::json;

use crate::harness::{Proxy, config, eventually, mesh, nobody, pair, pair_with, warm};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn clients_share_an_upstream_connection_one_after_the_other() {
    let (proxy, server) = pair();
    let (_client, mut upstream) = warm(&proxy, &server);
    for _ in 0..3 {
        let mut client = proxy.outbound();
        client.send(GET);
        upstream.expect(GET);
        upstream.send(OK);
        client.expect(OK);
    }
    server.was_not_dialled();
}

#[test]
fn a_connection_that_ended_while_idle_is_not_used() {
    let (proxy, server) = pair();
    let (mut client, upstream) = warm(&proxy, &server);
    drop(upstream);
    client.send(POST);
    let mut upstream = server.accept();
    upstream.expect(POST);
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn a_request_that_met_an_ending_connection_is_sent_once_more() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(GET);
    // The server has the request and closes without a word.
    upstream.expect(GET);
    drop(upstream);
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn a_request_is_not_sent_a_third_time() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(GET);
    upstream.expect(GET);
    drop(upstream);
    let mut upstream = server.accept();
    upstream.expect(GET);
    drop(upstream);
    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 64\r\nx-mesh-error: upstream_closed\r\nconnection: keep-alive\r\n\r\nminimesh: the upstream closed the connection before it answered\n";
    client.expect(answer);
    server.was_not_dialled();
    client.send(GET);
    server.accept().expect(GET);
}

#[test]
fn a_request_that_the_application_may_have_acted_on_is_not_repeated() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(POST);
    upstream.expect(POST);
    drop(upstream);
    client.expect("HTTP/1.1 503 Service Unavailable\r\n");
    server.was_not_dialled();
    let labels = ["response_flags=\"UC\"", "response_code=\"503\""];
    eventually("it is counted", || {
        proxy.metric("istio_requests_total", &labels) > 0.0
    });
}

#[test]
fn a_request_that_says_it_may_be_repeated_is_repeated() {
    let post = "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: 7\r\nContent-Length: 4\r\n\r\nbody";
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(post);
    upstream.expect(post);
    drop(upstream);
    let mut upstream = server.accept();
    upstream.expect(post);
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn a_request_whose_body_is_partly_gone_is_not_repeated() {
    // Longer than what is kept.
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n";
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(head);
    upstream.expect(head);
    client.send("half");
    upstream.expect("half");
    drop(upstream);
    assert_eq!(client.refusal(), (503, "upstream_closed".to_owned()));
    server.was_not_dialled();
}

#[test]
fn a_request_whose_body_is_short_is_repeated_with_what_has_come_of_it() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(head);
    upstream.expect(head);
    client.send("half");
    upstream.expect("half");
    drop(upstream);
    let mut upstream = server.accept();
    upstream.expect(head);
    upstream.expect("half");
    client.send(["rest", GET].concat());
    upstream.expect("rest");
    upstream.send(OK);
    client.expect(OK);
    upstream.expect(GET);
}

#[test]
fn a_first_connection_that_ends_is_not_dialled_again() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    drop(upstream);
    client.expect("HTTP/1.1 503 Service Unavailable\r\n");
    server.was_not_dialled();
}

#[test]
fn a_connection_that_has_been_idle_for_too_long_is_closed() {
    let (proxy, server) = pair_with(|config| config.pool_timeout = Duration::from_millis(50));
    let (_client, mut upstream) = warm(&proxy, &server);
    upstream.expect_end();
}

#[test]
fn no_more_than_the_limit_are_kept() {
    let (proxy, server) = pair_with(|config| config.limits.idle_per_upstream = 1);
    let mut pairs: Vec<_> = (0..3)
        .map(|_| {
            let mut client = proxy.outbound();
            client.send(GET);
            let mut upstream = server.accept();
            upstream.expect(GET);
            (client, upstream)
        })
        .collect();
    for (client, upstream) in &mut pairs {
        upstream.send(OK);
        client.expect(OK);
    }
    // The first to be given back is kept, the others are closed.
    for (_, upstream) in &mut pairs[1..] {
        upstream.expect_end();
    }
}

#[test]
fn a_refused_connection_is_answered_with_503() {
    let upstream = nobody();
    let proxy = Proxy::new(config(upstream));
    let mut client = proxy.outbound();
    for _ in 0..2 {
        client.send(GET);
        client.expect("HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n");
        client.expect(
            "content-length: 79\r\nx-mesh-error: connect_failed\r\nconnection: keep-alive\r\n\r\n",
        );
        client.expect(
            "minimesh: could not connect to the upstream: Connection refused (os error 111)\n",
        );
    }
}

#[test]
fn policy_can_refuse_unknown_destinations() {
    let only = json!({"settings": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}});
    let (proxy, server) = pair_with(|config| config.mesh = MeshStore::new(mesh(only)));
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.refusal(), (502, "no_route".to_owned()));
    let mut client = proxy.outbound();
    client.send("\0");
    client.expect_end();
    server.was_not_dialled();
    let labels = ["destination_service_name=\"BlackHoleCluster\""];
    eventually("both are counted", || {
        proxy.metric("istio_requests_total", &labels) > 0.0
            && proxy.metric("istio_tcp_connections_closed_total", &labels) > 0.0
    });
}

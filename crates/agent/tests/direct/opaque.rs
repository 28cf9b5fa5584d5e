//! Protocols that are not HTTP pass as they are.
//!
//! Whoever speaks first, and whoever ends first, is heard as without a proxy.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use crate::harness::{Proxy, Wire, config, eventually, nobody, pair, pair_with};

#[test]
fn bytes_pass_both_ways_and_each_direction_ends_alone() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("\x16\x03\x01hello");
    let mut upstream = server.accept();
    upstream.expect("\x16\x03\x01hello");
    client.end();
    upstream.expect_end();
    upstream.send("still here");
    client.expect("still here");
    drop(upstream);
    client.expect_end();
    eventually("the connection is counted", || {
        proxy.metric(
            "istio_tcp_connections_closed_total",
            &["response_flags=\"-\""],
        ) > 0.0
    });
    assert!((proxy.metric("istio_tcp_received_bytes_total", &[]) - 8.0).abs() < 0.1);
    assert!((proxy.metric("istio_tcp_sent_bytes_total", &[]) - 10.0).abs() < 0.1);
}

#[test]
fn a_server_may_speak_first() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let mut upstream = server.accept();
    upstream.send("220 mail.example.com ESMTP\r\n");
    client.expect("220 mail.example.com ESMTP\r\n");
    client.send("EHLO client\r\n");
    upstream.expect("EHLO client\r\n");
}

#[test]
fn a_server_that_spoke_first_is_dialled_at_once_the_next_time() {
    let limit = Duration::from_secs(2);
    let (proxy, server) = pair_with(|config| config.detect_timeout = limit);
    let mut client = proxy.outbound();
    server.accept().send("220 ready\r\n");
    client.expect("220 ready\r\n");
    let again = Instant::now();
    let mut client = proxy.outbound();
    server.accept().send("220 ready\r\n");
    client.expect("220 ready\r\n");
    assert!(again.elapsed() < limit, "took {:?}", again.elapsed());
    // Whoever speaks first there after all is understood.
    let mut client = proxy.outbound();
    let mut upstream = server.accept();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
    client.expect("HTTP/1.1 204 No Content\r\n\r\n");
}

#[test]
fn a_client_that_was_silent_may_still_speak_http() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let mut upstream = server.accept();
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    client.send(request);
    upstream.expect(request);
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
    client.expect("HTTP/1.1 204 No Content\r\n\r\n");
    eventually("it is counted as a request", || {
        proxy.metric("istio_requests_total", &["response_code=\"204\""]) > 0.0
    });
    client.send(request);
    upstream.expect(request);
}

#[test]
fn the_beginning_of_something_like_http_is_passed_on_after_a_while() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("SELECT ");
    let mut upstream = server.accept();
    upstream.expect("SELECT ");
}

#[test]
fn a_client_that_ends_at_once_is_passed_on() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.end();
    let mut upstream = server.accept();
    upstream.expect_end();
    upstream.send("bye");
    client.expect("bye");
}

#[test]
fn a_refused_connection_is_reset() {
    let upstream = nobody();
    let proxy = Proxy::new(config(upstream));
    let mut client = proxy.outbound();
    client.send("\0\0\0\0");
    let error = client.stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let labels = ["response_flags=\"UF\""];
    eventually("it is counted", || {
        proxy.metric("istio_tcp_connections_closed_total", &labels) > 0.0
    });
}

#[test]
fn a_reset_is_passed_on_in_both_directions() {
    let (proxy, server) = pair();
    let open = || -> (Wire, Wire) {
        let mut client = proxy.outbound();
        client.send("\0");
        let mut upstream = server.accept();
        upstream.expect("\0");
        (client, upstream)
    };
    let (client, mut upstream) = open();
    client.reset();
    let error = upstream.stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (mut client, upstream) = open();
    upstream.reset();
    let error = client.stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_without_a_byte_for_too_long_is_ended() {
    let (proxy, server) = pair_with(|config| config.tcp_idle_timeout = Duration::from_millis(100));
    let mut client = proxy.outbound();
    client.send("\0");
    let mut upstream = server.accept();
    upstream.expect("\0");
    client.expect_end();
    upstream.expect_end();
    eventually("it is counted", || {
        proxy.metric(
            "istio_tcp_connections_closed_total",
            &["response_flags=\"SI\""],
        ) > 0.0
    });
}

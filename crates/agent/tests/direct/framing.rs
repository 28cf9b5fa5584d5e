//! What two receivers could read differently is not passed on.
//!
//! Requests are refused before anything is dialled; answers cost the upstream its connection.

use agent::data_plane::Config;
use proptest::prelude::*;

use crate::harness::{Proxy, Server, eventually, pair, pair_with, warm};

fn small_heads(config: &mut Config) {
    config.limits.head_bytes = 4096;
}

#[test]
fn ambiguous_requests_are_refused_and_never_dialled() {
    let (proxy, server) = pair_with(small_heads);
    let long = format!("X: {}\r\n", "x".repeat(5000));
    let many = "X: y\r\n".repeat(300);
    let table = [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3, 3\r\n", 400),
        ("Content-Length: +3\r\n", 400),
        ("Content-Length: 3a\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding:\x0bchunked\r\n", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            400,
        ),
        ("X: y\n", 400),
        ("X: y\n\n", 400),
        ("X: y\r\n z\r\n", 400),
        ("X : y\r\n", 400),
        ("X: y\0\r\n", 400),
        ("X: y\rZ: z\r\n", 400),
        ("Host: other\r\n", 400),
        (&long, 431),
        (&many, 431),
    ];
    for (fields, status) in table {
        let mut client = proxy.outbound();
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\nabc"));
        assert_eq!(client.refusal().0, status, "{fields:?}");
    }
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.9\r\nHost: h\r\n\r\n", 505),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
    ] {
        let mut client = proxy.outbound();
        client.send(head);
        assert_eq!(client.refusal().0, status, "{head:?}");
    }
    server.was_not_dialled();
    let refused = proxy.metric("istio_requests_total", &["response_flags=\"DPE\""]);
    assert!(refused >= 25.0, "{refused} were counted");
}

#[test]
fn a_broken_chunk_that_comes_with_the_head_is_refused() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(client.refusal(), (400, "request_bad_body".to_owned()));
    server.was_not_dialled();
}

#[test]
fn a_broken_chunk_later_on_ends_both_connections() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    let mut upstream = server.accept();
    upstream.expect(head);
    client.send("zz\r\n");
    assert_eq!(client.refusal(), (400, "request_bad_body".to_owned()));
    upstream.expect_end();
}

#[test]
fn ambiguous_answers_become_502_and_cost_the_connection() {
    let (proxy, server) = pair_with(small_heads);
    let long = format!("X: {}\r\n", "x".repeat(5000));
    let table = [
        (
            "HTTP/1.1 200 OK\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
        ),
        ("HTTP/1.1 200 OK\r\n", "Content-Length: -3\r\n"),
        (
            "HTTP/1.1 200 OK\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
        ),
        ("HTTP/1.1 200 OK\r\n", "X: y\n"),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n z\r\n"),
        ("HTTP/1.1 200 OK\r\n", "X : y\r\n"),
        ("HTTP/1.1 200 OK\r\n", &long),
        ("HTTP/1.1 099 Odd\r\n", ""),
        ("HTTP/1.1 101 Switching Protocols\r\n", ""),
        ("HTTP/2.0 200 OK\r\n", ""),
        ("220 mail.example.com ESMTP\r\n", ""),
        ("HTTP/1.0 200 OK\r\n", "Transfer-Encoding: chunked\r\n"),
    ];
    for (start, fields) in table {
        let mut client = proxy.outbound();
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let mut upstream = server.accept();
        upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        upstream.send(format!("{start}{fields}\r\n"));
        assert_eq!(client.refusal().0, 502, "{start:?} {fields:?}");
        upstream.expect_end();
    }
    let flags = ["response_flags=\"UPE\"", "response_code=\"502\""];
    let refused = proxy.metric("istio_requests_total", &flags);
    assert!((refused - 13.0).abs() < 0.1, "{refused} were counted");
}

#[test]
fn a_broken_chunk_in_an_answer_ends_both_connections() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut upstream = server.accept();
    upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.send(head);
    client.expect(head);
    upstream.send("-1\r\n");
    client.expect_end();
    upstream.expect_end();
}

#[test]
fn a_broken_chunk_that_comes_with_the_head_of_an_answer_becomes_502() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut upstream = server.accept();
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n");
    assert_eq!(client.refusal(), (502, "upstream_bad_body".to_owned()));
    let metric = |name| proxy.metric(name, &["response_code=\"502\""]);
    eventually("it is counted", || metric("istio_requests_total") > 0.0);
}

#[test]
fn bytes_after_an_answer_are_not_taken_for_the_next_one() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    client.send(request);
    upstream.expect(request);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    upstream.send(format!(
        "{answer}HTTP/1.1 200 Forged\r\nContent-Length: 0\r\n\r\n"
    ));
    client.expect(answer);
    upstream.expect_end();
    client.send(request);
    let mut upstream = server.accept();
    upstream.expect(request);
    upstream.send(answer);
    client.expect(answer);
}

/// Sends the same message in given pieces; what comes out must be whole, but for what is said about the client's connection.
fn through(proxy: &Proxy, server: &Server, message: &str, answer: &str, cuts: &[usize]) {
    let pieces = |bytes: &str| {
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        ends.dedup();
        ends
    };
    let mut client = proxy.outbound();
    let mut sent = 0;
    for end in pieces(message) {
        client.send(&message[sent..end]);
        sent = end;
    }
    let mut upstream = server.accept();
    upstream.expect(message.replace("Connection: close\r\n", ""));
    let mut sent = 0;
    for end in pieces(answer) {
        upstream.send(&answer[sent..end]);
        sent = end;
        // The proxy has seen this piece before the next one goes out.
        std::thread::yield_now();
    }
    let (answer, body) = answer.split_at(answer.rfind("\r\n\r\n5").unwrap() + 2);
    client.expect(format!("{answer}connection: close\r\n{body}"));
    client.expect_end();
}

#[test]
fn any_cut_into_segments_gives_the_same_bytes() {
    let (proxy, server) = pair_with(|config| {
        config.detect_timeout = crate::harness::PATIENCE;
        config.limits.idle_total = 0;
    });
    let message = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10;x\r\n0123456789abcdef\r\n0\r\nT: t\r\n\r\n";
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: t\r\n\r\n";
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    });
    let cuts = proptest::collection::vec(0_usize..200, 0..12);
    runner
        .run(&cuts, |cuts| {
            through(&proxy, &server, message, answer, &cuts);
            Ok(())
        })
        .unwrap();
}

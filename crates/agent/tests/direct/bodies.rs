//! Bodies of any size, both ways at once, at the pace of the slower side.
//!
//! The proxy must hold little whatever their size, and must never make a broken one look whole.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use crate::harness::{Wire, eventually, pair};

const BIG: usize = 64 * 1024 * 1024;

/// Sends `n` bytes whose values depend on their place.
fn pour(wire: &mut Wire, n: usize) {
    let block = block();
    let mut left = n;
    while left > 0 {
        let part = left.min(block.len());
        wire.stream.write_all(&block[..part]).unwrap();
        left -= part;
    }
}

/// Reads `n` bytes and checks each.
fn drain(wire: &mut Wire, n: usize) {
    let block = block();
    let mut read = vec![0; block.len()];
    let mut left = n;
    while left > 0 {
        let part = left.min(block.len());
        wire.stream.read_exact(&mut read[..part]).unwrap();
        assert!(read[..part] == block[..part], "bytes have changed");
        left -= part;
    }
}

fn block() -> Vec<u8> {
    (0..1024 * 1024_u32).map(|at| (at % 251) as u8).collect()
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn big_bodies_pass_both_ways_at_once() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BIG}\r\n\r\n");
    client.send(&head);
    let mut upstream = server.accept();
    upstream.expect(&head);
    // The answer begins before the request has ended, so neither side may wait for the other.
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
    upstream.send(&answer);
    client.expect(&answer);
    let mut sending = Wire::new(client.stream.try_clone().unwrap());
    let mut echoing = Wire::new(upstream.stream.try_clone().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| pour(&mut sending, BIG));
        scope.spawn(|| pour(&mut echoing, BIG));
        scope.spawn(|| drain(&mut client, BIG));
        scope.spawn(|| drain(&mut upstream, BIG));
    });
    client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.expect("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
}

#[test]
fn a_slow_reader_stops_the_writer_instead_of_filling_memory() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut upstream = server.accept();
    upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
    upstream.send(&answer);
    client.expect(&answer);
    let before = resident();
    // The writer gets as far as the kernel's buffers go, and no further.
    upstream
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut written = 0;
    let block = block();
    while let Ok(n) = upstream.stream.write(&block[written % block.len()..]) {
        written += n;
        assert!(written < BIG, "nothing stopped the writer");
    }
    let grown = resident().saturating_sub(before);
    // Other tests of this process are counted, too.
    assert!(
        grown < 24 * 1024 * 1024,
        "{grown} bytes more for {written} bytes written"
    );
    upstream
        .stream
        .set_write_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let rest = BIG - written;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut skipped = written % block.len();
            let mut left = rest;
            while left > 0 {
                let end = block.len().min(skipped + left);
                upstream.stream.write_all(&block[skipped..end]).unwrap();
                left -= end - skipped;
                skipped = 0;
            }
        });
        scope.spawn(|| drain(&mut client, BIG));
    });
}

#[test]
fn an_answer_may_come_before_the_end_of_the_request() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
    client.send(format!("{head}half"));
    let mut upstream = server.accept();
    upstream.expect(format!("{head}half"));
    let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    upstream.send(answer);
    client.expect(answer);
    // The upstream has not closed, so the rest still goes there, and then the next request.
    client.send("rest");
    upstream.expect("rest");
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}

#[test]
fn an_early_answer_survives_the_upstream_that_closes_after_it() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BIG}\r\n\r\n");
    client.send(&head);
    let mut upstream = server.accept();
    upstream.expect(&head);
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    upstream.send(answer.replacen("\r\n", "\r\nConnection: close\r\n", 1));
    drop(upstream);
    // The client goes on sending for a while, as clients do that look for an answer only afterwards.
    for _ in 0..8 {
        client.send([0; 1024]);
        thread::yield_now();
    }
    client.expect(answer);
    eventually("the connection ends", || {
        client.stream.write_all(&[0; 1024]).is_err()
    });
}

#[test]
fn a_truncated_answer_is_not_made_to_look_whole() {
    let table = [
        ("Content-Length: 10\r\n", "five5"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nfive5\r\n"),
    ];
    for (fields, body) in table {
        let (proxy, server) = pair();
        let mut client = proxy.outbound();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut upstream = server.accept();
        upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
        upstream.send(&answer);
        drop(upstream);
        client.expect(&answer);
        client.expect_end();
        let labels = ["response_flags=\"UC\"", "response_code=\"200\""];
        eventually("it is counted", || {
            proxy.metric("istio_requests_total", &labels) > 0.0
        });
    }
}

#[test]
fn a_reset_in_an_endless_answer_is_passed_on_as_a_reset() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut upstream = server.accept();
    upstream.expect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\n\r\n");
    client.expect("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
    upstream.reset();
    let error = client.stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_stops_in_its_body_takes_the_upstream_along() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
    client.send(format!("{head}half"));
    let mut upstream = server.accept();
    upstream.expect(format!("{head}half"));
    drop(client);
    upstream.expect_end();
    eventually("it is counted", || {
        proxy.metric(
            "istio_requests_total",
            &["response_flags=\"DC\"", "response_code=\"0\""],
        ) > 0.0
    });
}

#[test]
fn framing_is_still_followed_behind_bytes_that_nobody_looked_at() {
    const CHUNK: usize = 4 * 1024 * 1024;
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let request = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {CHUNK}\r\n\r\n");
    let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut sending = Wire::new(client.stream.try_clone().unwrap());
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let size = &format!("{CHUNK:x}\r\n");
    thread::scope(|scope| {
        scope.spawn(|| {
            sending.send(&request);
            pour(&mut sending, CHUNK);
            sending.send(next);
        });
        let mut upstream = server.accept();
        upstream.expect(&request);
        drain(&mut upstream, CHUNK);
        scope.spawn(move || {
            upstream.send(format!("{head}{size}"));
            pour(&mut upstream, CHUNK);
            upstream.send(format!("\r\n{size}"));
            pour(&mut upstream, CHUNK);
            upstream.send("\r\n0\r\nTrailer: t\r\n\r\n");
            upstream.expect(next);
            upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
        });
        client.expect(format!("{head}{size}"));
        drain(&mut client, CHUNK);
        client.expect(format!("\r\n{size}"));
        drain(&mut client, CHUNK);
        client.expect("\r\n0\r\nTrailer: t\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    });
}

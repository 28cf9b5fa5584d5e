//! Requests and answers of every kind pass unchanged.
//!
//! The client's and the server's ends are scripted in turn, so the order of what passes is tested, too.

use crate::harness::{pair, pair_with, warm};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_request_and_its_answer_pass_byte_for_byte() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let request =
        "POST /Path?q=1 HTTP/1.1\r\nhOsT:h\r\nX-Odd:  two  \r\nContent-Length: 4\r\n\r\nbody";
    client.send(request);
    let mut upstream = server.accept();
    upstream.expect(request);
    let answer = "HTTP/1.1 201 Made\r\nsErVeR:x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n";
    upstream.send(answer);
    client.expect(answer);
    client.send(GET);
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn inbound_requests_come_from_the_uncaptured_address() {
    let (proxy, server) = pair();
    let mut client = proxy.inbound();
    client.send(GET);
    let mut upstream = server.accept();
    assert_eq!(
        upstream.stream.peer_addr().unwrap().ip().to_string(),
        "127.0.0.6"
    );
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let (proxy, server) =
        pair_with(|config| config.detect_timeout = std::time::Duration::from_secs(5));
    let mut client = proxy.outbound();
    for byte in GET.as_bytes() {
        client.send([*byte]);
    }
    let mut upstream = server.accept();
    upstream.expect(GET);
    for byte in OK.as_bytes() {
        upstream.send([*byte]);
    }
    client.expect(OK);
}

#[test]
fn empty_lines_before_a_request_are_dropped() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send(format!("\r\n\r\n{GET}"));
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
    client.send(format!("\r\n{GET}"));
    upstream.expect(GET);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let post =
        "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    client.send(format!("{GET}{post}{GET}"));
    let mut upstream = server.accept();
    for (request, answer) in [(GET, "one"), (post, "two"), (GET, "333")] {
        upstream.expect(request);
        upstream.expect_nothing();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{answer}");
        upstream.send(&answer);
        client.expect(&answer);
    }
}

#[test]
fn a_request_may_be_pipelined_while_a_body_is_on_its_way() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
    client.send(head);
    let mut upstream = server.accept();
    upstream.expect(head);
    client.send(format!("bodybody{GET}"));
    upstream.expect("bodybody");
    upstream.expect_nothing();
    upstream.send(OK);
    client.expect(OK);
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn answers_without_a_body_end_at_their_head() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    let table = [
        (
            "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        ),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (request, answer) in table {
        client.send(request);
        upstream.expect(request);
        upstream.send(answer);
        client.expect(answer);
    }
}

#[test]
fn a_client_may_wait_for_100_continue() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    client.send(head);
    let mut upstream = server.accept();
    upstream.expect(head);
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    upstream.expect("body");
    upstream.send(OK);
    client.expect(OK);
}

#[test]
fn interim_answers_precede_the_final_one() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send(GET);
    upstream.expect(GET);
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    upstream.send(format!("{hints}{hints}{OK}"));
    client.expect(format!("{hints}{hints}{OK}"));
    client.send(GET);
    upstream.expect(GET);
}

#[test]
fn an_upgraded_connection_is_opaque_both_ways() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let request =
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(request);
    let mut upstream = server.accept();
    upstream.expect(request);
    upstream.send(format!("{answer}\x01first"));
    client.expect(format!("{answer}\x01first"));
    client.send("\0\r\n\r\nnot http");
    upstream.expect("\0\r\n\r\nnot http");
    client.end();
    upstream.expect_end();
    upstream.send("last words");
    drop(upstream);
    client.expect("last words");
    client.expect_end();
}

#[test]
fn early_bytes_of_an_upgrade_reach_the_upstream() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    client.send(format!("{request}early"));
    let mut upstream = server.accept();
    upstream.expect(request);
    upstream.expect_nothing();
    upstream.send("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    upstream.expect("early");
}

#[test]
fn a_refused_upgrade_leaves_http_as_it_was() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    for (request, answer) in [(request, OK), (GET, OK)] {
        client.send(request);
        upstream.expect(request);
        upstream.send(answer);
        client.expect(answer);
    }
}

#[test]
fn connect_makes_a_tunnel() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let request = "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n";
    client.send(request);
    let mut upstream = server.accept();
    upstream.expect(request);
    // The length means nothing here (RFC 9110 section 9.3.6).
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    upstream.send(answer);
    client.expect(answer);
    client.send("\0\x01client");
    upstream.expect("\0\x01client");
    upstream.send("\0\x02server");
    client.expect("\0\x02server");
}

#[test]
fn a_refused_tunnel_ends_the_connection() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    let request = "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n";
    client.send(format!("{request}{GET}"));
    let mut upstream = server.accept();
    upstream.expect(request);
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    upstream.send(answer);
    client.expect(answer);
    client.expect_end();
    upstream.expect_end();
}

#[test]
fn old_clients_and_servers_end_with_the_connection() {
    let (proxy, server) = pair();
    let request = "GET / HTTP/1.0\r\n\r\n";
    let mut client = proxy.outbound();
    client.send(request);
    let mut upstream = server.accept();
    upstream.expect(request);
    upstream.send("HTTP/1.0 200 OK\r\n\r\nup to the end");
    drop(upstream);
    client.expect("HTTP/1.0 200 OK\r\n\r\nup to the end");
    client.expect_end();
}

#[test]
fn an_old_client_may_keep_its_connection() {
    let (proxy, server) = pair();
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    let mut client = proxy.outbound();
    client.send(request);
    let mut upstream = server.accept();
    for _ in 0..2 {
        upstream.expect(request);
        upstream.send(answer);
        client.expect(answer);
        client.send(request);
    }
}

#[test]
fn either_side_may_close_and_the_other_side_of_the_proxy_stays() {
    let (proxy, server) = pair();
    let (mut client, mut upstream) = warm(&proxy, &server);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nKeep-Alive: 5\r\n\r\n");
    upstream.expect(GET);
    upstream.send(OK);
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok");
    client.expect_end();
    let mut client = proxy.outbound();
    client.send(GET);
    upstream.expect(GET);
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    client.expect(OK);
    upstream.expect_end();
    client.send(GET);
    server.accept().expect(GET);
}

#[test]
fn options_of_a_connection_that_say_more_are_passed_on() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Odd\r\nContent-Length: 2\r\n\r\nok";
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send(request);
    let mut upstream = server.accept();
    upstream.expect(request);
    upstream.send(answer);
    client.expect(answer);
    client.expect_end();
    upstream.expect_end();
}

#[test]
fn a_client_that_ends_its_direction_still_gets_the_answer() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send(GET);
    client.end();
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.expect_end();
    upstream.send(OK);
    client.expect(OK);
    client.expect_end();
}

#[test]
fn a_client_that_goes_away_frees_the_upstream() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    client.reset();
    upstream.expect_end();
}

#[test]
fn nobody_unverified_speaks_for_a_sidecar() {
    let (proxy, server) = pair();
    let claims = "X-Forwarded-Client-Cert: By=a;URI=spiffe://b\r\nx-envoy-peer-metadata: eA==\r\nx-envoy-peer-metadata-id: n\r\nx-mesh-error: no_route\r\n";
    for mut client in [proxy.outbound(), proxy.inbound()] {
        client.send(format!(
            "POST / HTTP/1.1\r\n{claims}Host: h\r\n{claims}Content-Length: 4\r\n\r\nbody"
        ));
        let mut upstream = server.accept();
        upstream.expect("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
        upstream.send(format!(
            "HTTP/1.1 100 Continue\r\n{claims}\r\nHTTP/1.1 200 OK\r\n{claims}Content-Length: 2\r\n\r\nok"
        ));
        client
            .expect("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

#[test]
fn a_field_that_only_sidecars_write_cannot_be_named_in_connection() {
    let (proxy, _server) = pair();
    let mut client = proxy.inbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Forwarded-Client-Cert\r\n\r\n");
    let (status, code) = client.refusal();
    assert_eq!((status, &*code), (400, "request_bad_head"));
}

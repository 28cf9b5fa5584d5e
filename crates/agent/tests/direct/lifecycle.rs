//! Starting, being watched, draining, stopping, and bounds.
//!
//! Every limit and time is set so low that the test reaches it.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use agent::data_plane::{self, Capture, Joined, StartError};

use crate::harness::{PATIENCE, Proxy, Server, config, eventually, nobody, pair, pair_with, warm};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The same on a connection that ends with it.
const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok";

fn join(proxy: Proxy, limit: Duration) -> Joined {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(proxy.plane.join(limit))
}

#[test]
fn a_busy_port_is_named_with_its_purpose() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(nobody());
    config.inbound = held.local_addr().unwrap();
    let error = data_plane::start(config).unwrap_err();
    assert!(
        matches!(error, StartError::Listen { address, .. } if address == held.local_addr().unwrap())
    );
    assert!(
        error.to_string().contains("captured inbound connections"),
        "{error}"
    );
}

#[test]
fn several_workers_share_the_ports() {
    let (proxy, server) = pair_with(|config| config.workers = NonZeroUsize::new(3).unwrap());
    for n in 1..=24 {
        let (client, upstream) = warm(&proxy, &server);
        drop((client, upstream));
        eventually("it is counted", || {
            proxy.metric("istio_requests_total", &[]) > f64::from(n) - 0.5
        });
    }
    let joined = join(proxy, PATIENCE);
    assert_eq!((joined.cut, joined.lost), (0, 0));
}

#[test]
fn a_connection_to_the_proxy_itself_is_closed_and_counted() {
    let own: SocketAddr = ([127, 0, 0, 1], contract::ports::OUTBOUND).into();
    let (proxy, _server) = pair_with(|config| {
        config.outbound_capture = Capture::Fixed(own);
        // Nothing has redirected this one.
        config.inbound_capture = Capture::Redirect;
    });
    for mut client in [proxy.outbound(), proxy.inbound()] {
        client.expect_end();
    }
    assert!((proxy.metric("minimesh_loops_prevented_total", &[]) - 2.0).abs() < 0.1);
}

#[test]
fn readiness_is_the_status_servers_answer() {
    let (proxy, status) = pair();
    let mut probe = proxy.readiness();
    let request = "GET /healthz/ready HTTP/1.1\r\nHost: h\r\n\r\n";
    probe.send(request);
    let mut upstream = status.accept();
    upstream.expect(request);
    upstream.send(OK);
    probe.expect(OK);
    for target in ["/", "/healthz/ready/", "/stats/prometheus", "/quitquitquit"] {
        let mut probe = proxy.readiness();
        probe.send(format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(probe.refusal(), (404, "not_found".to_owned()), "{target}");
    }
    let mut probe = proxy.readiness();
    probe.send("POST /healthz/ready HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(probe.refusal().0, 404);
    status.was_not_dialled();
    assert!(
        proxy.metric("istio_requests_total", &[]) < 0.1,
        "probes are no traffic"
    );
    assert_eq!(proxy.plane.active_connections(), 0);
}

#[test]
fn readiness_fails_without_the_status_server() {
    let proxy = Proxy::new(config(nobody()));
    let mut probe = proxy.readiness();
    probe.send("GET /healthz/ready HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(probe.refusal().0, 503);
}

#[test]
fn a_drain_lets_inbound_requests_end_and_outbound_go_on() {
    let (proxy, server) = pair();
    let mut idle = proxy.inbound();
    idle.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send(OK);
    idle.expect(OK);
    let mut busy = proxy.inbound();
    busy.send(GET);
    upstream.expect(GET);
    let (mut outbound, mut outbound_upstream) = warm(&proxy, &server);
    proxy.plane.drain();
    idle.expect_end();
    upstream.send(OK);
    busy.expect(LAST);
    busy.expect_end();
    // Endpoints take a while to vanish from the clients' lists.
    let mut late = proxy.inbound();
    late.send(GET);
    upstream.expect(GET);
    upstream.send(OK);
    late.expect(LAST);
    late.expect_end();
    for _ in 0..2 {
        outbound.send(GET);
        outbound_upstream.expect(GET);
        outbound_upstream.send(OK);
        outbound.expect(OK);
    }
}

#[test]
fn stopping_waits_for_requests_but_not_for_idle_connections() {
    let (proxy, server) = pair();
    let (_idle, _upstream) = warm(&proxy, &server);
    let mut busy = proxy.inbound();
    busy.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    let addresses = proxy.plane.addresses();
    let stopping = std::thread::spawn(move || join(proxy, PATIENCE));
    // A connection to a capturing port would be carried to the server, and wait for its end.
    eventually("nothing is accepted", || {
        std::net::TcpStream::connect(addresses.readiness).is_err()
    });
    upstream.send(OK);
    busy.expect(LAST);
    busy.expect_end();
    assert_eq!(stopping.join().unwrap(), Joined::default());
}

#[test]
fn stopping_ends_at_the_deadline() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("\0");
    let mut upstream = server.accept();
    upstream.expect("\0");
    let started = Instant::now();
    let joined = join(proxy, Duration::from_millis(50));
    assert_eq!((joined.cut, joined.lost), (1, 0));
    assert!(started.elapsed() >= Duration::from_millis(50));
    client.expect_end();
    upstream.expect_end();
}

#[test]
fn a_dropped_data_plane_frees_its_ports() {
    let (proxy, _server) = pair();
    let address = proxy.plane.addresses().outbound;
    drop(proxy);
    eventually("the port is free", || TcpListener::bind(address).is_ok());
}

#[test]
fn connections_beyond_the_limit_are_reset() {
    let (proxy, server) = pair_with(|config| config.limits.connections = 2);
    let first = warm(&proxy, &server);
    let mut second = proxy.outbound();
    second.send(GET);
    let mut third = proxy.outbound();
    third.expect_end();
    assert!(proxy.metric("minimesh_connections_refused_total", &[]) > 0.0);
    // The other listener has a limit of its own, so nobody outside can take the workload's calls away.
    let mut inbound = proxy.inbound();
    inbound.send(GET);
    let mut upstream = server.accept();
    upstream.send(OK);
    inbound.expect(OK);
    drop(first);
    eventually("there is room again", || {
        let mut client = proxy.outbound();
        client
            .stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        use std::io::Read;
        client
            .stream
            .read(&mut [0])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
}

#[test]
fn a_slow_head_is_ended_however_regularly_bytes_come() {
    let (proxy, server) = pair_with(|config| config.head_timeout = Duration::from_millis(100));
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\n");
    let started = Instant::now();
    let answer = std::thread::scope(|scope| {
        let mut sending = crate::harness::Wire::new(client.stream.try_clone().unwrap());
        let trickle = scope.spawn(move || {
            use std::io::Write;
            while started.elapsed() < PATIENCE && sending.stream.write_all(b"X: y\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let answer = client.refusal();
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
        trickle.join().unwrap();
        answer
    });
    assert_eq!(answer, (408, "request_head_timeout".to_owned()));
    assert!(started.elapsed() < PATIENCE);
    server.was_not_dialled();
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    // The first request must be over by then, on a busy machine too.
    let (proxy, server) = pair_with(|config| config.idle_timeout = Duration::from_secs(2));
    let (mut client, _upstream) = warm(&proxy, &server);
    client.expect_end();
}

#[test]
fn an_answer_that_never_comes_ends_with_504() {
    let (proxy, server) = pair_with(|config| config.idle_timeout = Duration::from_millis(100));
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let _upstream: crate::harness::Wire = server.accept();
    assert_eq!(client.refusal(), (504, "idle_timeout".to_owned()));
}

#[test]
fn the_unspecified_address_serves_both_families() {
    let server = Server::new();
    let mut config = config(server.address);
    config.outbound = "[::]:0".parse().unwrap();
    let proxy = Proxy::new(config);
    let port = proxy.plane.addresses().outbound.port();
    let mut client = crate::harness::Wire::connect(([127, 0, 0, 1], port).into());
    client.send(GET);
    server.accept().expect(GET);
}

//! The test server against itself: what the cluster tests rely on must not be what is broken.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use e2e::report::Report;

const PROGRAM: &str = env!("CARGO_BIN_EXE_test-server");

/// A running server and its ports.
struct Server {
    child: Child,
    http: u16,
    tcp: u16,
}

#[test]
fn a_thousand_requests_fit_on_one_connection() {
    let server = Server::start();
    let url = format!("http://127.0.0.1:{}/", server.http);
    let args = ["get", &url, "--requests", "1000", "--one-connection"];
    let report = report(&args, true).expect_clean(1000).unwrap();
    assert_eq!(report.connections, 1);
    assert_eq!(report.bytes, 1000 * "test-server\n".len() as u64);
}

#[test]
fn websocket_messages_and_tcp_bytes_come_back() {
    let server = Server::start();
    let url = format!("ws://127.0.0.1:{}/chat", server.http);
    report(&["websocket", &url], true)
        .expect_clean(100)
        .unwrap();
    let address = format!("127.0.0.1:{}", server.tcp);
    let args = ["tcp-echo", &address, "--bytes", "3000000"];
    let report = report(&args, true).expect_clean(1).unwrap();
    assert_eq!(report.bytes, 3_000_000);
}

#[test]
fn load_opens_a_connection_for_each_request_and_ends_with_its_input() {
    let server = Server::start();
    let url = format!("http://127.0.0.1:{}/", server.http);
    let args = [
        "load",
        &url,
        "--connection-per-request",
        "--duration=60s",
        "--until-eof",
    ];
    let start = Instant::now();
    // The input is empty, so it ends after the requests at hand.
    let report = report(&args, true).expect_clean(1).unwrap();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(report.connections, report.requests);
}

#[test]
fn failures_have_a_reason_and_an_exit_code() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}/");
    let report = report(&["get", &url, "--requests", "2"], false);
    assert_eq!((report.requests, report.failed), (2, 2));
    let reason = report.failures.keys().next().unwrap();
    assert!(reason.starts_with("connect: "), "{reason}");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    for (args, reason) in [
        (["get", "https://127.0.0.1/"], "begins neither with http://"),
        (["tcp-echo", "127.0.0.1"], "not of the form HOST:PORT"),
    ] {
        let output = run(&args);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn sigterm_ends_the_server_at_once() {
    let mut server = Server::start();
    let id = server.child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    assert!(server.child.wait().unwrap().success());
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn report(args: &[&str], is_clean: bool) -> Report {
    let output = run(args);
    assert_eq!(output.status.success(), is_clean, "{output:?}");
    Report::parse(&String::from_utf8_lossy(&output.stdout)).unwrap()
}

// === impl Server ===

impl Server {
    fn start() -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--http", "0", "--tcp", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let mut ports = line.split_whitespace().filter_map(|word| word.parse().ok());
        let (http, tcp) = (ports.next().unwrap(), ports.next().unwrap());
        Self { child, http, tcp }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

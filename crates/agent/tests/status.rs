//! The status and metrics servers over real sockets, with small applications behind the probes.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

#[path = "status/application.rs"]
mod application;
#[path = "status/choices.rs"]
mod choices;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agent::{
    args::{Cli, Command},
    client::{self, Version, exchange, read_up_to},
    request,
    status::{
        Control, Metrics, Status,
        probes::{Probes, dial::Dialer, prober::Prober},
        scrape::{Scraper, Targets},
        server,
    },
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use runtime::{metrics::Registry, readiness::Readiness, task::Group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use application::Application;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Far more than any answer takes.
const LIMIT: Duration = Duration::from_secs(10);

/// What a pod may choose.
#[derive(Clone, Copy, Default)]
struct Choices {
    keeps_probes: bool,
    hides_metrics: bool,
}

/// A status server with its parts.
struct Server {
    address: SocketAddr,
    readiness: Readiness,
    control: Arc<Counts>,
    group: Group,
}

#[derive(Default)]
struct Counts {
    drains: AtomicUsize,
    quits: AtomicUsize,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

// === impl Server ===

impl Server {
    /// A server whose probes are `probes` as JSON; `reserved` ports belong to the sidecar.
    fn start(probes: &str, reserved: Vec<u16>) -> Self {
        Self::scraping("", probes, reserved)
    }

    /// The same, for an application whose metrics are at `targets`.
    fn scraping(targets: &str, probes: &str, reserved: Vec<u16>) -> Self {
        Self::choosing(targets, probes, reserved, Choices::default())
    }

    fn choosing(targets: &str, probes: &str, reserved: Vec<u16>, choices: Choices) -> Self {
        let readiness = Readiness::new();
        let control = Arc::new(Counts::default());
        let mut registry = Registry::new("proxy", "1.2.3");
        let targets = Targets::parse(targets).unwrap();
        let scraper = Scraper::register(targets, reserved.clone(), registry.families());
        let dialer = Dialer::new(LOCAL, reserved).keeping(choices.keeps_probes);
        let prober = Prober::new(Probes::parse(probes).unwrap(), dialer);
        let status = Status::new(
            readiness.clone(),
            Metrics::new(Arc::new(registry)).hidden(choices.hides_metrics),
            scraper,
            prober,
            Arc::clone(&control) as Arc<dyn Control>,
        );
        let listener = server::bind(0).unwrap();
        let address = SocketAddr::new(LOCAL, listener.local_addr().unwrap().port());
        let group = Group::new();
        group.spawn_essential(
            "status server",
            server::serve(listener, Arc::new(status), group.clone()),
        );
        Self {
            address,
            readiness,
            control,
            group,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = client::connect("localhost", self.address.port())
            .await
            .unwrap();
        ask_over(stream, method, path, headers).await
    }

    async fn end(self) {
        self.group.cancel();
        self.group.join(LIMIT).await.unwrap();
    }
}

// === impl Counts ===

impl Control for Counts {
    fn drain(&self) {
        self.drains.fetch_add(1, Ordering::SeqCst);
    }

    fn quit(&self) {
        self.quits.fetch_add(1, Ordering::SeqCst);
    }
}

async fn ask_over(
    stream: TcpStream,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "10.0.0.7:15020");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = exchange(Version::Http1, stream, request, |response| async {
        let (head, body) = response.into_parts();
        let body = read_up_to(body, 1 << 20).await?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    });
    tokio::time::timeout(LIMIT, answer).await.unwrap().unwrap()
}

/// A connection from 127.0.0.6, as the data plane makes for what comes from outside.
async fn connect_from_outside(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.6:0".parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// A server with the one probe `/app-health/web/readyz`.
fn with_probe(probe: &str) -> Server {
    Server::start(
        &format!(r#"{{"/app-health/web/readyz": {probe}}}"#),
        vec![15020],
    )
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let server = Server::start("", Vec::new());
    let guard = server.readiness.register("data plane");
    let answer = server.get("/healthz/ready").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "not ready: waiting for data plane\n");
    drop(guard);
    assert_eq!(server.get("/healthz/ready").await.status, StatusCode::OK);
    server.readiness.drain();
    let answer = server.get("/healthz/ready").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "not ready: draining\n");
    server.end().await;
}

#[tokio::test]
async fn metrics_are_served_under_both_paths() {
    let server = Server::start("", Vec::new());
    for path in [
        "/stats/prometheus",
        "/metrics",
        "/stats/prometheus?filter=x",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let content_type = answer.headers["content-type"].to_str().unwrap();
        assert!(
            content_type.starts_with("application/openmetrics-text"),
            "{content_type}"
        );
        let build = "istio_build{component=\"proxy\",tag=\"1.2.3\"} 1\n";
        assert!(answer.body.contains(build), "{}", answer.body);
    }
    server.end().await;
}

#[tokio::test]
async fn the_applications_metrics_are_merged() {
    let application = Application::http().await;
    let port = application.port;
    let target = |path: &str| format!(r#"{{"port":"{port}","path":"{path}"}}"#);
    let text_part = "app_requests_total 7\n";
    let failures = "istio_agent_scrape_failures_total{type=\"application\"} 1\n";
    for (targets, content_type, expected) in [
        (
            target("/metrics-text"),
            "text/plain; version=0.0.4",
            text_part,
        ),
        (
            target("/metrics-open"),
            "application/openmetrics-text",
            "app_seconds 1\n# EOF\n",
        ),
        (target("/broken"), "application/openmetrics-text", failures),
    ] {
        let server = Server::scraping(&targets, "", Vec::new());
        let answer = server.get("/stats/prometheus").await;
        assert_eq!(answer.status, StatusCode::OK, "{targets}");
        let found = answer.headers["content-type"].to_str().unwrap();
        assert!(found.starts_with(content_type), "{targets}: {found}");
        assert!(answer.body.contains("istio_build{"), "{}", answer.body);
        assert!(answer.body.contains(expected), "{}", answer.body);
        server.end().await;
    }
    let both = format!(
        r#"{{"targets":[{},{}]}}"#,
        target("/metrics-text"),
        target("/metrics-open")
    );
    let server = Server::scraping(&both, "", Vec::new());
    let answer = server.get("/metrics").await;
    assert!(
        answer.body.contains(text_part) && answer.body.contains("app_seconds 1\n"),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("# EOF"), "{}", answer.body);
    server.end().await;
}

#[tokio::test]
async fn an_application_that_does_not_answer_costs_no_more_than_the_scrapers_patience() {
    let application = Application::http().await;
    let target = format!(r#"{{"port":"{}","path":"/slow"}}"#, application.port);
    let server = Server::scraping(&target, "", Vec::new());
    let patience = [("x-prometheus-scrape-timeout-seconds", "0.2")];
    let asking = server.ask(Method::GET, "/metrics", &patience);
    let answer = tokio::time::timeout(Duration::from_secs(5), asking)
        .await
        .unwrap();
    assert!(answer.body.contains("istio_build{"), "{}", answer.body);
    server.end().await;
}

#[tokio::test]
async fn the_sidecars_own_port_is_not_scraped() {
    let application = Application::http().await;
    let port = application.port;
    let target = format!(r#"{{"port":"{port}","path":"/metrics-text"}}"#);
    let server = Server::scraping(&target, "", vec![port]);
    let answer = server.get("/metrics").await;
    assert!(!answer.body.contains("app_requests"), "{}", answer.body);
    assert!(
        answer
            .body
            .contains("scrape_failures_total{type=\"application\"} 1"),
        "{}",
        answer.body
    );
    server.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_404_and_wrong_methods_are_405() {
    let server = Server::start("", Vec::new());
    let table = [
        (Method::GET, "/", 404),
        (Method::GET, "/healthz", 404),
        (Method::GET, "/app-health", 404),
        (Method::GET, "/app-healthy/x", 404),
        (Method::GET, "/quitquitquit", 405),
        (Method::GET, "/drain", 405),
        (Method::POST, "/healthz/ready", 405),
        (Method::POST, "/stats/prometheus", 405),
        (Method::POST, "/app-health/web/readyz", 405),
        (Method::HEAD, "/healthz/ready", 200),
    ];
    for (method, path, status) in table {
        let answer = server.ask(method.clone(), path, &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
    }
    assert_eq!(server.control.quits.load(Ordering::SeqCst), 0);
    server.end().await;
}

#[tokio::test]
async fn only_the_own_pod_may_drain_or_end_the_proxy() {
    let server = Server::start("", Vec::new());
    for path in ["/quitquitquit", "/drain"] {
        let stream = connect_from_outside(server.address).await;
        let answer = ask_over(stream, Method::POST, path, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(server.control.quits.load(Ordering::SeqCst), 0);
    assert_eq!(server.control.drains.load(Ordering::SeqCst), 0);
    assert_eq!(
        server.ask(Method::POST, "/drain", &[]).await.status,
        StatusCode::OK
    );
    assert_eq!(
        server.ask(Method::POST, "/quitquitquit", &[]).await.status,
        StatusCode::OK
    );
    assert_eq!(server.control.drains.load(Ordering::SeqCst), 1);
    assert_eq!(server.control.quits.load(Ordering::SeqCst), 1);
    server.end().await;
}

#[tokio::test]
async fn outsiders_cannot_use_up_the_share_of_the_pod() {
    let server = Server::start("", Vec::new());
    let mut held = Vec::new();
    let refused = loop {
        let mut stream = connect_from_outside(server.address).await;
        // An answer proves that the connection was taken, an end that it was not.
        let asked = stream
            .write_all(b"GET /healthz/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        let mut first = [0];
        if asked.is_err() || !matches!(stream.read(&mut first).await, Ok(1)) {
            break held.len();
        }
        held.push(stream);
    };
    assert!((10..1000).contains(&refused), "{refused} connections");
    assert_eq!(server.get("/healthz/ready").await.status, StatusCode::OK);
    drop(held);
    server.end().await;
}

#[tokio::test]
async fn http_probes_pass_on_what_the_application_answers() {
    let application = Application::http().await;
    let port = application.port;
    let table = [
        ("/", 200, "hello\n"),
        ("/missing", 404, "no such page\n"),
        ("/broken", 500, "out of order\n"),
        ("/redirect?to=/", 200, "hello\n"),
        ("/redirect?to=http://127.0.0.1:PORT/", 200, "hello\n"),
        ("/redirect?to=http://example.com/", 200, ""),
        ("/redirect", 200, "moved\n"),
        ("/redirect?to=/redirect", 200, "moved\n"),
    ];
    for (path, status, body) in table {
        let path = path.replace("PORT", &port.to_string());
        let server = with_probe(&format!(
            r#"{{"httpGet": {{"path": "{path}", "port": {port}}}, "timeoutSeconds": 9}}"#
        ));
        let answer = server.get("/app-health/web/readyz").await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (status, body),
            "{path}"
        );
        server.end().await;
    }
}

#[tokio::test]
async fn failed_probes_say_why() {
    let application = Application::http().await;
    let silent_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent_listener.local_addr().unwrap().port();
    let closed = closed_port().await;
    let http = application.port;
    let table = [
        (
            format!(r#"{{"httpGet": {{"path": "/slow", "port": {http}}}}}"#),
            "within 1 s",
        ),
        (
            format!(r#"{{"httpGet": {{"path": "/circle", "port": {http}}}}}"#),
            "more than 10 redirects",
        ),
        (
            format!(r#"{{"httpGet": {{"port": {closed}}}}}"#),
            "cannot connect to 127.0.0.1:",
        ),
        (
            format!(r#"{{"httpGet": {{"port": {http}, "scheme": "HTTPS"}}}}"#),
            "no TLS with 127.0.0.1:",
        ),
        (
            format!(r#"{{"tcpSocket": {{"port": {closed}}}}}"#),
            "cannot connect to 127.0.0.1:",
        ),
        (
            format!(r#"{{"grpc": {{"port": {http}}}}}"#),
            "no gRPC answer from port",
        ),
        (
            format!(r#"{{"grpc": {{"port": {closed}}}}}"#),
            "cannot connect to 127.0.0.1:",
        ),
        (format!(r#"{{"grpc": {{"port": {silent}}}}}"#), "within 1 s"),
        (
            r#"{"tcpSocket": {"port": 15020}}"#.to_owned(),
            "belongs to the sidecar",
        ),
    ];
    for (probe, expected) in table {
        let server = with_probe(&probe);
        let answer = server.get("/app-health/web/readyz").await;
        assert_eq!(answer.status.as_u16(), 500, "{probe}");
        assert!(answer.body.contains(expected), "{probe}: {}", answer.body);
        server.end().await;
    }
}

#[tokio::test]
async fn an_unknown_probe_is_400_and_named() {
    let server = Server::start("", Vec::new());
    for path in [
        "/app-health/web/readyz",
        "/app-lifecycle/web/prestopz",
        "/app-health/../x",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status.as_u16(), 400, "{path}");
        assert!(answer.body.contains(path), "{}", answer.body);
    }
    server.end().await;
}

#[tokio::test]
async fn probes_carry_the_kubelets_headers_and_their_own() {
    let application = Application::http().await;
    let port = application.port;
    let own =
        r#""httpHeaders": [{"name": "X-Own", "value": "1"}, {"name": "X-Both", "value": "own"}]"#;
    let server = with_probe(&format!(
        r#"{{"httpGet": {{"path": "/headers", "port": {port}, {own}}}}}"#
    ));
    let headers = [
        ("user-agent", "kube-probe/1.33"),
        ("x-both", "kubelet"),
        ("te", "trailers"),
    ];
    let answer = server
        .ask(Method::GET, "/app-health/web/readyz", &headers)
        .await;
    let mut lines: Vec<_> = answer.body.lines().collect();
    lines.sort_unstable();
    let host = format!("host: 10.0.0.7:{port}");
    assert_eq!(
        lines,
        [
            "connection: close",
            &host,
            "user-agent: kube-probe/1.33",
            "x-both: own",
            "x-own: 1"
        ]
    );
    server.end().await;

    let own = r#""httpHeaders": [{"name": "Host", "value": "shop.example"}]"#;
    let server = with_probe(&format!(
        r#"{{"httpGet": {{"path": "/headers", "port": {port}, {own}}}}}"#
    ));
    let answer = server.get("/app-health/web/readyz").await;
    assert!(
        answer.body.contains("host: shop.example\n"),
        "{}",
        answer.body
    );
    server.end().await;
}

#[tokio::test]
async fn large_pages_are_cut() {
    let application = Application::http().await;
    let port = application.port;
    let server = with_probe(&format!(
        r#"{{"httpGet": {{"path": "/large", "port": {port}}}}}"#
    ));
    let answer = server.get("/app-health/web/readyz").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body.len(), 10 * 1024);
    server.end().await;
}

#[tokio::test]
async fn https_probes_take_any_certificate_in_both_versions_of_http() {
    for version in [Version::Http1, Version::Http2] {
        let application = Application::https(version).await;
        let port = application.port;
        let server = with_probe(&format!(
            r#"{{"httpGet": {{"path": "/headers", "port": {port}, "scheme": "HTTPS"}}, "timeoutSeconds": 9}}"#
        ));
        let answer = server.get("/app-health/web/readyz").await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{version:?}: {}",
            answer.body
        );
        assert!(
            answer.body.contains(&format!("10.0.0.7:{port}\n")),
            "{version:?}: {}",
            answer.body
        );
        server.end().await;
    }
}

#[tokio::test]
async fn a_tcp_probe_passes_when_the_connection_stands() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = with_probe(&format!(r#"{{"tcpSocket": {{"port": {port}}}}}"#));
    assert_eq!(
        server.get("/app-health/web/readyz").await.status,
        StatusCode::OK
    );
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(
        peer.ip(),
        IpAddr::from([127, 0, 0, 6]),
        "the rules let only this source pass"
    );
    server.end().await;
}

#[tokio::test]
async fn grpc_probes_follow_the_health_service() {
    let application = Application::grpc().await;
    let port = application.port;
    let table = [
        ("", 200, "OK"),
        ("serving", 200, "OK"),
        ("not-serving", 500, "NOT_SERVING"),
        ("unknown", 500, "gRPC status 5"),
        ("garbage", 500, "its message cannot be read"),
        ("page", 500, "it has no grpc-status"),
        ("slow", 500, "within 1 s"),
    ];
    for (service, status, body) in table {
        let server = with_probe(&format!(
            r#"{{"grpc": {{"port": {port}, "service": "{service}"}}}}"#
        ));
        let answer = server.get("/app-health/web/readyz").await;
        assert_eq!(answer.status.as_u16(), status, "{service}: {}", answer.body);
        assert!(answer.body.contains(body), "{service}: {}", answer.body);
        server.end().await;
    }
}

async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_request_prints_the_answer_whatever_its_status() {
    let server = Server::start("", Vec::new());
    let port = server.address.port().to_string();
    let table = [
        ("GET", "metrics", "istio_build", true),
        ("get", "/healthz/ready", "ready\n", true),
        ("POST", "drain", "OK\n", true),
        ("GET", "/nowhere", "there is no such page\n", false),
    ];
    for (method, path, expected, is_success) in table {
        let args = ["agent", "request", method, path, "--debug-port", &port];
        let (cli, _) = Cli::read(args.map(OsString::from).to_vec()).unwrap();
        let Command::Request(args) = cli.command else {
            panic!("not request");
        };
        let (printed, result) = tokio::task::spawn_blocking(move || {
            let mut printed = Vec::new();
            let result = request::send(&args, &mut printed);
            (String::from_utf8(printed).unwrap(), result)
        })
        .await
        .unwrap();
        assert!(printed.contains(expected), "{method} {path}: {printed}");
        assert_eq!(result.is_ok(), is_success, "{method} {path}: {result:?}");
    }
    assert_eq!(server.control.drains.load(Ordering::SeqCst), 1);
    server.end().await;
}

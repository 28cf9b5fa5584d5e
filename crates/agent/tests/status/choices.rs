//! What a pod may choose about its status server, and what scrapers may ask of it.

use std::io::Read;

use agent::client::Version;
use flate2::read::GzDecoder;
use http::{Method, StatusCode};

use super::{
    Choices, LIMIT, Ordering, Server, application::Application, ask_over, connect_from_outside,
    exchange, read_up_to,
};
use bytes::Bytes;
use http_body_util::Full;

const KEPT: Choices = Choices {
    keeps_probes: true,
    hides_metrics: false,
};

fn probe_of(application: &Application, scheme: &str, path: &str) -> String {
    let port = application.port;
    format!(
        r#"{{"/app-health/web/readyz": {{"httpGet": {{"port": {port}, "path": "{path}", "scheme": "{scheme}"}}}}}}"#
    )
}

#[tokio::test]
async fn metrics_are_for_this_pod_alone_where_it_says_so() {
    let choices = Choices {
        hides_metrics: true,
        ..Choices::default()
    };
    let server = Server::choosing("", "", Vec::new(), choices);
    for path in ["/stats/prometheus", "/metrics"] {
        assert_eq!(server.get(path).await.status, StatusCode::OK, "{path}");
        let stream = connect_from_outside(server.address).await;
        let answer = ask_over(stream, Method::GET, path, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    let stream = connect_from_outside(server.address).await;
    let answer = ask_over(stream, Method::GET, "/healthz/ready", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    server.end().await;
}

#[tokio::test]
async fn a_page_is_compressed_for_scrapers_that_accept_it() {
    let application = Application::http().await;
    let target = format!(
        r#"{{"port":"{}","path":"/metrics-text"}}"#,
        application.port
    );
    let server = Server::scraping(&target, "", Vec::new());
    let plain = server.get("/metrics").await;
    assert!(!plain.headers.contains_key("content-encoding"));
    assert_eq!(plain.headers["vary"], "accept-encoding");
    let stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let request = http::Request::get("/metrics")
        .header("host", "10.0.0.7:15020")
        .header("accept-encoding", "zstd, gzip;q=0.5")
        .body(Full::<Bytes>::default())
        .unwrap();
    let (head, body) = exchange(Version::Http1, stream, request, |response| async {
        let (head, body) = response.into_parts();
        Ok((head, read_up_to(body, 1 << 20).await?))
    })
    .await
    .unwrap();
    assert_eq!(head.headers["content-encoding"], "gzip");
    assert_eq!(head.headers["content-length"], body.len().to_string());
    let mut page = String::new();
    GzDecoder::new(&*body).read_to_string(&mut page).unwrap();
    assert_eq!(page, plain.body);
    assert!(page.contains("istio_build{") && page.contains("app_requests_total 7\n"));
    server.end().await;
}

#[tokio::test]
async fn a_fifth_scrape_waits_for_one_of_four_and_is_then_refused() {
    let application = Application::http().await;
    let target = format!(r#"{{"port":"{}","path":"/slow"}}"#, application.port);
    let server = Server::scraping(&target, "", Vec::new());
    let [long, short] =
        ["30", "0.3"].map(|patience| [("x-prometheus-scrape-timeout-seconds", patience)]);
    {
        let mut four: Vec<_> = (0..4)
            .map(|_| Box::pin(server.ask(Method::GET, "/metrics", &long)))
            .collect();
        let all_wait = async {
            while application.n_connections.load(Ordering::SeqCst) < 4 {
                for scrape in &mut four {
                    let soon = std::time::Duration::from_millis(5);
                    assert!(
                        tokio::time::timeout(soon, scrape).await.is_err(),
                        "answered"
                    );
                }
            }
        };
        tokio::time::timeout(LIMIT, all_wait).await.unwrap();
        let fifth = server.ask(Method::GET, "/metrics", &short).await;
        assert_eq!(fifth.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(server.get("/healthz/ready").await.status, StatusCode::OK);
    }
    // Those who have hung up hold nothing.
    let answered = async {
        while server.ask(Method::GET, "/metrics", &short).await.status != StatusCode::OK {}
    };
    tokio::time::timeout(LIMIT, answered).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_connection_of_probes_is_kept_where_the_pod_says_so() {
    for (scheme, is_tls) in [("HTTP", false), ("HTTPS", true)] {
        let start = || async {
            match is_tls {
                true => Application::https(Version::Http1).await,
                false => Application::http().await,
            }
        };
        for (choices, path, expected) in [
            (KEPT, "/", 1),
            // Not read to its end, so it is of no more use.
            (KEPT, "/large", 3),
            (Choices::default(), "/", 3),
        ] {
            let application = start().await;
            let probe = probe_of(&application, scheme, path);
            let server = Server::choosing("", &probe, Vec::new(), choices);
            for _ in 0..3 {
                let answer = server.get("/app-health/web/readyz").await;
                assert_eq!(answer.status, StatusCode::OK, "{scheme} {path}");
            }
            let n_connections = application.n_connections.load(Ordering::SeqCst);
            assert_eq!(n_connections, expected, "{scheme} {path}");
            server.end().await;
        }
    }
}

#[tokio::test]
async fn a_probe_does_not_fail_because_its_kept_connection_has_ended() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Answers once and ends the connection without a word about it.
    let answering = async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        }
    };
    let probe = format!(r#"{{"/app-health/web/readyz": {{"httpGet": {{"port": {port}}}}}}}"#);
    let server = Server::choosing("", &probe, Vec::new(), KEPT);
    let asking = async {
        for _ in 0..3 {
            let answer = server.get("/app-health/web/readyz").await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "ok"));
        }
    };
    tokio::join!(answering, asking);
    server.end().await;
}

//! What the metrics and the access log say about traffic.
//!
//! The numbers are read as a scrape reads them, the lines as the writer gets them.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
};

use agent::data_plane::{AccessLogOutput, AccessLogReader, Format};
use tokio::io::AsyncWrite;

use crate::harness::{Proxy, Server, eventually, pair, pair_with, warm};

const GET: &str = "GET /path HTTP/1.1\r\nHost: shop\r\nUser-Agent: test\"é\r\n\r\n";

/// Collects what is written.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl AsyncWrite for Page {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AccessLogOutput for Page {
    async fn reopen(&mut self) {
        self.0.lock().unwrap().extend_from_slice(b"opened anew\n");
    }
}

pub(crate) fn write_to_page(reader: AccessLogReader) -> Page {
    let page = Page::default();
    let output = page.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(reader.copy_to(output)).unwrap();
    });
    page
}

fn logging(format: Format) -> (Proxy, Server, Page) {
    let (mut proxy, server) = pair_with(|config| config.access_log = Some(format));
    let page = write_to_page(proxy.plane.access_log().unwrap());
    (proxy, server, page)
}

#[test]
fn a_request_is_one_line_of_the_log() {
    let (proxy, server, page) = logging(Format::Text);
    let mut client = proxy.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    eventually("the line is written", || page.lines().len() == 1);
    let line = &page.lines()[0];
    let (_, told) = line.split_once("] ").unwrap();
    assert!(
        told.starts_with("\"GET /path HTTP/1.1\" 200 - via_upstream - \"-\" 0 2 "),
        "{line}"
    );
    let told = told
        .split_once("\"-\" \"test\\\"\\xc3\\xa9\" \"-\" \"shop\" ")
        .unwrap()
        .1;
    let there = server.address;
    let here = client.stream.local_addr().unwrap();
    let ours = upstream.stream.peer_addr().unwrap();
    assert_eq!(
        told,
        format!("\"{there}\" PassthroughCluster {ours} {there} {here} - allow_any")
    );
}

#[test]
fn the_direction_shows_in_the_log() {
    let (proxy, server, page) = logging(Format::Json);
    let mut client = proxy.inbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
    client.expect("HTTP/1.1 204 No Content\r\n\r\n");
    eventually("the line is written", || page.lines().len() == 1);
    let line: serde_json::Value = serde_json::from_str(&page.lines()[0]).unwrap();
    assert_eq!(
        line["upstream_cluster"],
        format!("inbound|{}||", server.address.port())
    );
    assert_eq!(line["route_name"], "default");
    assert_eq!(line["response_code"], 204);
    assert!(
        line["upstream_local_address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.6:")
    );
}

#[test]
fn the_log_is_switched_while_requests_go_on() {
    let (mut proxy, server) = pair();
    let page = write_to_page(proxy.plane.access_log().unwrap());
    let control = proxy.plane.access_log_control();
    assert_eq!(control.format(), None);
    let mut client = proxy.outbound();
    let mut upstream: Option<crate::harness::Wire> = None;
    let mut exchange = |path: &str| {
        let get = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
        client.send(&get);
        let upstream = upstream.get_or_insert_with(|| server.accept());
        upstream.expect(&get);
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
        client.expect("HTTP/1.1 204 No Content\r\n\r\n");
    };
    let counted = |n: f64| {
        eventually("it is counted", || {
            (proxy.metric("istio_requests_total", &[]) - n).abs() < 0.1
        });
    };
    // A request is reported after its answer has gone, so the switch waits for that.
    for (index, format) in [
        None,
        Some(Format::Text),
        Some(Format::Json),
        None,
        Some(Format::Text),
    ]
    .into_iter()
    .enumerate()
    {
        control.set(format);
        exchange(&format!("/{index}"));
        counted(index as f64 + 1.0);
    }
    eventually("three lines are written", || page.lines().len() == 3);
    control.reopen();
    eventually("the file is opened anew", || page.lines().len() == 4);
    let lines = page.lines();
    assert!(lines[0].contains("\"GET /1 HTTP/1.1\""), "{lines:#?}");
    let object: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(object["path"], "/2");
    assert!(lines[2].contains("\"GET /4 HTTP/1.1\""), "{lines:#?}");
    assert_eq!(lines[3], "opened anew");
}

#[test]
fn what_goes_wrong_is_in_the_log_with_its_flag() {
    let (proxy, server, page) = logging(Format::Text);
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n");
    assert_eq!(client.refusal().0, 400);
    let mut client = proxy.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    client.reset();
    upstream.expect_end();
    let mut client = proxy.outbound();
    client.send("\0");
    let mut upstream = server.accept();
    upstream.expect("\0");
    upstream.reset();
    client.expect_end();
    eventually("all is written", || page.lines().len() == 3);
    let lines = page.lines();
    assert!(
        lines[0].contains("\"- - HTTP/1.1\" 400 DPE request_bad_head "),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("\"GET /path HTTP/1.1\" 0 DC client_closed "),
        "{}",
        lines[1]
    );
    assert!(lines[2].contains("\"- - -\" 0 "), "{}", lines[2]);
}

#[test]
fn what_is_cut_at_the_end_is_in_the_log() {
    let (proxy, server, page) = logging(Format::Text);
    let mut client = proxy.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let joined = runtime.block_on(proxy.plane.join(std::time::Duration::ZERO));
    assert_eq!((joined.cut, joined.lost), (1, 0));
    eventually("the line is written", || page.lines().len() == 1);
    assert!(page.lines()[0].contains("\"GET /path HTTP/1.1\" 0 DC proxy_stopped "));
    upstream.expect_end();
}

#[test]
fn metrics_know_both_directions() {
    let (proxy, server) = pair();
    let (_client, mut upstream) = warm(&proxy, &server);
    let mut client = proxy.inbound();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    let mut inbound_upstream = server.accept();
    inbound_upstream.expect("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    inbound_upstream.send(
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    client.expect(
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    eventually("both are counted", || {
        (proxy.metric("istio_requests_total", &[]) - 2.0).abs() < 0.1
    });
    let source = [
        "reporter=\"source\"",
        "response_code=\"204\"",
        "destination_service_name=\"PassthroughCluster\"",
        "connection_security_policy=\"unknown\"",
    ];
    assert!((proxy.metric("istio_requests_total", &source) - 1.0).abs() < 0.1);
    let destination = [
        "reporter=\"destination\"",
        "response_code=\"404\"",
        "destination_service_name=\"InboundPassthroughCluster\"",
        "connection_security_policy=\"none\"",
    ];
    assert!((proxy.metric("istio_requests_total", &destination) - 1.0).abs() < 0.1);
    // Content is counted, framing is not.
    assert!((proxy.metric("istio_request_bytes_sum", &destination) - 3.0).abs() < 0.1);
    assert!((proxy.metric("istio_response_bytes_sum", &destination) - 5.0).abs() < 0.1);
    assert!((proxy.metric("minimesh_active_connections", &[]) - 2.0).abs() < 0.1);
    drop(client);
    upstream.expect_nothing();
    eventually("the end is noticed", || {
        proxy.plane.active_connections() == 1
    });
}

#[test]
fn the_host_header_of_a_client_is_no_label() {
    let (proxy, server) = pair();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: invented.example\r\n\r\n");
    let mut upstream = server.accept();
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
    client.expect("HTTP/1.1 204 No Content\r\n\r\n");
    eventually("it is counted", || {
        proxy.metric("istio_requests_total", &[]) > 0.0
    });
    assert!(!proxy.metrics().contains("invented"));
}

//! The servers: HTTP with WebSocket on one port, plain TCP on another; all of them send back what they get.
//!
//! Every request and every TCP connection is a line on standard output, which is how a test proves that none has arrived.
//! A connection is a task of a set that is reaped while accepting, so nothing piles up.

use std::{
    convert::Infallible,
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

/// Flags of `test-server serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port of HTTP and WebSocket; 0 lets the kernel choose.
    #[arg(long, env = "TEST_HTTP", default_value_t = 8080, value_name = "PORT")]
    http: u16,
    /// Port of TCP echo; 0 lets the kernel choose.
    #[arg(long, env = "TEST_TCP", default_value_t = 9000, value_name = "PORT")]
    tcp: u16,
}

type Body = Either<Full<Bytes>, Incoming>;

/// Serves until the future is dropped.
///
/// # Errors
/// A port cannot be opened.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let http = listen(args.http).await?;
    let tcp = listen(args.tcp).await?;
    let (http_port, tcp_port) = (http.local_addr()?.port(), tcp.local_addr()?.port());
    say(format_args!(
        "serving HTTP on port {http_port} and TCP on port {tcp_port}"
    ));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = accept(&http) => {
                connections.spawn(serve_http(stream));
            }
            (stream, peer) = accept(&tcp) => {
                say(format_args!("TCP from {peer}"));
                connections.spawn(echo_tcp(stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A line of the log.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // Nobody reading it is no reason to stop serving.
    let _ = writeln!(io::stdout(), "{line}");
}

pub(crate) async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    // The unspecified IPv6 address takes IPv4 as well; a kernel without IPv6 has only the other.
    match TcpListener::bind(("::", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port))
            .await
            .with_context(|| format!("cannot listen on port {port}")),
    }
}

/// The next connection. Dropping the future loses none.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Out of descriptors, most likely: until one is free, asking again at once would only burn time.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn echo_tcp(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    // The peer may leave at any time.
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// A WebSocket in the making: hyper hands the connection over when the answer is out.
type Upgrade = Arc<Mutex<Option<OnUpgrade>>>;

async fn serve_http(stream: TcpStream) {
    let upgrade = Upgrade::default();
    let service = service_fn(|request| answer(request, Arc::clone(&upgrade)));
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        eprintln!("connection: {error}");
    }
    let upgraded = upgrade.lock().ok().and_then(|mut place| place.take());
    if let Some(upgraded) = upgraded {
        echo_messages(upgraded).await;
    }
}

async fn answer(
    mut request: Request<Incoming>,
    upgrade: Upgrade,
) -> Result<Response<Body>, Infallible> {
    say(format_args!("{} {}", request.method(), request.uri()));
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    if let Some(accept) = key.map(|key| derive_accept_key(key.as_bytes())) {
        if let Ok(mut place) = upgrade.lock() {
            *place = Some(hyper::upgrade::on(&mut request));
        }
        return Ok(switch_protocols(&accept));
    }
    Ok(match (request.method(), request.uri().path()) {
        (_, "/headers") => describe(&request),
        (&Method::POST | &Method::PUT, "/echo") => {
            Response::new(Either::Right(request.into_body()))
        }
        _ => Response::new(Either::Left(Full::from("test-server\n"))),
    })
}

/// The request's head as JSON, with headers in the answer whose order and number can be checked.
fn describe(request: &Request<Incoming>) -> Response<Body> {
    let description = serde_json::json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": pairs(request.headers()),
    });
    let mut response = Response::new(Either::Left(Full::from(description.to_string())));
    for value in ["one", "two"] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().append("x-answer", value);
    }
    response
}

fn pairs(headers: &HeaderMap) -> Vec<(&str, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str(), value)
        })
        .collect()
}

fn switch_protocols(accept: &str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // The key is base64 and so a header's value.
    headers.extend(
        accept
            .parse()
            .ok()
            .map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)),
    );
    response
}

/// Sends every message back until the client closes.
async fn echo_messages(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        let is_content = message.is_text() || message.is_binary();
        if is_content && socket.send(message).await.is_err() {
            return;
        }
    }
}

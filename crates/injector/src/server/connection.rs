//! One connection, from the handshake to its end.
//!
//! The accept loop spawns [`serve`] for each. Time without a request is bounded in every state (handshake, before the first request,
//! between requests, while draining), for HTTP/1.1 and HTTP/2 alike, because it is measured here and not in the protocol.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use runtime::task::Group;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{self, Instant},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use tracing::debug;

use super::{
    Limits, Peer, Versions, occupied,
    seats::{Activity, Seat},
};

/// What one HTTP/1.1 request head may have.
const HEAD_BYTES: usize = 64 << 10;
/// What the fields of one HTTP/2 request may have; a projected token has one or two thousand.
const FIELDS_BYTES: u32 = 32 << 10;
/// How long a silent HTTP/2 peer is left alone before it is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What all connections of a listener share.
pub(super) struct Context {
    pub(super) router: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    /// Where the requests of HTTP/2 connections run.
    pub(super) streams: Group,
    /// The program drains: answers ask the client to come back on another connection.
    pub(super) draining: CancellationToken,
    /// The listener closes: idle connections end.
    pub(super) closing: CancellationToken,
}

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone)]
struct Streams(Group);

/// Serves one connection until either side ends it or it has been idle for too long.
pub(super) async fn serve(stream: TcpStream, peer: Peer, context: Arc<Context>, seat: Seat) {
    // Answers are written whole, so there is nothing for Nagle's algorithm to gather.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "connection lost");
        return;
    }
    let versions = context.limits.versions;
    let Some(acceptor) = &context.tls else {
        let protocol = match versions {
            Versions::Both => Protocol::Http1,
            Versions::Http2 => Protocol::Http2,
        };
        return http(stream, protocol, peer, &context, seat).await;
    };
    let handshake = time::timeout(context.limits.handshake, acceptor.accept(stream));
    let stream = tokio::select! {
        result = handshake => match result {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
            Err(_) => return debug!("TLS handshake took too long"),
        },
        () = seat.asked_to_leave() => return,
    };
    let protocol = match (stream.get_ref().1.alpn_protocol(), versions) {
        (Some(b"h2"), _) | (_, Versions::Http2) => Protocol::Http2,
        _ => Protocol::Http1,
    };
    http(stream, protocol, peer, &context, seat).await;
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    protocol: Protocol,
    peer: Peer,
    context: &Arc<Context>,
    seat: Seat,
) {
    let seat = Arc::new(seat);
    let service = service_fn({
        let (context, seat) = (Arc::clone(context), Arc::clone(&seat));
        move |request| answer(request, peer, Arc::clone(&context), Arc::clone(&seat))
    });
    let builder = builder(protocol, context);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ending = None;
    loop {
        let limits = &context.limits;
        let deadline = idle_until(seat.activity(), limits, ending)
            .unwrap_or_else(|| Instant::now() + limits.linger);
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
            () = seat.asked_to_leave() => return,
            () = context.draining.cancelled(), if ending.is_none() && protocol == Protocol::Http2 => {
                // HTTP/2 says which requests it still takes, so nothing is lost by saying it early.
                connection.as_mut().graceful_shutdown();
                ending = Some(Instant::now());
            }
            () = context.closing.cancelled(), if ending.is_none() => {
                // HTTP/1.1 has no such word: a connection on which the first request is on its way gets time to bring it.
                if seat.activity().is_some_and(|activity| activity.used) {
                    connection.as_mut().graceful_shutdown();
                }
                ending = Some(Instant::now());
            }
            () = time::sleep_until(deadline) => {
                // There may have been requests since the deadline was set.
                let now = Instant::now();
                if idle_until(seat.activity(), limits, ending).is_none_or(|end| end > now) {
                    continue;
                }
                if ending.is_some() || protocol == Protocol::Http1 {
                    return;
                }
                // A request may be on its way: HTTP/2 tells the client that it was not taken.
                connection.as_mut().graceful_shutdown();
                ending = Some(now);
            }
        }
    }
}

async fn answer(
    mut request: Request<Incoming>,
    peer: Peer,
    context: Arc<Context>,
    seat: Arc<Seat>,
) -> Result<Response<Body>, Infallible> {
    let running = seat.run();
    let version = request.version();
    request.extensions_mut().insert(peer);
    let response = context.router.clone().call(request).await?;
    let mut response = occupied::until_sent(response, running);
    if version < Version::HTTP_2 && context.draining.is_cancelled() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn builder(protocol: Protocol, context: &Context) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams(context.streams.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(context.limits.idle)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(context.limits.streams)
        .max_header_list_size(FIELDS_BYTES)
        .initial_stream_window_size(context.limits.window)
        .initial_connection_window_size(4 * context.limits.window);
    match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    }
}

/// Until when the connection may go on without a request; nothing while it has one.
fn idle_until(
    activity: Option<Activity>,
    limits: &Limits,
    ending: Option<Instant>,
) -> Option<Instant> {
    let activity = activity.filter(|activity| activity.n_running == 0)?;
    Some(match ending {
        Some(ending) => activity.since.max(ending) + limits.linger,
        None if activity.used => activity.since + limits.idle,
        None => activity.since + limits.first_request,
    })
}

// === impl Streams ===

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        self.0.spawn("request", future);
    }
}

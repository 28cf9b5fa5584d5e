//! One connection, from the handshake to its end.
//!
//! The accept loop spawns [`serve`] for each. Time without a request is bounded in every state (handshake, before the first request,
//! between requests, while draining), for HTTP/1.1 and HTTP/2 alike, because it is measured here and not in the protocol.
//!
//! There can be thousands that live for as long as a pod, so what only a handshake or the making of an answer needs is on the heap and given
//! back: a future is as large as all that it ever holds.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
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
    Limits, Peer, Retirement, Versions, occupied,
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

/// A connection of either version.
type Driven = Pin<Box<dyn Connection>>;

trait Connection: Future<Output = hyper::Result<()>> + Send {
    fn shut_down(self: Pin<&mut Self>);
}

impl<C: GracefulConnection<Error = hyper::Error> + Send> Connection for C {
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What drives a connection beside its requests.
struct Driver {
    connection: Driven,
    protocol: Protocol,
    seat: Arc<Seat>,
    retirement: Retirement,
}

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
        return Driver::new(stream, protocol, peer, &context, seat)
            .run(&context)
            .await;
    };
    let handshake = Box::pin(acceptor.accept(stream));
    let driver = tokio::select! {
        result = time::timeout(context.limits.handshake, handshake) => match result {
            Ok(Ok(stream)) => {
                let protocol = match (stream.get_ref().1.alpn_protocol(), versions) {
                    (Some(b"h2"), _) | (_, Versions::Http2) => Protocol::Http2,
                    _ => Protocol::Http1,
                };
                Driver::new(stream, protocol, peer, &context, seat)
            }
            Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
            Err(_) => return debug!("TLS handshake took too long"),
        },
        () = seat.asked_to_leave() => return,
    };
    driver.run(&context).await;
}

// === impl Driver ===

impl Driver {
    fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        protocol: Protocol,
        peer: Peer,
        context: &Arc<Context>,
        seat: Seat,
    ) -> Self {
        let (seat, retirement) = (Arc::new(seat), Retirement::default());
        let service = service_fn({
            let (context, seat) = (Arc::clone(context), Arc::clone(&seat));
            let retirement = retirement.clone();
            move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(retirement.clone());
                Box::pin(answer(request, Arc::clone(&context), Arc::clone(&seat)))
            }
        });
        let stream = TokioIo::new(stream);
        Self {
            connection: match protocol {
                Protocol::Http1 => Box::pin(http1(context).serve_connection(stream, service)),
                Protocol::Http2 => Box::pin(http2(context).serve_connection(stream, service)),
            },
            protocol,
            seat,
            retirement,
        }
    }

    async fn run(mut self, context: &Context) {
        let mut ending = None;
        loop {
            let limits = &context.limits;
            let deadline = idle_until(self.seat.activity(), limits, ending)
                .unwrap_or_else(|| Instant::now() + limits.linger);
            let is_http2 = self.protocol == Protocol::Http2;
            tokio::select! {
                result = self.connection.as_mut() => {
                    if let Err(error) = result {
                        debug!(%error, "connection ended with an error");
                    }
                    return;
                }
                () = self.seat.asked_to_leave() => return,
                () = self.retirement.begun(), if ending.is_none() && is_http2 => {
                    ending = Some(self.shut_down());
                }
                () = context.draining.cancelled(), if ending.is_none() && is_http2 => {
                    // HTTP/2 says which requests it still takes, so nothing is lost by saying it early.
                    ending = Some(self.shut_down());
                }
                () = context.closing.cancelled(), if ending.is_none() => {
                    // HTTP/1.1 has no such word: a connection on which the first request is on its way gets time to bring it.
                    if self.seat.activity().is_some_and(|activity| activity.used) {
                        self.shut_down();
                    }
                    ending = Some(Instant::now());
                }
                () = time::sleep_until(deadline) => {
                    // There may have been requests since the deadline was set.
                    let now = Instant::now();
                    if idle_until(self.seat.activity(), limits, ending).is_none_or(|end| end > now) {
                        continue;
                    }
                    if ending.is_some() || !is_http2 {
                        return;
                    }
                    // A request may be on its way: HTTP/2 tells the client that it was not taken.
                    ending = Some(self.shut_down());
                }
            }
        }
    }

    /// Takes no further requests, and ends once those that are under way have ended; gives the moment.
    fn shut_down(&mut self) -> Instant {
        self.connection.as_mut().shut_down();
        Instant::now()
    }
}

async fn answer(
    request: Request<Incoming>,
    context: Arc<Context>,
    seat: Arc<Seat>,
) -> Result<Response<Body>, Infallible> {
    let running = seat.run();
    let version = request.version();
    let response = context.router.clone().call(request).await?;
    let mut response = occupied::until_sent(response, running);
    if version < Version::HTTP_2 && context.draining.is_cancelled() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn http1(context: &Context) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(context.limits.idle)
        .max_buf_size(HEAD_BYTES);
    builder
}

fn http2(context: &Context) -> http2::Builder<Streams> {
    let limits = &context.limits;
    let mut builder = http2::Builder::new(Streams(context.streams.clone()));
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(FIELDS_BYTES)
        .initial_stream_window_size(limits.window)
        .initial_connection_window_size(4 * limits.window);
    builder
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
        // A group's task is twice as large as what it is made of.
        self.0.spawn("request", Box::pin(future));
    }
}

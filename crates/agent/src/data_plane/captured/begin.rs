//! From a connection's first bytes to whoever carries it.
//!
//! [`serve`] finds out what the client speaks, from what the mesh says of the port or else from its first bytes, and hands over to
//! [`http1`] or [`tcp`]. A client that says nothing may be waiting for its server; then the upstream is dialled, and whoever speaks
//! first decides.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::timeout;

use super::{Connection, Decision, Dialled, Use};
use crate::data_plane::{
    detect::{Detection, detect},
    error::Failure,
    http1,
    net::{Buffers, Size, Stream},
    tcp,
    telemetry::Side,
    worker::Phase,
};
use crate::{
    mesh::{MtlsMode, Protocol},
    tls::hello::{self, Detected},
};

/// What a client turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    /// Anything else, or the upstream spoke first.
    Opaque,
    /// Nothing within the time.
    Silence,
}

/// How a connection begins.
enum Beginning {
    /// With these bytes, or none yet.
    Bytes(Stream, Vec<u8>),
    /// With a silence that was long enough to know that it is not the client's turn.
    Silence(Stream),
}

/// Serves a connection whose original destination is known and not the proxy itself.
pub(crate) async fn serve(connection: &Connection, stream: Stream) {
    if let Some(demand) = connection.unsettled() {
        // On the heap, as only the first connection to an address needs its room.
        let settled = Box::pin(demand.settle(connection.destination().ip())).await;
        if settled.is_err() {
            tracing::warn!(
                destination = %connection.destination(), refused = !demand.allows_unanswered(),
                "the control plane does not say who is there"
            );
        }
    }
    let beginning = match connection.mtls() {
        MtlsMode::Disable => Ok(Beginning::Bytes(stream, Vec::new())),
        // On the heap, as only some connections need its room.
        mode => Box::pin(secure(connection, stream, mode)).await,
    };
    match beginning {
        Ok(Beginning::Bytes(stream, first)) => serve_bytes(connection, stream, first).await,
        Ok(Beginning::Silence(stream)) => {
            Box::pin(serve_silent(connection, stream, Vec::new())).await;
        }
        Err(failure) => {
            tracing::debug!(peer = %connection.peer(), destination = %connection.destination(), %failure, "refused");
            tcp::refuse(connection, &failure);
        }
    }
}

/// Takes part in the handshake of a client that begins one with us. Whatever else a client says is left as it is, if `mode` lets it.
async fn secure(
    connection: &Connection,
    mut stream: Stream,
    mode: MtlsMode,
) -> Result<Beginning, Failure> {
    let worker = connection.worker();
    let is_strict = mode == MtlsMode::Strict;
    let Some(credentials) = worker.credentials() else {
        if is_strict {
            stream.reset_on_close();
            return Err(Failure::NoCertificate);
        }
        return Ok(Beginning::Bytes(stream, Vec::new()));
    };
    let limit = if is_strict {
        worker.config.head_timeout
    } else {
        connection.detect_timeout()
    };
    let mut first = Vec::new();
    let hello = timeout(limit, read_hello(&mut stream, &mut first, &worker.buffers)).await;
    let is_ours = matches!(&hello, Ok(Detected::Tls(hello)) if hello.is_mesh || is_strict);
    let is_silent = hello.is_err() && first.is_empty();
    if let Ok(Detected::Tls(hello)) = hello {
        connection.note_server_name(hello.sni);
    }
    if is_ours {
        let handshake = stream.accept_tls(&credentials, first);
        let ended = timeout(worker.config.head_timeout, handshake).await;
        connection.count_handshake(Side::Server, &ended);
        let secured = match ended {
            Ok(secured) => secured.map_err(Failure::ClientTls)?,
            Err(_elapsed) => return Err(Failure::HeadTimeout),
        };
        if let Some(peer) = secured.peer() {
            connection.prove(peer, &credentials);
        }
        return Ok(Beginning::Bytes(secured, Vec::new()));
    }
    if is_strict {
        stream.reset_on_close();
        return Err(Failure::PlaintextRefused);
    }
    Ok(if is_silent {
        Beginning::Silence(stream)
    } else {
        Beginning::Bytes(stream, first)
    })
}

/// Reads until it is clear whether the client begins with a hello.
async fn read_hello(stream: &mut Stream, first: &mut Vec<u8>, buffers: &Buffers) -> Detected {
    poll_fn(|cx| {
        loop {
            match hello::read(first) {
                Detected::NeedMore => {}
                detected => return Poll::Ready(detected),
            }
            if !first.is_empty() && first.len() == first.capacity() {
                *first = buffers.grown(std::mem::take(first));
            }
            match ready!(poll_bytes(cx, stream, first, buffers)) {
                Ok(n) if n > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(Detected::NotTls),
            }
        }
    })
    .await
}

/// Serves a connection that begins with the bytes of `first`, if any.
async fn serve_bytes(connection: &Connection, mut stream: Stream, mut first: Vec<u8>) {
    let worker = connection.worker();
    let is_known_to_wait = first.is_empty() && worker.server_first.knows(connection.destination());
    let spoken = match connection.protocol() {
        // HTTP/2 is carried as it is, the mesh's and everybody else's.
        Protocol::Tcp | Protocol::Udp | Protocol::Http2 | Protocol::Grpc => Spoken::Opaque,
        Protocol::Http => {
            let limit = worker.config.idle_timeout;
            match listen(connection, &mut stream, &mut first, limit).await {
                Spoken::Opaque if is_carried_as_it_is(&first) => Spoken::Opaque,
                Spoken::Http1 | Spoken::Opaque => Spoken::Http1,
                Spoken::Silence => return,
            }
        }
        Protocol::Auto if is_known_to_wait => Spoken::Silence,
        Protocol::Auto => {
            let limit = connection.detect_timeout();
            listen(connection, &mut stream, &mut first, limit).await
        }
    };
    match spoken {
        Spoken::Http1 => http1::serve(connection, stream, first, None).await,
        Spoken::Opaque => Box::pin(tcp::serve(connection, stream, first, None)).await,
        Spoken::Silence => Box::pin(serve_silent(connection, stream, first)).await,
    }
}

/// Serves a client that has said nothing yet: whoever speaks first decides.
async fn serve_silent(connection: &Connection, mut stream: Stream, mut first: Vec<u8>) {
    let Decision::Forward(mut target) = connection.route_tcp() else {
        return tcp::serve(connection, stream, first, None).await;
    };
    let mut upstream = match connection.upstream(&mut target, Use::Opaque).await {
        Ok(upstream) => upstream,
        Err(failure) => {
            let dialled = Some((target, Err(failure)));
            return tcp::serve(connection, stream, first, dialled).await;
        }
    };
    let (worker, destination) = (connection.worker(), connection.destination());
    connection.slot().expire_after(worker.timeouts.tcp_idle);
    let mut early = Vec::new();
    let client_spoke = poll_fn(|cx| {
        if poll_bytes(cx, &mut stream, &mut first, &worker.buffers).is_ready() {
            Poll::Ready(true)
        } else if poll_bytes(cx, &mut upstream.stream, &mut early, &worker.buffers).is_ready() {
            Poll::Ready(false)
        } else {
            connection.slot().poll_expired(cx).map(|()| false)
        }
    })
    .await;
    if client_spoke {
        let limit = connection.detect_timeout();
        if listen(connection, &mut stream, &mut first, limit).await == Spoken::Http1 {
            worker.server_first.forget(destination);
            return http1::serve(connection, stream, first, Some(upstream)).await;
        }
    } else if !early.is_empty() {
        worker.server_first.note(destination);
    }
    let dialled = Ok(Dialled { upstream, early });
    tcp::serve(connection, stream, first, Some((target, dialled))).await;
}

/// Whether bytes to an HTTP port are nevertheless not for the parser of HTTP/1: the beginnings of HTTP/2 and of TLS.
fn is_carried_as_it_is(first: &[u8]) -> bool {
    first.starts_with(b"PRI * HTTP/2.0") || first.first() == Some(&22)
}

/// Reads until the protocol is clear or `limit` is over; `first` may hold bytes already.
async fn listen(
    connection: &Connection,
    stream: &mut Stream,
    first: &mut Vec<u8>,
    limit: Duration,
) -> Spoken {
    let buffers = &connection.worker().buffers;
    let listening = poll_fn(|cx| {
        loop {
            match detect(first) {
                Detection::Http1 => return Poll::Ready(Spoken::Http1),
                Detection::Opaque => return Poll::Ready(Spoken::Opaque),
                Detection::NeedMore => {}
            }
            // Only to be woken when the proxy stops.
            let _ = connection.slot().poll_expired(cx);
            if first.is_empty() && connection.worker().phase() == Phase::Stopping {
                return Poll::Ready(Spoken::Silence);
            }
            match ready!(poll_bytes(cx, stream, first, buffers)) {
                Ok(n) if n > 0 => {}
                // The end, or a request line that fills the buffer: the HTTP parser has the better answer to the latter.
                Ok(_) | Err(_) if !first.is_empty() && first.len() == first.capacity() => {
                    return Poll::Ready(Spoken::Http1);
                }
                Ok(_) | Err(_) => return Poll::Ready(Spoken::Opaque),
            }
        }
    });
    match timeout(limit, listening).await {
        Ok(spoken) => spoken,
        Err(_elapsed) if first.is_empty() => Spoken::Silence,
        Err(_elapsed) => Spoken::Opaque,
    }
}

/// Reads what has come; holds no buffer while there is nothing.
fn poll_bytes(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    buffers: &Buffers,
) -> Poll<io::Result<usize>> {
    ready!(stream.poll_readable(cx))?;
    if bytes.capacity() == 0 {
        *bytes = buffers.take(Size::Small);
    }
    let read = stream.poll_read(cx, bytes);
    if bytes.is_empty() {
        buffers.give(std::mem::take(bytes));
    }
    read
}

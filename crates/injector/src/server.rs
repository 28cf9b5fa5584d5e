//! A listener that many clients can use and none can hold up.
//!
//! `app` binds one per address and runs it; the routers of the webhook and of monitoring are served over it, with or without TLS.
//! The number of connections is bounded: when all seats are taken, whoever has been idle longest makes room, so clients that say
//! nothing cannot keep the API server out. A drain loses no request: new ones are taken until the listener closes, and answers
//! tell the client to come back on another connection.

mod connection;
mod occupied;
mod seats;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use runtime::{lifecycle::Lifecycle, task::Group};
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use connection::Context;
use seats::Seats;

/// A bound address, before anything is accepted. It may be served by another runtime than the one that bound it.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// Who sent a request: an extension of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A way to end a connection without cutting anything off: an extension of each request that comes by it.
#[derive(Clone, Debug, Default)]
pub struct Retirement(CancellationToken);

/// What clients may do. The defaults suit an admission webhook, [`Limits::grpc`] suits sidecars.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. An API server needs one or a handful; an idle one costs some 30 kB.
    pub connections: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from the handshake to the first whole request head.
    pub first_request: Duration,
    /// Time between requests, head included. Longer than the API server's 90 s, so that it is the API server that closes.
    pub idle: Duration,
    /// Time that a connection without a request gets while the listener drains.
    pub linger: Duration,
    /// HTTP/2 requests at once on a connection.
    pub streams: u32,
    /// What one HTTP/2 request may send ahead of being read, in bytes, and all of a connection together four times as much.
    pub window: u32,
    /// Which versions of HTTP are spoken.
    pub versions: Versions,
}

/// Which versions of HTTP a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/2 where TLS agreed on it, else HTTP/1.1.
    Both,
    /// HTTP/2 only, also without TLS: gRPC knows no other.
    Http2,
}

/// How a listener ends.
#[derive(Clone, Debug)]
pub struct Drain {
    /// The life of the program.
    pub life: Lifecycle,
    /// How long connections are still accepted after draining has begun, until the cluster has taken note.
    pub delay: Duration,
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("the {name} cannot listen on {address} ({flag})")]
pub struct BindError {
    name: &'static str,
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

// === impl Listener ===

impl Listener {
    /// Binds `address`, which `flag` gave; `name` says what for, `webhook`.
    ///
    /// # Errors
    /// When the address is busy, not of this machine, or not allowed.
    pub async fn bind(
        name: &'static str,
        flag: &'static str,
        address: SocketAddr,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError {
            name,
            flag,
            address,
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = listener.into_std().map_err(failed)?;
        info!(name, %address, "listening");
        Ok(Self {
            name,
            listener,
            address,
        })
    }

    /// The bound address, with the port that was chosen for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until the program drains and every connection has ended, or the program stops.
    ///
    /// # Errors
    /// When the kernel does not let this runtime wait for the socket.
    pub async fn serve(
        self,
        router: Router,
        tls: Option<TlsAcceptor>,
        limits: Limits,
        drain: Drain,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let connections = Group::new();
        let context = Arc::new(Context {
            router,
            tls,
            limits,
            streams: connections.clone(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        });
        let seats = Seats::new(limits.connections);
        tokio::select! {
            () = accept(self.name, &listener, &connections, &context, &seats) => {}
            () = phases(&drain, &context) => {}
        }
        // What the kernel has accepted already would be reset with the listener.
        while let Ok(Ok((stream, peer))) = time::timeout(Duration::ZERO, listener.accept()).await {
            seat(stream, Peer(peer), &connections, &context, &seats);
        }
        drop(listener);
        tokio::select! {
            ended = connections.join(Duration::MAX) => drop(ended),
            () = drain.life.stopping() => {
                let running = connections.running();
                if !running.is_empty() {
                    warn!(name = self.name, %running, "connections are cut off");
                }
            }
        }
        Ok(())
    }
}

/// Accepts for ever.
async fn accept(
    name: &'static str,
    listener: &TcpListener,
    connections: &Group,
    context: &Arc<Context>,
    seats: &Seats,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => seat(stream, Peer(peer), connections, context, seats),
            // The client's doing, and over.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of descriptors or memory: waiting is all there is, connections that end give some back.
                warn!(name, %error, "cannot accept connections, trying again");
                time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Tells connections that the program drains, and returns when the listener is to close.
async fn phases(drain: &Drain, context: &Context) {
    drain.life.draining().await;
    context.draining.cancel();
    tokio::select! {
        () = time::sleep(drain.delay) => {}
        () = drain.life.stopping() => {}
    }
    context.closing.cancel();
}

fn seat(stream: TcpStream, peer: Peer, connections: &Group, context: &Arc<Context>, seats: &Seats) {
    let Some(seat) = seats.take() else {
        warn!("every connection is busy, a new one is turned away");
        return;
    };
    let context = Arc::clone(context);
    connections.spawn("connection", connection::serve(stream, peer, context, seat));
}

// === impl Retirement ===

impl Retirement {
    /// Has the client open another connection for further requests (HTTP/2's GOAWAY); this one ends with the last of those that are under way. HTTP/1.1
    /// connections go on.
    pub fn begin(&self) {
        self.0.cancel();
    }

    async fn begun(&self) {
        self.0.cancelled().await;
    }
}

// === impl Limits ===

impl Limits {
    /// For sidecars: thousands of connections with a stream or two that live for as long as the pod.
    ///
    /// What waits unread is bounded more tightly than a webhook's, because there are so many.
    #[must_use]
    pub fn grpc() -> Self {
        Self {
            connections: 16_384,
            idle: Duration::from_secs(300),
            streams: 16,
            window: 64 << 10,
            versions: Versions::Http2,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            linger: Duration::from_secs(1),
            streams: 100,
            window: 256 << 10,
            versions: Versions::Both,
        }
    }
}

#[cfg(test)]
mod tests;

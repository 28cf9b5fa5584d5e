//! A small HTTP/1 server for pages that are made at once.
//!
//! `app` binds with [`bind`] before anything is announced and serves with [`serve`] on the housekeeping thread. A peer can hold a
//! bounded number of connections for a bounded time, and outsiders cannot use up the share of the pod itself, through which the
//! readiness check arrives.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::task::Group;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::body::Body;
use crate::data_plane::net::listen::{Reach, listen};

/// Makes the answers of a server.
pub trait Handler: Send + Sync + 'static {
    /// The answer to one request from `peer`; bodies of requests are not read. Dropped when the peer goes away.
    fn handle<B: Send + Sync>(
        &self,
        peer: IpAddr,
        request: Request<B>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Connections that may be open at a time.
struct Budget {
    own_pod: Arc<Semaphore>,
    outside: Arc<Semaphore>,
}

/// The kubelet asks a pod some times a second at most, so do scrapers.
const OUTSIDE_CONNECTIONS: usize = 128;
const OWN_POD_CONNECTIONS: usize = 64;
/// From the first byte of a request to the end of its head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The kernel gives up a peer that does not take what was sent for so long.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Far longer than any lifecycle handler; it only bounds what nothing else does.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(3600);
/// How long a connection may finish its answer when the program ends.
const FINISH: Duration = Duration::from_secs(1);
/// Of a request's head; the kubelet's are below one KiB.
const HEAD_LIMIT: usize = 32 * 1024;
/// Pause after the kernel refused to accept, because it refuses again until a descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `port` of all addresses, of IPv4 only where there is no IPv6; port 0 lets the kernel choose.
///
/// # Errors
/// What the kernel says, with the address that was tried.
pub fn bind(port: u16) -> Result<StdListener, (SocketAddr, io::Error)> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let mut listeners = listen(address, Reach::OwnAddresses, NonZeroUsize::MIN)
        .map_err(|error| (address, error))?;
    let none = || (address, io::ErrorKind::AddrNotAvailable.into());
    listeners.pop().ok_or_else(none)
}

/// Listens on `port` of the loopback addresses only, of IPv4's alone where there is no IPv6; port 0 lets the kernel choose.
///
/// # Errors
/// What the kernel says, with the address that was tried.
pub fn bind_loopback(port: u16) -> Result<Vec<StdListener>, (SocketAddr, io::Error)> {
    let bind = |address: IpAddr, port| {
        let address = SocketAddr::from((address, port));
        listen(address, Reach::OwnAddresses, NonZeroUsize::MIN).map_err(|error| (address, error))
    };
    let mut listeners = bind(Ipv4Addr::LOCALHOST.into(), port)?;
    let chosen = listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
        .map_or(port, |address| address.port());
    match bind(Ipv6Addr::LOCALHOST.into(), chosen) {
        Ok(more) => listeners.extend(more),
        Err((address, error)) if port != 0 && error.kind() == io::ErrorKind::AddrInUse => {
            return Err((address, error));
        }
        Err(_) => {}
    }
    Ok(listeners)
}

/// Answers on `listener` until `group` is cancelled; connections are tasks of `group`.
///
/// # Errors
/// When the listener cannot be watched.
pub async fn serve<H: Handler>(
    listener: StdListener,
    handler: Arc<H>,
    group: Group,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let budget = Budget {
        own_pod: Arc::new(Semaphore::new(OWN_POD_CONNECTIONS)),
        outside: Arc::new(Semaphore::new(OUTSIDE_CONNECTIONS)),
    };
    let mut refusing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = group.cancelled() => return Ok(()),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !refusing {
                    warn!(%error, "cannot accept connections for now");
                }
                refusing = true;
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        refusing = false;
        let peer = peer.ip().to_canonical();
        let Some(permit) = budget.enter(peer) else {
            debug!(src.addr = %peer, "too many connections, this one is closed");
            continue;
        };
        let handler = Arc::clone(&handler);
        let connection = connection(stream, peer, handler, group.clone(), permit);
        group.spawn("status connection", connection);
    }
}

// === impl Budget ===

impl Budget {
    fn enter(&self, peer: IpAddr) -> Option<OwnedSemaphorePermit> {
        let share = if super::is_own_pod(peer) {
            &self.own_pod
        } else {
            &self.outside
        };
        Arc::clone(share).try_acquire_owned().ok()
    }
}

async fn connection<H: Handler>(
    stream: TcpStream,
    peer: IpAddr,
    handler: Arc<H>,
    group: Group,
    _permit: OwnedSemaphorePermit,
) {
    // Neither option is worth losing the connection for.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(SEND_TIMEOUT));
    let service = service_fn(|request: Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, std::convert::Infallible>(handler.handle(peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = timeout(CONNECTION_LIFETIME, connection.as_mut()) => ended,
        () = group.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(FINISH, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(src.addr = %peer, %error, "connection broke"),
        Err(_) => debug!(src.addr = %peer, "connection took too long"),
    }
}

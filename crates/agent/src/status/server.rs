//! A small HTTP/1 server for pages that are made at once.
//!
//! `app` binds with [`bind`] before anything is announced and serves with [`serve`] on the housekeeping thread. A peer can hold a
//! bounded number of connections for a bounded time, and outsiders cannot use up the share of the pod itself, through which the
//! readiness check arrives.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::task::Group;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// Makes the answers of a server.
pub trait Handler: Send + Sync + 'static {
    /// The answer to one request from `peer`; bodies of requests are not read. Dropped when the peer goes away.
    fn handle<B: Send + Sync>(
        &self,
        peer: IpAddr,
        request: Request<B>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
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
const BACKLOG: i32 = 128;
/// `EAFNOSUPPORT`: no IPv6 in this kernel; the standard library has no kind for it.
const NO_ADDRESS_FAMILY: i32 = 97;

/// Listens on `port` of all addresses, of IPv4 only where there is no IPv6; port 0 lets the kernel choose.
///
/// # Errors
/// What the kernel says, with the address that was tried.
pub fn bind(port: u16) -> Result<StdListener, (SocketAddr, io::Error)> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bind_to(both) {
        Ok(listener) => Ok(listener),
        Err(error)
            if error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(NO_ADDRESS_FAMILY) =>
        {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            bind_to(v4).map_err(|error| (v4, error))
        }
        Err(error) => Err((both, error)),
    }
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

fn bind_to(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of an ended process that linger do not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

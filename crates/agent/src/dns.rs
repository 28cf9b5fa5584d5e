//! Answers the application's questions about names, which the capture rules bring here.
//!
//! `app` binds before anything is announced and serves on the housekeeping thread; the servers are those of the pod's own resolv.conf, and what they
//! say goes back as it is. Questions under way are bounded in number and time; one that no server answers is answered with SERVFAIL, so that the
//! application fails now and not by its own timeout.

mod message;
mod resolv_conf;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

use crate::data_plane::net::listen::{Reach, listen};

pub use resolv_conf::{ReadError, read};

/// The listeners, and whom to ask.
#[derive(Debug)]
pub struct Proxy {
    udp: Vec<StdUdpSocket>,
    tcp: Vec<std::net::TcpListener>,
    upstream: Upstream,
}

/// What every question shares.
#[derive(Clone, Debug)]
struct Upstream {
    servers: Arc<[SocketAddr]>,
    counters: Counters,
}

#[derive(Clone, Debug, Default)]
struct Counters {
    questions: Counter,
    failures: Counter,
}

/// Questions by UDP that may be under way at a time, and connections.
const MAX_UNDER_WAY: usize = 256;
/// How long a server may take, as Istio (`DNS_FORWARD_TIMEOUT`) all of them together.
const SERVER_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long a connection may last; resolvers ask and hang up.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(30);
/// The longest message that UDP carries.
const LONGEST: usize = 65_535;
/// Pause after the kernel had no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(50);

// === impl Proxy ===

impl Proxy {
    /// Binds `port` at the loopback addresses, where the rules send what they capture; 0 lets the kernel choose, for each of them.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn bind(port: u16, servers: &[SocketAddr]) -> Result<Self, (SocketAddr, io::Error)> {
        let mut proxy = Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            upstream: Upstream {
                servers: servers.into(),
                counters: Counters::default(),
            },
        };
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let address = SocketAddr::new(ip, port);
            match Self::bind_both(address) {
                Ok((udp, tcp)) => {
                    proxy.udp.push(udp);
                    proxy.tcp.extend(tcp);
                }
                // There is no IPv6 here, so nothing is captured either.
                Err(_) if ip.is_ipv6() && StdUdpSocket::bind((ip, 0)).is_err() => {}
                Err(error) => return Err((address, error)),
            }
        }
        Ok(proxy)
    }

    fn bind_both(address: SocketAddr) -> io::Result<(StdUdpSocket, Vec<std::net::TcpListener>)> {
        let udp = StdUdpSocket::bind(address)?;
        udp.set_nonblocking(true)?;
        let tcp = listen(address, Reach::OwnAddresses, NonZeroUsize::MIN)?;
        Ok((udp, tcp))
    }

    /// Where questions by UDP arrive.
    #[must_use]
    pub fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.udp
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }

    /// Where questions by TCP arrive.
    #[must_use]
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.tcp
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Adds the counters to the sidecar's metrics.
    pub fn register(&self, registry: &mut Registry) {
        let counters = &self.upstream.counters;
        registry.register(
            "istio_agent_dns_requests",
            "Questions of the application about names",
            counters.questions.clone(),
        );
        registry.register(
            "istio_agent_dns_upstream_failures",
            "Questions that no server of resolv.conf has answered",
            counters.failures.clone(),
        );
    }

    /// Serves until it is dropped.
    ///
    /// # Errors
    /// When a listener is lost.
    pub async fn serve(self) -> io::Result<()> {
        let mut listeners = JoinSet::new();
        for socket in self.udp {
            let socket = UdpSocket::from_std(socket)?;
            listeners.spawn(serve_udp(Arc::new(socket), self.upstream.clone()));
        }
        for listener in self.tcp {
            let listener = TcpListener::from_std(listener)?;
            listeners.spawn(serve_tcp(listener, self.upstream.clone()));
        }
        match listeners.join_next().await {
            Some(Err(lost)) => Err(io::Error::other(lost)),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, upstream: Upstream) {
    let budget = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    let mut questions = JoinSet::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An earlier answer found its client gone, or the kernel is short of memory.
            Err(error) => {
                debug!(%error, "a question cannot be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while questions.try_join_next().is_some() {}
        let question = buffer.get(..length).unwrap_or_default();
        let Ok(permit) = Arc::clone(&budget).try_acquire_owned() else {
            continue;
        };
        if !message::is_question(question) {
            continue;
        }
        upstream.counters.questions.inc();
        let (question, socket, upstream) =
            (question.to_vec(), Arc::clone(&socket), upstream.clone());
        questions.spawn(async move {
            let answer = match upstream.ask(&question).await {
                Some(answer) => answer,
                None => message::server_failure(&question),
            };
            if let Err(error) = socket.send_to(&answer, client).await {
                debug!(%error, "an answer cannot be sent");
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, upstream: Upstream) {
    let budget = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let mut client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                debug!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&budget).try_acquire_owned() else {
            continue;
        };
        upstream.counters.questions.inc();
        let upstream = upstream.clone();
        connections.spawn(async move {
            if let Some(mut server) = upstream.connect().await {
                let copied = copy_bidirectional(&mut client, &mut server);
                // Either side may go away at any time.
                let _ = timeout(CONNECTION_LIFETIME, copied).await;
            }
            drop(permit);
        });
    }
}

// === impl Upstream ===

impl Upstream {
    /// What the first server says that answers at all.
    async fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        for server in self.servers.iter() {
            match timeout(SERVER_TIMEOUT, ask(*server, question)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => debug!(%server, %error, "a name server cannot be asked"),
                Err(_elapsed) => debug!(%server, "a name server does not answer"),
            }
        }
        self.fail();
        None
    }

    async fn connect(&self) -> Option<TcpStream> {
        for server in self.servers.iter() {
            match timeout(SERVER_TIMEOUT, TcpStream::connect(server)).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => debug!(%server, %error, "a name server cannot be reached"),
                Err(_elapsed) => debug!(%server, "a name server cannot be reached in time"),
            }
        }
        self.fail();
        None
    }

    fn fail(&self) {
        if self.counters.failures.inc() == 0 {
            warn!(servers = ?self.servers, "no name server answers; said once, see the metric istio_agent_dns_upstream_failures_total");
        }
    }
}

/// Asks by a socket of its own, whose port nobody can guess.
async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    loop {
        let mut answer = Vec::with_capacity(LONGEST);
        socket.recv_buf(&mut answer).await?;
        if message::answers(&answer, question) {
            answer.shrink_to_fit();
            return Ok(answer);
        }
    }
}

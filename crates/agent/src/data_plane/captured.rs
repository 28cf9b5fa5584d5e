//! A captured connection from its acceptance to its protocol.
//!
//! [`serve`] is where inbound and outbound meet after each has found the original destination: it finds out what the client speaks and
//! hands over to [`http1`] or [`tcp`]. A client that says nothing may be waiting for its server; then the upstream is dialled, and
//! whoever speaks first decides. [`Connection`] is what every layer below knows of the connection.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    access_log::Cluster,
    connections::Slot,
    detect::{Detection, detect},
    edits::{self, Edit},
    error::Failure,
    http1::{self, Request},
    inbound,
    net::{Buffers, OriginalDestination, Peer, Size, Stream, connect},
    outbound,
    pool::{self, Upstream},
    readiness, tcp,
    telemetry::{Reporter, Service},
    worker::{Phase, Worker},
};

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The workload's own calls.
    Outbound,
    /// Calls to the workload.
    Inbound,
    /// Probes of the kubelet.
    Readiness,
}

/// A client's connection and where it belongs.
#[derive(Debug)]
pub(crate) struct Connection {
    worker: Rc<Worker>,
    slot: Slot,
    role: Role,
    destination: OriginalDestination,
    peer: Peer,
}

/// What routing says about a request or a connection.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes there.
    Forward(Target),
    /// It goes nowhere; the service is the one that it is counted under.
    Refuse(Service, Failure),
}

/// Where a request or a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: pool::Key,
    pub(crate) service: Service,
}

/// What a client turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    /// Anything else, or the upstream spoke first.
    Opaque,
    /// Nothing within the time.
    Silence,
}

/// An upstream that was dialled before the protocol was known.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) upstream: Upstream,
    /// What it has said already.
    pub(crate) early: Vec<u8>,
}

// === impl Connection ===

impl Connection {
    /// A connection that was accepted.
    pub(crate) fn new(
        worker: Rc<Worker>,
        slot: Slot,
        role: Role,
        destination: OriginalDestination,
        peer: Peer,
    ) -> Self {
        Self {
            worker,
            slot,
            role,
            destination,
            peer,
        }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn destination(&self) -> SocketAddr {
        self.destination.0
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.0
    }

    /// Whether no request is read any more after the one at hand.
    ///
    /// A drain ends inbound connections only: the application's own calls must go on until it has ended, too.
    pub(crate) fn is_closing(&self) -> bool {
        match self.worker.phase() {
            Phase::Running => false,
            Phase::Draining => self.role == Role::Inbound,
            Phase::Stopping => true,
        }
    }

    /// Which side of the traffic metrics and log are told about; `None` for what is no traffic of the workload.
    pub(crate) fn reporter(&self) -> Option<Reporter> {
        match self.role {
            Role::Outbound => Some(Reporter::Source),
            Role::Inbound => Some(Reporter::Destination),
            Role::Readiness => None,
        }
    }

    /// Whether a line is written for it.
    pub(crate) fn logs(&self) -> bool {
        self.role != Role::Readiness && self.worker.has_log()
    }

    /// What the connection is counted under while nothing else is known.
    pub(crate) fn service(&self) -> Service {
        match self.role {
            Role::Outbound => Service::Passthrough,
            Role::Inbound | Role::Readiness => Service::InboundPassthrough,
        }
    }

    /// The upstream's name in the access log.
    pub(crate) fn cluster<'s>(&self, service: &'s Service) -> Cluster<'s> {
        let port = self.destination().port();
        match (self.role, service) {
            (Role::Outbound, Service::Known(names)) => Cluster::Outbound(port, &names.host),
            (Role::Outbound, _) => Cluster::Named(service.as_str()),
            (Role::Inbound | Role::Readiness, _) => Cluster::Inbound(port),
        }
    }

    /// The route's name in the access log, as Istio calls the ones that match everything.
    pub(crate) fn route_name(&self, service: &Service) -> &'static str {
        match (self.role, service) {
            (Role::Outbound, Service::BlackHole) => "block_all",
            (Role::Outbound, _) => "allow_any",
            (Role::Inbound | Role::Readiness, _) => "default",
        }
    }

    /// Where a request goes; `target` is its request target.
    pub(crate) fn route(&self, request: &Request, target: &[u8]) -> Decision {
        match self.role {
            Role::Readiness => readiness::route(self.destination, request, target),
            Role::Outbound | Role::Inbound => self.route_tcp(),
        }
    }

    /// Where an opaque connection goes.
    pub(crate) fn route_tcp(&self) -> Decision {
        match self.role {
            Role::Outbound => outbound::route(self.worker.snapshot(), self.destination),
            Role::Inbound | Role::Readiness => {
                let capture = self.worker.config.inbound_capture;
                inbound::route(self.destination, capture, self.peer)
            }
        }
    }

    /// What is changed in the head of a request on its way to `target`.
    pub(crate) fn request_edit(&self, _target: &Target) -> Edit<'_> {
        Edit {
            removed: edits::removed_from_request(self.role),
            added: &[],
        }
    }

    /// What is changed in the head of an answer.
    pub(crate) fn answer_edit(&self, _upstream: &Upstream) -> Edit<'_> {
        Edit {
            removed: edits::removed_from_answer(self.role, false),
            added: &[],
        }
    }

    /// A connection to `target`: an idle one if `pooled` and there is one, else a new one.
    pub(crate) async fn upstream(
        &self,
        target: &Target,
        pooled: bool,
    ) -> Result<Upstream, Failure> {
        let idle = if pooled {
            self.worker.pool.take(&target.key)
        } else {
            None
        };
        if let Some(upstream) = idle {
            return Ok(upstream);
        }
        let limit = self.worker.config.connect_timeout;
        let stream = connect(target.key.address, target.key.source, limit).await?;
        self.worker.telemetry.count_dialled();
        let local = self.logs().then(|| stream.local_address()).flatten();
        Ok(Upstream {
            stream,
            key: target.key,
            local,
            reused: false,
        })
    }
}

impl From<Upstream> for Dialled {
    fn from(upstream: Upstream) -> Self {
        Self {
            upstream,
            early: Vec::new(),
        }
    }
}

/// Serves a connection whose original destination is known and not the proxy itself.
pub(crate) async fn serve(connection: &Connection, mut stream: Stream) {
    let mut first = Vec::new();
    let worker = connection.worker();
    let spoken = if worker.server_first.knows(connection.destination()) {
        Spoken::Silence
    } else {
        let limit = worker.config.detect_timeout;
        listen(connection, &mut stream, &mut first, limit).await
    };
    match spoken {
        Spoken::Http1 => http1::serve(connection, stream, first, None).await,
        Spoken::Opaque => tcp::serve(connection, stream, first, None).await,
        Spoken::Silence => serve_silent(connection, stream, first).await,
    }
}

/// Serves a client that has said nothing yet: whoever speaks first decides.
async fn serve_silent(connection: &Connection, mut stream: Stream, mut first: Vec<u8>) {
    let target = match connection.route_tcp() {
        Decision::Forward(target) => target,
        Decision::Refuse(..) => return tcp::serve(connection, stream, first, None).await,
    };
    let mut upstream = match connection.upstream(&target, false).await {
        Ok(upstream) => upstream,
        Err(failure) => return tcp::serve(connection, stream, first, Some(Err(failure))).await,
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
        let limit = worker.config.detect_timeout;
        if listen(connection, &mut stream, &mut first, limit).await == Spoken::Http1 {
            worker.server_first.forget(destination);
            return http1::serve(connection, stream, first, Some(upstream)).await;
        }
    } else if !early.is_empty() {
        worker.server_first.note(destination);
    }
    let dialled = Dialled { upstream, early };
    tcp::serve(connection, stream, first, Some(Ok(dialled))).await;
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
    match tokio::time::timeout(limit, listening).await {
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

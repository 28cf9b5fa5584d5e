//! A captured connection: what every layer below knows of it.
//!
//! [`serve`] is where inbound and outbound meet after each has found the original destination. A [`Connection`] routes each of its
//! requests by the mesh of the moment, reaches upstreams, and knows how its traffic is counted, logged and changed.

mod begin;
mod dial;
mod logged;

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use contract::headers;
use tokio::time::error::Elapsed;

use super::{
    connections::Slot,
    edits::{self, Edit},
    error::Failure,
    http1::Request,
    inbound,
    net::{OriginalDestination, Peer},
    outbound,
    pool::Upstream,
    readiness,
    target::Target,
    telemetry::{Outcome, Reporter, Service, Side},
    worker::{Phase, Worker},
};
use crate::{
    discovery::Demand,
    mesh::{MtlsMode, Protocol},
    peer::{Party, forwarded},
    tls::{Credentials, PeerIdentity, TlsError},
};

pub(crate) use begin::serve;
pub(crate) use dial::Use;

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
    /// Who the client's address is known to be.
    client: OnceCell<Party>,
    proven: OnceCell<Proven>,
    /// The change of the mesh after which it was last asked whether the connection is still allowed.
    judged: Cell<u64>,
    /// What the client's TLS has asked for.
    server_name: OnceCell<Box<str>>,
}

/// A client that has proven who it is.
#[derive(Debug)]
struct Proven {
    identity: Arc<PeerIdentity>,
    /// What the application is told of it: an element of `x-forwarded-client-cert`.
    told: String,
    /// The whole field, where nobody has told anything before.
    line: Vec<u8>,
}

/// What routing says about a request or a connection.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes there.
    Forward(Target),
    /// It goes nowhere; the service is the one that it is counted under.
    Refuse(Service, Failure),
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
            judged: Cell::new(worker.n_changes()),
            worker,
            slot,
            role,
            destination,
            peer,
            client: OnceCell::new(),
            proven: OnceCell::new(),
            server_name: OnceCell::new(),
        }
    }

    /// The client has proven who it is to the holder of these credentials.
    fn prove(&self, identity: &Arc<PeerIdentity>, credentials: &Credentials) {
        let client = forwarded::Client {
            hash: identity.certificate_sha256(),
            subject: "",
            uri: identity.spiffe_id().as_str(),
            dns: &[],
        };
        let told = forwarded::element(credentials.id().as_str(), &client);
        // A connection is secured once, before anything is served on it.
        let _ = self.proven.set(Proven {
            identity: Arc::clone(identity),
            line: client_cert(&[], &told),
            told,
        });
    }

    /// A handshake has ended, or was waited for too long.
    fn count_handshake<T>(&self, side: Side, ended: &Result<Result<T, TlsError>, Elapsed>) {
        let outcome = match ended {
            Ok(result) => Outcome::from(result),
            Err(_elapsed) => Outcome::Timeout,
        };
        self.worker.telemetry.own().handshakes.count(side, outcome);
    }

    /// Who the client is, if it has proven it.
    pub(crate) fn identity(&self) -> Option<&Arc<PeerIdentity>> {
        self.proven.get().map(|proven| &proven.identity)
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
            Phase::Running => self.is_denied(),
            Phase::Draining => self.role == Role::Inbound,
            Phase::Stopping => true,
        }
    }

    /// Whether a change of the mesh demands what the client has not proven. Costs a comparison as long as nothing has changed.
    pub(crate) fn is_denied(&self) -> bool {
        let change = self.worker.n_changes();
        if self.judged.get() == change {
            return false;
        }
        let is_denied = self.proven.get().is_none() && self.mtls() == MtlsMode::Strict;
        if !is_denied {
            self.judged.set(change);
        }
        is_denied
    }

    /// Which side of the traffic metrics and log are told about; `None` for what is no traffic of the workload.
    pub(crate) fn reporter(&self) -> Option<Reporter> {
        match self.role {
            Role::Outbound => Some(Reporter::Source),
            Role::Inbound => Some(Reporter::Destination),
            Role::Readiness => None,
        }
    }

    /// What the connection is counted under while nothing else is known.
    pub(crate) fn service(&self) -> Service {
        match self.role {
            Role::Outbound => Service::Passthrough,
            Role::Inbound | Role::Readiness => Service::InboundPassthrough,
        }
    }

    /// What is spoken, as far as the mesh says.
    fn protocol(&self) -> Protocol {
        let (mesh, destination) = (self.worker.mesh(), self.destination());
        match self.role {
            Role::Inbound => mesh.inbound(destination.port()).protocol,
            Role::Outbound => match mesh.endpoint_at(destination) {
                Some((port, _)) => port.protocol,
                None => mesh
                    .service_at(destination)
                    .map_or(Protocol::undeclared(destination.port()), |port| {
                        port.protocol
                    }),
            },
            Role::Readiness => Protocol::Http,
        }
    }

    /// Whether clients must, may or need not prove who they are.
    fn mtls(&self) -> MtlsMode {
        match self.role {
            Role::Inbound => self.worker.mesh().inbound(self.destination().port()).mtls,
            Role::Outbound | Role::Readiness => MtlsMode::Disable,
        }
    }

    /// Where to ask about the destination before it is dialled, if that is not clear.
    fn unsettled(&self) -> Option<&Demand> {
        let demand = self.worker.config.demand.as_ref();
        let demand = demand.filter(|_| self.role == Role::Outbound)?;
        let is_at_hand = demand.is_at_hand(&self.worker.mesh(), self.destination());
        (!is_at_hand).then_some(demand)
    }

    /// How long a client may be silent before its server is asked to speak first.
    fn detect_timeout(&self) -> Duration {
        let told = self.worker.mesh().settings().detection_timeout;
        told.unwrap_or(self.worker.config.detect_timeout)
    }

    /// Whether the workload calls, rather than being called.
    pub(crate) fn calls(&self) -> bool {
        self.role == Role::Outbound
    }

    /// The other side in the words of metrics before anything is routed: the client where the workload is called. A client that has
    /// proven who it is may say more in `metadata`, the bytes of its `x-envoy-peer-metadata`.
    pub(crate) fn client(&self, metadata: &[u8]) -> Party {
        if self.role != Role::Inbound {
            return Party::unknown().clone();
        }
        let Some(identity) = self.identity() else {
            let by_address = || {
                self.workload_at_peer()
                    .unwrap_or_else(|| Party::unknown().clone())
            };
            return self.client.get_or_init(by_address).clone();
        };
        let principal = identity.spiffe_id().as_str();
        let by_address = || {
            let party = self.workload_at_peer();
            party.filter(|party| party.principal == principal)
        };
        if let Some(party) = metadata.is_empty().then(by_address).flatten() {
            return party;
        }
        self.worker.peers.borrow_mut().party(principal, metadata)
    }

    fn workload_at_peer(&self) -> Option<Party> {
        let mesh = self.worker.mesh();
        let workload = mesh.workload_at(self.peer.0.ip())?;
        Some(workload.party(&self.worker.config.names).clone())
    }

    /// The other side in the words of metrics once it is clear where the call goes; its identity is still to be proven.
    pub(crate) fn peer_of(&self, client: &Party, target: &Target) -> Party {
        match &target.workload {
            Some(workload) if self.calls() => workload.party(&self.worker.config.names).clone(),
            _ => client.clone(),
        }
    }

    /// Where a request goes; `target` and `host` are its request target and `Host` field.
    pub(crate) fn route(&self, request: &Request, target: &[u8], host: &[u8]) -> Decision {
        match self.role {
            Role::Readiness => readiness::route(self.destination, request, target),
            Role::Outbound | Role::Inbound => self.route_by(Some(host)),
        }
    }

    /// Where an opaque connection goes.
    pub(crate) fn route_tcp(&self) -> Decision {
        self.route_by(None)
    }

    fn route_by(&self, host: Option<&[u8]>) -> Decision {
        let (mesh, names) = (self.worker.mesh(), &*self.worker.config.names);
        match self.role {
            Role::Outbound => {
                let demand = self.worker.config.demand.as_ref();
                match outbound::route(&mesh, names, self.destination, host, demand) {
                    Decision::Forward(mut target) => {
                        self.keep_within_means(&mut target);
                        Decision::Forward(target)
                    }
                    refused @ Decision::Refuse(..) => refused,
                }
            }
            Role::Inbound | Role::Readiness => {
                let own = mesh.inbound(self.destination().port()).service;
                let service = own.map_or(Service::InboundPassthrough, |port| {
                    Service::Known(port.service.names(names).clone())
                });
                let capture = self.worker.config.inbound_capture;
                inbound::route(self.destination, capture, self.peer, service)
            }
        }
    }

    /// A target is reached by mutual TLS only if the proxy can speak it at all.
    fn keep_within_means(&self, target: &mut Target) {
        target.key.is_secured &= self.worker.config.credentials.speaks_tls();
    }

    /// What is changed in the head of a request on its way to `target`; `received` is what its sender says to have verified.
    pub(crate) fn request_edit(&self, target: &Target, received: &[u8]) -> Edit<'_> {
        let added = match (self.role, self.proven.get()) {
            (Role::Outbound, _) if target.key.is_secured => Cow::from(&self.worker.own_fields),
            (Role::Inbound, Some(proven)) if received.is_empty() => Cow::from(&proven.line),
            (Role::Inbound, Some(proven)) => Cow::from(client_cert(received, &proven.told)),
            _ => Cow::default(),
        };
        Edit {
            removed: edits::removed_from_request(self.role),
            added,
        }
    }

    /// What is changed in the head of an answer; `asked` says whether the request told who its sender is.
    pub(crate) fn answer_edit(&self, upstream: &Upstream, asked: bool) -> Edit<'_> {
        let added = match self.role {
            Role::Inbound if asked && self.identity().is_some() => {
                Cow::from(&self.worker.own_fields)
            }
            _ => Cow::default(),
        };
        let is_verified = upstream.stream.peer().is_some();
        Edit {
            removed: edits::removed_from_answer(self.role, is_verified),
            added,
        }
    }
}

/// The field that tells the application of its client, behind what the client has told of its own.
fn client_cert(received: &[u8], told: &str) -> Vec<u8> {
    let mut line = format!("{}: ", headers::FORWARDED_CLIENT_CERT).into_bytes();
    forwarded::append(received, told, &mut line);
    line.extend_from_slice(b"\r\n");
    line
}

// === impl Dialled ===

impl From<Upstream> for Dialled {
    fn from(upstream: Upstream) -> Self {
        Self {
            upstream,
            early: Vec::new(),
        }
    }
}

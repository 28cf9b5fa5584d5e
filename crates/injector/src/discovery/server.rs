//! The gRPC service of discovery: one session for each stream.
//!
//! Served by `grpc`, which has authenticated the caller. A stream is one future that is polled as fast as its client reads: it takes a request only
//! once the answer to the last is sent, so floods and slow readers hold up themselves and take no memory. It ends when the client does what it must
//! not, and after about half an hour in any case, together with its connection, so that clients spread over replicas.

mod call;
mod own;
mod pace;

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use prost::Message as _;
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tonic::{Code, Status, Streaming};
use tracing::{debug, warn};
use wire::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::{
    catalog::Catalog,
    client::{Client, Denied},
    metrics::{Metrics, Open},
    session::{Heard, Kind, Session, View, Violation},
};
use crate::{grpc::Caller, server::Retirement};
use own::Own;
use pace::Pace;

/// The gRPC service; clones share everything.
#[derive(Clone)]
pub struct Server {
    catalog: Catalog,
    metrics: Metrics,
    limits: Limits,
}

/// What a stream may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it lasts; the real time differs by a tenth from stream to stream.
    pub age: Duration,
    /// Requests per second, after a burst of as many.
    pub requests: u32,
    /// How long the client may leave a new stream without a request.
    pub silence: Duration,
}

/// A stream under way.
struct Running {
    inbound: Streaming<DeltaDiscoveryRequest>,
    catalog: Catalog,
    changes: watch::Receiver<u64>,
    metrics: Metrics,
    caller: Caller,
    retirement: Retirement,
    own: Option<Own>,
    session: Session,
    outbound: VecDeque<DeltaDiscoveryResponse>,
    pace: Pace,
    end: Instant,
    silence: Instant,
    /// Refusals that have been logged.
    n_refused: u32,
    open: Open,
}

/// Refusals of one stream that are logged; further ones are only counted.
const MAX_REFUSED: u32 = 10;
/// How much of a client's reason is logged.
const MAX_REASON: usize = 500;

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 60),
            requests: 1000,
            silence: Duration::from_secs(10),
        }
    }
}

// === impl Server ===

impl Server {
    /// A server of what is in `catalog`.
    #[must_use]
    pub fn new(catalog: Catalog, metrics: Metrics, limits: Limits) -> Self {
        Self {
            catalog,
            metrics,
            limits,
        }
    }

    /// A stream of `caller`, who sends `inbound` by a connection that `retirement` ends.
    fn open(
        &self,
        caller: Caller,
        retirement: Retirement,
        inbound: Streaming<DeltaDiscoveryRequest>,
    ) -> Result<Running, Status> {
        let mut open = self.metrics.opened();
        if !self.catalog.read().is_complete {
            open.ends("early");
            return Err(Status::unavailable(
                "the cluster is not known yet, try again",
            ));
        }
        let now = Instant::now();
        Ok(Running {
            inbound,
            changes: self.catalog.changes(),
            catalog: self.catalog.clone(),
            metrics: self.metrics.clone(),
            caller,
            retirement,
            own: None,
            session: Session::default(),
            outbound: VecDeque::new(),
            pace: Pace::new(self.limits.requests, now),
            end: now + jittered(self.limits.age),
            silence: now + self.limits.silence,
            n_refused: 0,
            open,
        })
    }
}

// === impl Running ===

impl Running {
    /// The next response; nothing once the client has ended the stream.
    async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        loop {
            if let Some(response) = self.outbound.pop_front() {
                let kind = Kind::of(&response.type_url);
                self.metrics.pushed(kind, response.encoded_len());
                return Ok(Some(response));
            }
            let resume = self.pace.resume();
            tokio::select! {
                biased;
                () = time::sleep_until(self.end) => {
                    self.open.ends("age");
                    self.retirement.begin();
                    return Err(Status::unavailable("the stream is old, connect again"));
                }
                () = time::sleep_until(self.silence), if self.own.is_none() => {
                    self.open.ends("silence");
                    return Err(Status::deadline_exceeded("the stream had no request for too long"));
                }
                changed = self.changes.changed(), if self.own.is_some() => match changed {
                    Ok(()) => self.changed()?,
                    Err(_) => return Ok(None),
                },
                request = paced(resume, &mut self.inbound) => match request {
                    Ok(Some(request)) => {
                        self.pace.spend(Instant::now());
                        self.request(request)?;
                    }
                    Ok(None) => return Ok(None),
                    Err(status) => return Err(self.broken(status)),
                },
            }
        }
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        let own = match &mut self.own {
            Some(own) => own,
            none => {
                let client = Client::identify(request.node.as_ref(), &self.caller);
                let client = client.map_err(|denied| denial(&mut self.open, &self.caller, &denied));
                none.insert(Own::new(client?))
            }
        };
        let kind = Kind::of(&request.type_url);
        let state = self.catalog.read();
        own.refresh(&state.model);
        let view = View {
            store: &state.store,
            settings: &state.settings,
            peer_authentications: own.policies(),
        };
        let outcome = self.session.request(request, view);
        drop(state);
        let (heard, response) = outcome.map_err(|violation| self.violated(&violation))?;
        match heard {
            Heard::Refused(_) if self.n_refused == MAX_REFUSED => self.metrics.rejected(kind),
            Heard::Refused(reason) => {
                self.metrics.rejected(kind);
                self.n_refused += 1;
                let reason: String = reason.chars().take(MAX_REASON).collect();
                warn!(caller = %self.caller, r#type = kind.as_str(), reason, "client refuses a response");
            }
            Heard::Stale => self.metrics.stale(kind),
            Heard::First(Kind::Unknown) => {
                debug!(caller = %self.caller, "client asks for a type that is not known");
            }
            Heard::First(_) | Heard::Names | Heard::Taken => {}
        }
        self.outbound.extend(response);
        Ok(())
    }

    fn changed(&mut self) -> Result<(), Status> {
        let Some(own) = &mut self.own else {
            return Ok(());
        };
        let state = self.catalog.read();
        own.refresh(&state.model);
        let view = View {
            store: &state.store,
            settings: &state.settings,
            peer_authentications: own.policies(),
        };
        let outcome = self.session.changed(view);
        let age = state.changed_at.elapsed();
        drop(state);
        let responses = outcome.map_err(|violation| self.violated(&violation))?;
        if !responses.is_empty() {
            self.metrics.converged(age);
        }
        self.outbound.extend(responses);
        Ok(())
    }

    /// The client went away, or what it sends is no message.
    fn broken(&mut self, status: Status) -> Status {
        if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange) {
            self.open.ends("violation");
        }
        debug!(caller = %self.caller, error = %status, "stream broke");
        status
    }

    fn violated(&mut self, violation: &Violation) -> Status {
        let text = violation.to_string();
        if *violation == Violation::Behind {
            self.open.ends("behind");
            return Status::aborted(text);
        }
        self.open.ends("violation");
        warn!(caller = %self.caller, error = %text, "client does what it must not, its stream ends");
        match violation {
            Violation::NoType | Violation::Name => Status::invalid_argument(text),
            _ => Status::resource_exhausted(text),
        }
    }
}

async fn paced(
    resume: Instant,
    inbound: &mut Streaming<DeltaDiscoveryRequest>,
) -> Result<Option<DeltaDiscoveryRequest>, Status> {
    time::sleep_until(resume).await;
    inbound.message().await
}

fn denial(open: &mut Open, caller: &Caller, denied: &Denied) -> Status {
    open.ends("denied");
    let text = denied.to_string();
    warn!(%caller, error = %text, "client is not served");
    match denied {
        Denied::NoNode | Denied::Malformed { .. } => Status::invalid_argument(text),
        Denied::Other { .. } => Status::permission_denied(text),
    }
}

/// `age` give or take a tenth.
fn jittered(age: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no precision")]
    let share = random as f64 / u64::MAX as f64;
    age.mul_f64(0.9 + share / 5.0)
}

#[cfg(test)]
mod tests;

//! One replica at a time: a Lease of `coordination.k8s.io`.
//!
//! For what every replica could do alike but should not do at once, such as writing the status of users' objects. A part holds a [`Leadership`] and does
//! its work in [`Leadership::while_held`], which ends the work at the moment when the Lease may be somebody else's.
//!
//! Whether another replica is alive is judged by how long the Lease has not changed under our own eyes, never by the times that are written in it, so
//! clocks may differ. A holder stops five seconds before anybody else begins. A machine that sleeps can wake up as one holder too many for a moment,
//! so what is written under a Lease bears the version of the object that it is about, as everything does here.

mod decide;

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use runtime::{error::chain, readiness::Detail};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tracing::{info, warn};

use super::{
    Context,
    api::{ApiError, Kind, call},
};
use decide::{Observed, Step, decide};

/// How long a Lease must not have changed before another replica takes it (client-go's default).
pub(super) const DURATION: Duration = Duration::from_secs(15);
/// How long after the beginning of the last renewal that succeeded the holder still counts itself as one.
const HELD: Duration = Duration::from_secs(10);
/// Between two attempts, of the holder and of those who wait.
const PERIOD: Duration = Duration::from_secs(2);
/// How long one attempt may take: several fit into the time that the Lease is held for.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether this replica holds the Lease; clones share it.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<bool>);

/// Takes part in the election, for ever.
pub struct Candidate {
    context: Context,
    leases: Api<Lease>,
    name: String,
    identity: String,
    observed: Observed,
    /// Until when the Lease is ours, if it is.
    held_until: Option<Instant>,
    leads: watch::Sender<bool>,
    failure: Option<Kind>,
    detail: Detail,
}

/// Gives the Lease back in the end, so that nobody has to wait until it is certain that this replica has gone.
pub struct Release {
    leases: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
}

/// What came of an attempt.
struct Attempt {
    held: bool,
    observed: Observed,
}

/// A candidate for the Lease `name` in the namespace of the control plane. `identity` is its own: no other replica has the same.
#[must_use]
pub fn candidate(context: Context, name: String, identity: String) -> (Candidate, Leadership) {
    let (leads, led) = watch::channel(false);
    let candidate = Candidate {
        leases: Api::namespaced(context.client.clone(), &context.namespace),
        detail: context.readiness.detail("leader lease"),
        context,
        name,
        identity,
        observed: Observed::default(),
        held_until: None,
        leads,
        failure: None,
    };
    (candidate, Leadership(led))
}

/// A name that no other replica has, for one that is no pod.
#[must_use]
pub fn identity() -> String {
    let random = RandomState::new().hash_one(Instant::now());
    format!("injector-{random:016x}")
}

// === impl Leadership ===

impl Leadership {
    /// Whether this replica leads right now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until this replica leads; for ever where there is no candidate any more.
    pub async fn held(&mut self) {
        self.until(true).await;
    }

    /// Does `work` while this replica leads, and drops it as soon as it does not; then there is no result. Whatever request was under way may still be
    /// carried out.
    pub async fn while_held<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.until(false) => None,
            done = work => Some(done),
        }
    }

    async fn until(&mut self, leads: bool) {
        if self.0.wait_for(|held| *held == leads).await.is_err() && leads {
            std::future::pending::<()>().await;
        }
    }
}

// === impl Candidate ===

impl Candidate {
    /// What gives the Lease back once the candidate has been dropped.
    #[must_use]
    pub fn release(&self) -> Release {
        Release {
            leases: self.leases.clone(),
            name: self.name.clone(),
            identity: self.identity.clone(),
            leadership: Leadership(self.leads.subscribe()),
        }
    }

    /// Goes on for ever. Dropping the future ends the leadership.
    pub async fn run(mut self) {
        loop {
            let begin = Instant::now();
            let outcome = tokio::select! {
                outcome = time::timeout(PATIENCE, self.attempt()) => outcome.ok(),
                () = until(self.held_until) => None,
            };
            match outcome {
                Some(Ok(attempt)) => self.settle(attempt, begin),
                Some(Err(error)) => self.failed(&error),
                // Too slow; what is wrong will show by an error or end by itself.
                None => {}
            }
            self.expire();
            tokio::select! {
                () = time::sleep_until(begin + PERIOD) => {}
                () = until(self.held_until) => self.expire(),
            }
        }
    }

    /// Looks, and takes or renews the Lease if that is to be done.
    async fn attempt(&self) -> Result<Attempt, ApiError> {
        let doing = format!("get Lease {}", self.name);
        let lease = call(doing, self.leases.get_opt(&self.name)).await?;
        let now = Instant::now();
        let observed = self.observed.look(lease.as_ref(), now);
        let step = decide(lease.as_ref(), &observed, &self.identity, now);
        let written = match (step, lease) {
            (Step::Wait, _) => {
                return Ok(Attempt {
                    held: false,
                    observed,
                });
            }
            (Step::Take, Some(lease)) => self.replace(lease, true).await,
            (Step::Renew, Some(lease)) => self.replace(lease, false).await,
            (Step::Create | Step::Take | Step::Renew, _) => self.create().await,
        };
        match written {
            Ok(lease) => Ok(Attempt {
                held: true,
                observed: observed.look(Some(&lease), Instant::now()),
            }),
            // Somebody was faster, and holds it now.
            Err(error) if error.kind() == Kind::Conflict => Ok(Attempt {
                held: false,
                observed,
            }),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<Lease, ApiError> {
        let owner = self.context.owner.reference().await?;
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(renewed(LeaseSpec::default(), &self.identity, true)),
        };
        let params = PostParams::default();
        let doing = format!("create Lease {}", self.name);
        call(doing, self.leases.create(&params, &lease)).await
    }

    async fn replace(&self, mut lease: Lease, taken: bool) -> Result<Lease, ApiError> {
        lease.spec = Some(renewed(
            lease.spec.unwrap_or_default(),
            &self.identity,
            taken,
        ));
        let params = PostParams::default();
        let doing = format!("update Lease {}", self.name);
        call(doing, self.leases.replace(&self.name, &params, &lease)).await
    }

    fn settle(&mut self, attempt: Attempt, begin: Instant) {
        self.observed = attempt.observed;
        self.held_until = attempt.held.then(|| begin + HELD);
        if self.failure.take().is_some() {
            self.detail.clear();
        }
        if self
            .leads
            .send_if_modified(|leads| replaced(leads, attempt.held))
        {
            let what = if attempt.held { "taken" } else { "lost" };
            info!(
                lease = self.name,
                identity = self.identity,
                "leader lease {what}"
            );
        }
    }

    fn failed(&mut self, error: &ApiError) {
        let text = chain(error).to_string();
        // An outage has many faces, each of them said once would be many lines.
        if self.failure.replace(error.kind()) != Some(error.kind()) {
            warn!(error = %text, "the leader lease cannot be seen to, trying again");
        }
        self.detail.set(text);
    }

    /// Leads no longer if the last renewal is too long ago.
    fn expire(&mut self) {
        if self.held_until.is_some_and(|until| until <= Instant::now()) {
            self.held_until = None;
            warn!(
                lease = self.name,
                "leader lease given up, it could not be renewed"
            );
            self.leads.send_replace(false);
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.leads.send_replace(false);
    }
}

// === impl Release ===

impl Release {
    /// Waits until this replica leads no longer, and gives the Lease back if it still bears its name. Nothing is lost if the future is dropped, or if the API
    /// server does not answer: then the Lease runs out.
    pub async fn run(mut self) {
        self.leadership.until(false).await;
        // The second time because a renewal may have been under way.
        for _ in 0..2 {
            match self.give_back().await {
                Ok(true) => {
                    return info!(
                        lease = self.name,
                        identity = self.identity,
                        "leader lease given back"
                    );
                }
                Ok(false) => return,
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => {
                    return info!(error = %chain(&error), "the leader lease is left to run out");
                }
            }
        }
    }

    /// Says whether it was ours.
    async fn give_back(&self) -> Result<bool, ApiError> {
        let doing = format!("get Lease {}", self.name);
        let lease = call(doing, self.leases.get_opt(&self.name)).await?;
        let is_ours = |spec: &LeaseSpec| spec.holder_identity.as_ref() == Some(&self.identity);
        let Some(mut lease) = lease.filter(|lease| lease.spec.as_ref().is_some_and(is_ours)) else {
            return Ok(false);
        };
        lease.spec = Some(LeaseSpec {
            // As client-go leaves it: nobody's, and for a second at most.
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..lease.spec.unwrap_or_default()
        });
        let params = PostParams::default();
        let doing = format!("give back Lease {}", self.name);
        call(doing, self.leases.replace(&self.name, &params, &lease)).await?;
        Ok(true)
    }
}

/// Stores `new`; says whether that is a change.
fn replaced(place: &mut bool, new: bool) -> bool {
    std::mem::replace(place, new) != new
}

/// The moment, if there is one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The Lease as `identity` writes it. The times are for people.
fn renewed(mut spec: LeaseSpec, identity: &str, taken: bool) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    if taken {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(-1).saturating_add(1));
        spec.acquire_time = Some(now.clone());
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
    spec.renew_time = Some(now);
    spec
}

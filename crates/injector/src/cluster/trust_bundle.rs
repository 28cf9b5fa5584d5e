//! What the mesh trusts, in every namespace: the roots in ConfigMap `istio-ca-root-cert`, and who is revoked in `istio-ca-crl`.
//!
//! Run by `app` beside the authority, a [`Publisher`] for each [`Publication`]. What there is and what is missing is in the `Ledger`, which decides; the shell here
//! feeds it with two watches (all namespaces by `namespaces`, all ConfigMaps of this one name) and performs what it asks for, a few at once.
//! Memory grows by some hundred bytes per namespace, requests by one per namespace that needs one.

mod config_map;
mod ledger;
mod publication;

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Fuse},
    stream::FuturesUnordered,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    runtime::watcher::{DefaultBackoff, Event},
};
use runtime::{error::chain, readiness::Detail};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use self::{
    config_map::{Outcome, Write},
    ledger::{Found, Ledger, Next, Print},
};
use super::{
    Bundle, Context,
    api::{ApiError, Kind},
    listed::map,
    namespaces::Space,
    watch::{LONGEST_PAUSE, Selection, Watch},
};
use crate::metrics::Writes as Metrics;

pub use publication::{Publication, REVOCATIONS, ROOTS};

/// Writes at once: enough to fill thousands of namespaces in seconds, too few for the API server to notice.
const AT_ONCE: usize = 8;

/// Publishes one text.
pub struct Publisher {
    publication: Publication,
    context: Context,
    bundle: Bundle,
    spaces: mpsc::Receiver<Event<Space>>,
    /// On the way to know what every namespace is to have.
    desire: Fuse<BoxFuture<'static, Result<Print, ApiError>>>,
    ledger: Ledger,
    writes: FuturesUnordered<BoxFuture<'static, Write>>,
    /// The API server is in trouble: no namespace is tried before.
    paused_until: Option<Instant>,
    pause: DefaultBackoff,
    fault: Option<String>,
    detail: Detail,
    metrics: Metrics,
}

// === impl Publisher ===

impl Publisher {
    /// Publishes `bundle` in all `spaces`; an empty one is taken away where it is, and nothing is done before it is known.
    #[must_use]
    pub fn new(
        publication: Publication,
        context: Context,
        bundle: Bundle,
        spaces: mpsc::Receiver<Event<Space>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            detail: context.readiness.detail(publication.name),
            publication,
            desire: desire(context.clone(), bundle.clone(), Duration::ZERO)
                .boxed()
                .fuse(),
            ledger: Ledger::default(),
            writes: FuturesUnordered::new(),
            paused_until: None,
            pause: DefaultBackoff::default(),
            fault: None,
            context,
            bundle,
            spaces,
            metrics,
        }
    }

    /// Goes on for ever.
    pub async fn run(mut self) {
        let mut watch = Watch::<ConfigMap>::new(
            self.publication.watched,
            Api::all(self.context.client.clone()),
            &Selection::named(self.publication.config_map),
            self.context.readiness.detail(self.publication.watch),
            self.context.events.clone(),
        );
        loop {
            let wake = self.start_writes();
            tokio::select! {
                Some(event) = self.spaces.recv() => self.ledger.spaces(event),
                event = watch.next() => self.ledger.config_maps(found(event, self.publication.key)),
                () = changed(&mut self.bundle) => self.begin_to_desire(Duration::ZERO),
                desired = &mut self.desire => self.settle(desired),
                Some(write) = self.writes.next() => self.record(write),
                () = time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    fn begin_to_desire(&mut self, wait: Duration) {
        let desire = desire(self.context.clone(), self.bundle.clone(), wait);
        self.desire = desire.boxed().fuse();
    }

    /// Takes note of what every namespace is to have.
    fn settle(&mut self, desired: Result<Print, ApiError>) {
        match desired {
            Ok(print) => {
                self.ledger.desire(print);
                self.recovered();
            }
            Err(error) => {
                self.failed(chain(&error).to_string());
                let wait = self.pause.next().unwrap_or(LONGEST_PAUSE);
                self.begin_to_desire(wait.min(LONGEST_PAUSE));
            }
        }
    }

    /// Starts what is due, and tells when to look again if nothing happens.
    fn start_writes(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let paused = self.paused_until.filter(|until| *until > now);
        self.metrics.pending(self.ledger.n_pending());
        if paused.is_some() {
            return paused;
        }
        let bundle = self.bundle.borrow().clone()?;
        while self.writes.len() < AT_ONCE {
            match self.ledger.next(now) {
                Next::Write { name, absent } => {
                    let (context, text) = (self.context.clone(), Arc::clone(&bundle));
                    let write = config_map::write(context, self.publication, name, text, absent);
                    self.writes.push(Box::pin(write));
                }
                Next::Wait(until) => return Some(until),
                Next::Nothing => return None,
            }
        }
        None
    }

    fn record(&mut self, write: Write) {
        let now = Instant::now();
        match write.outcome {
            Outcome::Written(print) => {
                debug!(
                    namespace = &*write.name,
                    what = self.publication.name,
                    "written into a namespace"
                );
                self.metrics.written();
                if !self.ledger.desires(&print) {
                    // The owner is another one than it was, which the others have to hear of too.
                    self.begin_to_desire(Duration::ZERO);
                }
                self.ledger.written(&write.name, print, now);
                self.pause = DefaultBackoff::default();
                self.recovered();
            }
            Outcome::Gone => self.ledger.gone(&write.name),
            Outcome::Again => self.ledger.again(&write.name, now),
            Outcome::Failed(error) => {
                self.metrics.failed();
                // It is the same for every namespace, so none of them is the one to wait for.
                if error.kind() == Kind::Unavailable || write.owner_unknown {
                    self.ledger.untried(&write.name);
                    // Those that were under way together count as one.
                    if self.paused_until.is_none_or(|until| until <= now) {
                        let wait = self.pause.next().unwrap_or(LONGEST_PAUSE);
                        self.paused_until = Some(now + wait.min(LONGEST_PAUSE));
                    }
                } else {
                    self.ledger.failed(&write.name, now);
                }
                let n_others = self.ledger.n_failing().saturating_sub(1);
                let more = match n_others {
                    0 => String::new(),
                    n => format!("; {n} more namespaces are without it"),
                };
                self.failed(format!("{}{more}", chain(&error)));
            }
        }
    }

    fn failed(&mut self, text: String) {
        let what = self.publication.name;
        self.detail.set(text.clone());
        if self.fault.is_none() {
            warn!(what, error = %text, "what every namespace should have cannot be published, trying again");
            self.context
                .events
                .warn(self.publication.reason, text.clone());
        } else {
            debug!(what, error = %text, "what every namespace should have cannot be published");
        }
        self.fault = Some(text);
    }

    fn recovered(&mut self) {
        if self.ledger.n_failing() == 0 && self.fault.take().is_some() {
            let what = self.publication.name;
            info!(
                what,
                "what every namespace should have can be published again"
            );
            self.detail.clear();
        }
    }
}

/// What every namespace is to have, once the bundle and its owner are known.
async fn desire(context: Context, mut bundle: Bundle, wait: Duration) -> Result<Print, ApiError> {
    time::sleep(wait).await;
    loop {
        let known = bundle.borrow_and_update().clone();
        if let Some(bundle) = known {
            let owner = context.owner.reference().await?;
            return Ok(Print::wanted(&bundle, owner.as_ref()));
        }
        changed(&mut bundle).await;
    }
}

/// Ends when there is another bundle; never if there will be none.
async fn changed(bundle: &mut Bundle) {
    if bundle.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What counts of a ConfigMap.
fn found(event: Event<ConfigMap>, key: &str) -> Event<Found> {
    map(event, |object| Found::of(&object, key))
}

//! Gets certificates and keeps them fresh.
//!
//! `app` runs a [`Source`] on the housekeeping thread. It asks at once, then at half of each certificate's life, and again after a pause where that fails;
//! meanwhile it looks at the mesh's roots. The clock on the wall is what counts, looked at every second, because timers do not notice that a
//! machine slept.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use identity::validity::Stamp;
use runtime::{backoff::Backoff, error::chain, files::Change, readiness::Readiness};
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::{debug, error, info};

use super::{AskError, Client, Metrics, Renewal};
use crate::tls::{
    Store,
    holder::{Cache, HoldError, Holder, Material, Output, Report},
};

/// Certificates from an authority.
pub struct Source {
    client: Client,
    holder: Holder,
    renewal: Renewal,
    clock: Clock,
    metrics: Metrics,
    keep: Keep,
    state: State,
}

/// What time it is; a test has its own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Where copies go.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// For the next start of the container.
    pub cache: Option<Cache>,
    /// For other programs.
    pub output: Option<Output>,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The authority gave none.
    #[error(transparent)]
    Asked(#[from] AskError),
    /// What it gave is no good.
    #[error("the certificate authority's answer is refused")]
    Refused(#[source] HoldError),
    /// The one that is in use is no good by the mesh's roots as they are now.
    #[error("the certificate has to be replaced")]
    Outdated(#[source] HoldError),
}

/// Where the attempts stand.
struct State {
    due: SystemTime,
    backoff: Backoff,
    report: Report,
}

type Asking = Pin<Box<dyn Future<Output = Result<Material, AskError>> + Send>>;

/// How often clock and roots are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Sidecars that see new roots at the same time do not all ask at the same time.
const SPREAD: Duration = Duration::from_secs(10);

// === impl Source ===

impl Source {
    /// Brings what was in use last, if it still counts, and registers with `readiness` until there is a certificate.
    #[must_use]
    pub fn new(
        client: Client,
        holder: Holder,
        renewal: Renewal,
        keep: Keep,
        readiness: &Readiness,
    ) -> Self {
        let mut source = Self {
            client,
            holder,
            renewal,
            clock: Arc::new(SystemTime::now),
            metrics: Metrics::default(),
            keep,
            state: State {
                due: SystemTime::UNIX_EPOCH,
                backoff: Backoff::default(),
                report: Report::new(readiness),
            },
        };
        source.restore();
        source
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where the credentials are, now and after each change.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.holder.store()
    }

    /// How often the authority was asked.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Keeps the certificate fresh for ever. Dropping the future leaves the last one in the store.
    pub async fn run(mut self) {
        let mut asking: Option<(Instant, Asking)> = None;
        loop {
            if asking.is_none() && (self.clock)() >= self.state.due {
                self.metrics.sent(self.state.report.has_failed());
                asking = Some((Instant::now(), Box::pin(self.client.clone().ask())));
            }
            let answer = async {
                match &mut asking {
                    Some((_, answer)) => answer.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = answer => {
                    let took = asking.take().map(|(since, _)| since.elapsed());
                    self.answered(answer, took.unwrap_or_default());
                }
                () = sleep(self.pause()) => self.look(),
            }
        }
    }

    /// Until there is something to do.
    fn pause(&self) -> Duration {
        let until_due = self.state.due.duration_since((self.clock)());
        match until_due {
            Ok(left) if !left.is_zero() => left.min(INTERVAL),
            _ => INTERVAL,
        }
    }

    fn answered(&mut self, answer: Result<Material, AskError>, took: Duration) {
        let now = (self.clock)();
        let taken = answer
            .map_err(Failure::Asked)
            .and_then(|material| self.holder.take(material, now).map_err(Failure::Refused));
        self.metrics.ended(took, taken.is_err());
        match taken {
            Ok(end) => {
                self.state.report.succeeded();
                self.state.backoff.reset();
                self.state.due = self.renewal.due(now, end, chance());
                let next = Stamp(OffsetDateTime::from(self.state.due));
                info!(certificate = self.holder.summary(), took_ms = took.as_millis(), renewal = %next, "certified");
                self.keep();
            }
            Err(failure) => {
                self.state.due = now + self.state.backoff.pause(fastrand::f64());
                self.failed(&failure, now);
            }
        }
    }

    fn look(&mut self) {
        let now = (self.clock)();
        match self.holder.look(now) {
            Ok(Change::Accepted) => {
                info!(
                    certificate = self.holder.summary(),
                    "the mesh's roots or trust domains have changed and are in use"
                );
                self.keep();
                self.hasten(now);
            }
            Ok(Change::None | Change::Refused) => {}
            Err(error) => {
                self.failed(&Failure::Outdated(error), now);
                self.hasten(now);
            }
        }
    }

    /// Asks soon, so that the certificate is of the authority's present root before an old one goes. Who has none has waited for just this.
    fn hasten(&mut self, now: SystemTime) {
        let soon = if self.state.report.has_failed() {
            now
        } else {
            now + SPREAD.mul_f64(fastrand::f64())
        };
        self.state.due = self.state.due.min(soon);
    }

    fn failed(&mut self, failure: &Failure, now: SystemTime) {
        let reason = self.holder.note(failure, now);
        self.state.report.failed(reason, &self.holder.summary());
    }

    fn keep(&self) {
        let Some(material) = self.holder.material() else {
            return;
        };
        let cached = self.keep.cache.iter().map(|cache| cache.write(&material));
        let output = self
            .keep
            .output
            .iter()
            .map(|output| output.write(&material));
        for error in cached.chain(output).filter_map(Result::err) {
            error!(error = %chain(&error), "a copy of the certificate cannot be written");
        }
    }

    /// The last certificate of this pod serves until there is a new one.
    fn restore(&mut self) {
        let Some(cache) = &self.keep.cache else {
            return;
        };
        let restored = match cache.read() {
            Ok(None) => return,
            Ok(Some(material)) => {
                let taken = self.holder.take(material, (self.clock)());
                taken.map(|_| ()).map_err(|error| chain(&error).to_string())
            }
            Err(error) => Err(chain(&error).to_string()),
        };
        match restored {
            Ok(()) => {
                self.state.report.has_one();
                info!(
                    certificate = self.holder.summary(),
                    "the last certificate of this pod serves until there is a new one"
                );
            }
            // It has ended, for example.
            Err(error) => debug!(error, "the last certificate of this pod is of no more use"),
        }
    }
}

/// From -1 to 1.
fn chance() -> f64 {
    fastrand::f64() * 2.0 - 1.0
}

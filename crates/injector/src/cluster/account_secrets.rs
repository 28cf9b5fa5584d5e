//! Certificates of service accounts as Secrets: `istio.ACCOUNT`, for templates that mount them in `/etc/certs`.
//!
//! Only where the user asks for them, because the right to write them is one to read such Secrets in every namespace. The part follows the service accounts and the Secrets of
//! this kind; its `Ledger` says what is to be written, and one replica, the holder of the Lease, writes it. A Secret belongs to its account, with which it is
//! collected; one that somebody else has made is never written over.
//!
//! ```text
//! service accounts ─ watch ─┐
//! Secrets ────────── watch ─┼─► Ledger ─► Authority::issue_pair ─► Secret istio.ACCOUNT
//! authority, roots ─────────┘              (blocking pool)
//! ```

mod ledger;
mod secret;
mod write;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use contract::control_plane::{ACCOUNT_SECRET_PREFIX, ACCOUNT_SECRET_TYPE};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use identity::Lifetimes;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{
    Api,
    core::PartialObjectMeta,
    runtime::watcher::{DefaultBackoff, Event},
};
use runtime::{error::chain, readiness::Detail};
use time::OffsetDateTime;
use tokio::time::{self as timer, Instant};
use tracing::{debug, info, warn};

use self::{
    ledger::{Demand, Ledger, Next},
    secret::{Account, Held, Wanted},
    write::{Outcome, Write},
};
use super::{
    Context,
    api::Kind,
    lease::Leadership,
    listed,
    watch::{LONGEST_PAUSE, Selection, Watch},
};
use crate::{
    ca::{Clock, Issuing, TrustDomain},
    metrics::Writes as Metrics,
};

/// Writes at once: a signature takes less time than the API server's answer.
const AT_ONCE: usize = 4;
/// How often the clock on the wall is looked at.
const TICK: Duration = Duration::from_secs(15);

/// What the Secrets are made by.
#[derive(Clone)]
pub struct Settings {
    /// What signs.
    pub issuing: Issuing,
    /// First part of every identity.
    pub trust_domain: TrustDomain,
    /// How long the certificates live: as long as sidecars' that do not ask for anything else.
    pub lifetimes: Lifetimes,
    /// The clock on the wall, [`OffsetDateTime::now_utc`].
    pub clock: Clock,
}

/// Keeps the Secrets.
pub struct Keeper {
    context: Context,
    settings: Settings,
    leadership: Leadership,
    ledger: Ledger,
    /// When the clock on the wall was last looked at.
    looked: Instant,
    writes: FuturesUnordered<BoxFuture<'static, Write>>,
    /// The API server is in trouble: nothing is tried before.
    paused_until: Option<Instant>,
    pause: DefaultBackoff,
    fault: Option<String>,
    detail: Detail,
    metrics: Metrics,
}

// === impl Keeper ===

impl Keeper {
    /// Keeps them for as long as `leadership` is held.
    #[must_use]
    pub fn new(
        context: Context,
        settings: Settings,
        leadership: Leadership,
        metrics: Metrics,
    ) -> Self {
        Self {
            detail: context.readiness.detail("account Secrets"),
            context,
            settings,
            leadership,
            ledger: Ledger::default(),
            looked: Instant::now(),
            writes: FuturesUnordered::new(),
            paused_until: None,
            pause: DefaultBackoff::default(),
            fault: None,
            metrics,
        }
    }

    /// Goes on for ever.
    pub async fn run(mut self) {
        let mut accounts = self
            .watch::<PartialObjectMeta<ServiceAccount>>("the service accounts", &Selection::all());
        let of_type = format!("type={ACCOUNT_SECRET_TYPE}");
        let mut secrets =
            self.watch::<Secret>("the account Secrets", &Selection::with_fields(&of_type));
        let (mut issuing, mut led) = (self.settings.issuing.clone(), self.leadership.clone());
        loop {
            self.look();
            let wake = self.start_writes();
            tokio::select! {
                event = accounts.next() => {
                    let event = listed::map(event, |account| Account::of(&account.metadata));
                    self.ledger.accounts(event, self.now());
                }
                event = secrets.next() => {
                    if let Some(event) = of_ours(event) {
                        self.ledger.secrets(event, self.now());
                    }
                }
                changed = issuing.changed() => if changed.is_err() {
                    return;
                },
                () = led.held(), if !self.leadership.is_held() => {}
                Some(write) = self.writes.next() => self.record(write),
                () = timer::sleep_until(wake) => {}
            }
        }
    }

    fn watch<K>(&self, what: &'static str, selection: &Selection) -> Watch<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug,
        K: serde::de::DeserializeOwned + Send + 'static,
    {
        let Context {
            client, readiness, ..
        } = &self.context;
        let (api, detail) = (Api::all(client.clone()), readiness.detail(what));
        Watch::new(what, api, selection, detail, self.context.events.clone())
    }

    fn now(&self) -> OffsetDateTime {
        (self.settings.clock)()
    }

    /// What is demanded, and what the clock says.
    fn look(&mut self) {
        let issuer = self.settings.issuing.borrow().clone();
        let Some(issuer) = issuer else {
            return;
        };
        let demand = Demand {
            trust_domain: (self.settings.trust_domain)(),
            roots: hash(issuer.roots.as_bytes()),
        };
        let now = self.now();
        self.ledger.demand(demand, now);
        if self.looked.elapsed() >= TICK {
            self.looked = Instant::now();
            self.ledger.look(now);
        }
    }

    /// Starts what is due, and tells when to look again if nothing happens.
    fn start_writes(&mut self) -> Instant {
        let now = Instant::now();
        let tick = now + TICK;
        self.metrics.pending(self.ledger.n_pending());
        if !self.leadership.is_held() {
            return tick;
        }
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return until;
        }
        while self.writes.len() < AT_ONCE {
            match self.ledger.next(now) {
                Next::Write(account) => self.start(account),
                Next::Wait(until) => return until.min(tick),
                Next::Nothing => return tick,
            }
        }
        tick
    }

    fn start(&mut self, account: Account) {
        let issuer = self.settings.issuing.borrow().clone();
        let id = self.ledger.demanded().map(|demand| demand.id(&account));
        // A trust domain that can be no part of an identity is told by the authority.
        let id = id.and_then(|id| id.parse().ok());
        let (Some(issuer), Some(id)) = (issuer, id) else {
            self.ledger
                .failed(&account.key(), (Instant::now(), self.now()));
            return;
        };
        let wanted = Wanted {
            id,
            lifetime: self.settings.lifetimes.default,
        };
        let (context, now) = (self.context.clone(), self.now());
        let mut leadership = self.leadership.clone();
        self.writes.push(Box::pin(async move {
            let key = account.key();
            let writing = write::write(context, account, wanted, issuer, now);
            let outcome = leadership.while_held(writing).await;
            Write {
                key,
                outcome: outcome.unwrap_or(Outcome::Dropped),
            }
        }));
    }

    fn record(&mut self, write: Write) {
        let Write { key, outcome } = write;
        let clocks = (Instant::now(), self.now());
        match outcome {
            Outcome::Written(held) => {
                debug!(account = &*key, "certificate written into a Secret");
                self.metrics.written();
                self.ledger.written(&key, held, clocks);
                self.pause = DefaultBackoff::default();
                self.recovered();
            }
            Outcome::Again => self.ledger.again(&key, clocks),
            Outcome::Dropped => self.ledger.untried(&key, clocks.1),
            Outcome::Foreign(name) => {
                if self.ledger.foreign(&key, clocks) {
                    let note = format!(
                        "Secret {name} is not of type {ACCOUNT_SECRET_TYPE} for service account {key}, or not this program's; it is left as it is, rename or delete it"
                    );
                    warn!(note, "no certificate for a service account");
                    self.context.events.warn("AccountSecretForeign", note);
                }
            }
            Outcome::Failed(error) => {
                self.metrics.failed();
                if error.kind() == Kind::Unavailable {
                    self.ledger.untried(&key, clocks.1);
                    let wait = self.pause.next().unwrap_or(LONGEST_PAUSE);
                    self.paused_until = Some(clocks.0 + wait.min(LONGEST_PAUSE));
                } else {
                    self.ledger.failed(&key, clocks);
                }
                self.failed(chain(&error).to_string());
            }
            Outcome::Unsigned(why) => {
                self.metrics.failed();
                self.ledger.failed(&key, clocks);
                self.failed(format!("no certificate for service account {key}: {why}"));
            }
        }
    }

    fn failed(&mut self, text: String) {
        self.detail.set(text.clone());
        if self.fault.is_none() {
            warn!(error = %text, "the Secrets of service accounts cannot all be written, trying again");
            self.context
                .events
                .warn("AccountSecretsNotWritten", text.clone());
        }
        self.fault = Some(text);
    }

    fn recovered(&mut self) {
        if self.ledger.n_failing() == 0 && self.fault.take().is_some() {
            info!("the Secrets of service accounts can be written again");
            self.detail.clear();
        }
    }
}

/// What an event says of our Secrets. One that has ceased to be ours is as good as deleted.
fn of_ours(event: Event<Secret>) -> Option<Event<(Box<str>, Held)>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(secret) => Event::InitApply(Held::of(&secret)?),
        Event::Apply(secret) => match Held::of(&secret) {
            Some(held) => Event::Apply(held),
            None => Event::Delete(nothing(&secret)?),
        },
        Event::Delete(secret) => Event::Delete(nothing(&secret)?),
    })
}

/// The account that a Secret of this name would be of.
fn nothing(secret: &Secret) -> Option<(Box<str>, Held)> {
    let account = secret.metadata.name.as_deref()?;
    let account = account.strip_prefix(ACCOUNT_SECRET_PREFIX)?;
    let namespace = secret.metadata.namespace.as_deref()?;
    let key = format!("{namespace}/{account}").into();
    Some((key, Held::nothing()))
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

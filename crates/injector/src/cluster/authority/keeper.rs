//! The loop that keeps Secret, memory and what is served in step.
//!
//! [`Keeper`] does what [`decide`] says and nothing else: it looks, writes, publishes and reports. It wakes at each change of the Secret
//! and every few seconds by the clock on the wall, because timers do not notice that a machine has slept or its clock was set.

use std::{sync::Arc, time::Duration};

use contract::control_plane::{CA_SECRET, GIVEN_CA_SECRET};
use identity::validity::Stamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams, runtime::watcher::Event};
use runtime::{error::chain, readiness::Guard};
use tokio::time::{self, Instant};
use tracing::info;

use super::{
    Metrics, Settings,
    decide::{Known, Source, Verdict, decide},
    expiry,
    finding::Finding,
    given::{Bringer, Given, trial_id},
    metrics::WriteResult,
    published::Published,
    revoked::{Revoked, Signers},
    rotation,
    secret::{State, Stored},
    voice::Voice,
};
use crate::cluster::{
    Context,
    api::{ApiError, Kind, call},
    pace::{Pace, Tempo},
    watch::{Selection, Watch},
};

/// How often the clock on the wall is looked at when nothing happens.
const TICK: Duration = Duration::from_secs(15);
/// For how long an API server that does not tell of the user's authority is waited for before there is taken to be none.
const PATIENCE: Duration = Duration::from_secs(10);
/// A few corrections in a row, as people make them, are undone at once; the longest gap is what an outage adds to the time until all is well.
const TEMPO: Tempo = Tempo {
    shortest: Duration::from_millis(250),
    longest: Duration::from_secs(30),
};

/// Keeps the authority.
pub(super) struct Keeper {
    context: Context,
    settings: Arc<Settings>,
    metrics: Metrics,
    secrets: Api<Secret>,
    watch: Watch<Secret>,
    /// What is being listed.
    listed: Option<Secret>,
    /// What there is, once it has been listed.
    seen: Option<Seen>,
    bringer: Bringer,
    revoked: Revoked,
    /// Until when it is worth waiting to know of one.
    patience: Instant,
    memory: Option<State>,
    pace: Pace,
    voice: Voice,
    published: Published,
    unready: Option<Guard>,
}

/// The Secret as it was last seen.
struct Seen {
    secret: Option<Secret>,
    stored: Stored,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(
        context: &Context,
        settings: Settings,
        metrics: Metrics,
        published: Published,
    ) -> Self {
        let secrets = Api::<Secret>::namespaced(context.client.clone(), &context.namespace);
        let watch = Watch::new(
            "the authority's Secret",
            secrets.clone(),
            &Selection::named(CA_SECRET),
            context.readiness.detail("authority watch"),
            context.events.clone(),
        );
        let given_watch = Watch::new(
            "the user's authority",
            secrets.clone(),
            &Selection::named(GIVEN_CA_SECRET),
            context.readiness.detail("given authority watch"),
            context.events.clone(),
        );
        let revoked = Revoked::new(context, metrics.clone(), published.revoked.clone());
        Self {
            unready: Some(context.readiness.register("serving certificate")),
            voice: Voice::new(context, metrics.clone()),
            context: context.clone(),
            settings: Arc::new(settings),
            metrics,
            secrets,
            watch,
            listed: None,
            seen: None,
            bringer: Bringer::new(given_watch),
            revoked,
            patience: Instant::now() + PATIENCE,
            memory: None,
            pace: Pace::new(&TEMPO),
            published,
        }
    }

    /// Goes on for ever. Dropping the future loses nothing but a write that may still be carried out.
    pub(super) async fn run(mut self) {
        loop {
            let wait = self.step().await;
            tokio::select! {
                event = self.watch.next() => self.observe(event),
                () = self.bringer.changed() => {}
                () = time::sleep(wait) => {}
            }
        }
    }

    fn observe(&mut self, event: Event<Secret>) {
        match event {
            Event::Init => self.listed = None,
            Event::InitApply(secret) => self.listed = Some(secret),
            Event::InitDone => {
                let listed = self.listed.take();
                self.seen = Some(Seen::of(listed));
            }
            Event::Apply(secret) => self.seen = Some(Seen::of(Some(secret))),
            Event::Delete(_) => self.seen = Some(Seen::of(None)),
        }
    }

    /// Does what there is to do now, and says when to look again.
    async fn step(&mut self) -> Duration {
        let (trust_domain, now) = ((self.settings.trust_domain)(), (self.settings.clock)());
        if let Some(secret) = self.bringer.read(&trust_domain, now) {
            self.revoked.observe(secret);
        }
        // An authority that is made is one that the user may not have wanted.
        let left = self.patience.saturating_duration_since(Instant::now());
        if matches!(self.bringer.given(), Given::Unknown) && !left.is_zero() {
            return left;
        }
        let Some(seen) = self.seen.take() else {
            return TICK;
        };
        let wait = self.step_from(&seen, &trust_domain).await;
        // A write or a second look has brought something newer.
        self.seen.get_or_insert(seen);
        wait
    }

    async fn step_from(&mut self, seen: &Seen, trust_domain: &str) -> Duration {
        let settings = Arc::clone(&self.settings);
        let now = (settings.clock)();
        let memory = self.memory.clone();
        let known = Known {
            stored: &seen.stored,
            memory: memory.as_ref(),
            given: self.bringer.given().usable(),
            names: &settings.names,
            now,
        };
        let plan = match decide(&known) {
            Verdict::Keep(plan) => plan,
            Verdict::Hold(finding) => {
                self.hold(seen);
                self.voice.trouble_of(&finding);
                return TICK;
            }
            Verdict::Refuse(finding) => {
                self.voice.trouble_of(&finding);
                return TICK;
            }
        };
        if let (Source::Generated, Given::Unusable(why)) = (plan.authority, self.bringer.given()) {
            self.voice.trouble_of(&Finding::GivenRefused(why.clone()));
            return TICK;
        }
        let periods = settings.periods;
        let state = plan
            .carry_out(&settings.names, trust_domain, now)
            .and_then(|state| {
                rotation::advance(
                    state,
                    self.bringer.given().usable(),
                    trust_domain,
                    periods,
                    now,
                )
            });
        match state {
            Ok((state, turns)) => {
                let is_new = plan.authority == Source::Generated || !turns.is_empty();
                let findings = [plan.findings, turns].concat();
                let wait = self.keep(seen, &findings, is_new, state).await;
                self.speak_of_the_end(now);
                self.review_revoked(trust_domain, now);
                wait
            }
            Err(error) => {
                self.voice
                    .trouble("AuthorityFailed", chain(&error).to_string());
                TICK
            }
        }
    }

    /// Serves what there is, where that is better than nothing: a wrong clock here says nothing about the clocks of the clients.
    fn hold(&mut self, seen: &Seen) {
        if let (None, Stored::Held(held)) = (&self.memory, &seen.stored)
            && let Some(state) = State::of(held)
        {
            self.adopt(state);
        }
    }

    /// Serves `state` and sees that the Secret holds it. What is new, so that nobody else knows of it, is not served before it is written:
    /// another replica may be faster.
    async fn keep(
        &mut self,
        seen: &Seen,
        findings: &[Finding],
        is_new: bool,
        state: State,
    ) -> Duration {
        let is_written = seen.stored.holds(&state);
        if !is_new {
            self.voice.found(findings);
            self.adopt(state.clone());
        }
        if is_written {
            self.settled();
            return TICK;
        }
        if let Some(wait) = self.pace.wait(Instant::now()) {
            return wait;
        }
        self.pace.attempted(Instant::now());
        match self.write(seen.secret.as_ref(), &state).await {
            Ok(secret) => {
                self.metrics.wrote(WriteResult::written);
                if is_new {
                    self.voice.found(findings);
                    self.adopt(state);
                }
                self.seen = Some(Seen::of(Some(secret)));
                self.settled();
            }
            Err(error) if is_stale(seen, &error) => {
                self.metrics.wrote(WriteResult::conflict);
                self.look().await;
            }
            Err(error) => {
                self.metrics.wrote(WriteResult::failed);
                self.voice
                    .trouble("AuthoritySecretNotWritten", chain(&error).to_string());
            }
        }
        self.pace.wait(Instant::now()).unwrap_or(TICK)
    }

    /// The Secret is in step; what the user has given may still be unusable.
    fn settled(&mut self) {
        match self.bringer.given() {
            Given::Unusable(why) => self.voice.trouble_of(&Finding::GivenUnusable(why.clone())),
            Given::Unknown | Given::Absent | Given::Usable(_) => self.voice.well(),
        }
    }

    /// Warns of what ends and is renewed by nobody but the user.
    fn speak_of_the_end(&mut self, now: ::time::OffsetDateTime) {
        let Some(state) = &self.memory else {
            return;
        };
        self.metrics.at(state, now);
        let due = expiry::due(&state.authority, now);
        self.voice.end(due);
    }

    /// Publishes who is revoked, by what signs now and what is to sign next.
    fn review_revoked(&mut self, trust_domain: &str, now: ::time::OffsetDateTime) {
        let (Some(state), Some(trial)) = (&self.memory, trial_id(trust_domain)) else {
            return;
        };
        let next = self.bringer.given().usable();
        let authorities = std::iter::once(&state.authority).chain(next);
        let signers = Signers {
            authorities: &authorities.collect::<Vec<_>>(),
            roots: &state.roots,
            trial: &trial,
        };
        self.revoked.review(signers, now);
    }

    async fn write(&self, there: Option<&Secret>, state: &State) -> Result<Secret, ApiError> {
        let namespace = &*self.context.namespace;
        let params = PostParams::default();
        match there {
            None => {
                let owner = self.context.owner.reference().await?;
                let secret = state.secret(namespace, owner);
                let request = self.secrets.create(&params, &secret);
                call(format!("create Secret {namespace}/{CA_SECRET}"), request).await
            }
            Some(there) => {
                let secret = state.put_into(there);
                let request = self.secrets.replace(CA_SECRET, &params, &secret);
                call(format!("update Secret {namespace}/{CA_SECRET}"), request).await
            }
        }
    }

    /// Looks at the Secret without waiting for the watch.
    async fn look(&mut self) {
        let doing = format!("get Secret {}/{CA_SECRET}", self.context.namespace);
        match call(doing, self.secrets.get_opt(CA_SECRET)).await {
            Ok(secret) => self.seen = Some(Seen::of(secret)),
            Err(error) => self
                .voice
                .trouble("AuthoritySecretNotRead", chain(&error).to_string()),
        }
    }

    /// Puts a good state to use.
    fn adopt(&mut self, state: State) {
        if self.memory.as_ref() == Some(&state) {
            return;
        }
        self.metrics.serving(&state);
        let validity = state.pair.validity();
        info!(
            until = %Stamp(validity.not_after),
            renewal = %Stamp(validity.half_life()),
            n_roots = state.roots.n_roots(),
            "certificate in use"
        );
        self.published.state(&state);
        self.memory = Some(state);
        self.unready = None;
    }
}

// === impl Seen ===

impl Seen {
    fn of(secret: Option<Secret>) -> Self {
        Self {
            stored: Stored::read(secret.as_ref()),
            secret,
        }
    }
}

/// Whether somebody else has written or deleted the Secret since it was seen.
fn is_stale(seen: &Seen, error: &ApiError) -> bool {
    match error.kind() {
        Kind::Conflict => true,
        // What is missing for a creation is the namespace or the owner.
        Kind::NotFound => seen.secret.is_some(),
        Kind::Forbidden | Kind::Invalid | Kind::Unavailable | Kind::Other => false,
    }
}

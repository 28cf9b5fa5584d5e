//! All that discovery has told, and the mesh that is made of it.
//!
//! [`run`](super::run) brings responses and questions; when something has changed the mesh is built anew, at most for a fifth of the
//! time of the thread, then the data plane is told which addresses are settled, and whoever waits for one goes on: in this order, so
//! that nobody takes an address for nobody's because its pod is not in the mesh yet. A start begins with the cache, and as long as
//! nobody has said which ports take plain text, none of them does.

mod build;
mod cached;
mod questions;
mod report;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use runtime::error::chain;
use tokio::sync::oneshot;
use tracing::error;
use wire::{core::Node, discovery::DeltaDiscoveryResponse};

use super::{
    book::Book,
    cache::Contents,
    client::{Client, Kind, Server, Taken, Unasked, identifier},
    convert,
    demand::Publisher,
    status::{KindLabels, Status},
};
use crate::mesh::{MeshStore, Own, model::WorkloadMode};

/// What discovery goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether every address is asked for, rather than those that the pod talks to.
    pub wildcard: bool,
    /// How long a connection waits to learn who is at its destination.
    pub wait: Duration,
    /// Where the cache is; none is kept without it.
    pub cache: Option<PathBuf>,
    /// The pod's network; mostly none has a name.
    pub network: String,
    /// Who the pod is in the mesh.
    pub own: Own,
    /// Who the control plane is told that asks.
    pub node: Node,
}

/// The picture of the mesh and where it comes from.
#[derive(Debug)]
pub struct Picture {
    settings: Settings,
    client: Client,
    book: Book,
    store: MeshStore,
    publisher: Publisher,
    status: Status,
    /// Types that were answered once and for which nothing had to be refused then, in this life or the one before.
    answered: BTreeSet<Kind>,
    /// How the own ports are taken, as it was told last.
    modes: Option<WorkloadMode>,
    /// Whether the own pod is among what is held.
    knows_own: bool,
    cache_from: Option<SystemTime>,
    /// Whether the mesh is not what is held.
    is_behind: bool,
    apply_at: Option<Instant>,
    last_applied: Option<(Instant, Duration)>,
    save_at: Option<Instant>,
    last_saved: Option<Instant>,
    sweep_at: Instant,
    /// When a control plane that does not tell of newcomers is asked about them.
    again_at: Option<Instant>,
    /// When the first picture of everything is complete, unless more of it comes.
    complete_at: Option<Instant>,
    is_complete: bool,
    /// Who waits for it.
    waiting: Vec<oneshot::Sender<()>>,
}

/// Building may take a fifth of the thread's time: it waits four times as long as it took.
const REST: u32 = 4;
/// Shortest time between two builds, so that a burst of small changes is one.
const SHORTEST_REST: Duration = Duration::from_millis(5);
/// A picture of everything comes in parts; when none has come for so long, that was the last one.
const QUIET: Duration = Duration::from_millis(500);
/// How long after a change the cache is written: the changes of a rollout are to be one.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// Shortest time between two writes.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often what is unused is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How often a control plane that does not know the own pod yet is asked about it.
const OWN_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a pod went it is asked which ones have come: those of a rollout are to be one.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

// === impl Picture ===

impl Picture {
    /// The picture at the start: what the cache says, in `store` at once.
    #[must_use]
    pub fn new(
        settings: Settings,
        store: MeshStore,
        publisher: Publisher,
        status: Status,
        now: Instant,
    ) -> Self {
        let wildcard = settings.wildcard;
        let mut picture = Self {
            client: Client::new(settings.node.clone(), wildcard),
            book: Book::new(&settings.network),
            settings,
            store,
            publisher,
            status,
            answered: BTreeSet::new(),
            modes: None,
            knows_own: false,
            cache_from: None,
            is_behind: true,
            apply_at: None,
            last_applied: None,
            save_at: None,
            last_saved: None,
            sweep_at: now + SWEEP_INTERVAL,
            again_at: None,
            complete_at: None,
            is_complete: false,
            waiting: Vec::new(),
        };
        picture.restore(now);
        if !wildcard {
            for address in picture.settings.own.addresses.clone() {
                let (client, book) = (&mut picture.client, &mut picture.book);
                book.pin(address.to_canonical(), client, now);
            }
        }
        picture.status.change(|report| report.wildcard = wildcard);
        picture.apply(now);
        picture
    }

    /// Where the mesh is.
    #[must_use]
    pub fn store(&self) -> &MeshStore {
        &self.store
    }

    /// The client's side of the stream.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Whether the control plane has said in this life all that a sidecar needs to be ready.
    #[must_use]
    pub fn is_told(&self) -> bool {
        let is_answered = |kind| self.client.is_answered(kind) && self.answered.contains(&kind);
        let policies = if self.is_foreign() {
            self.knows_own
        } else {
            [Kind::Settings, Kind::PeerAuthentication]
                .into_iter()
                .all(is_answered)
        };
        let mut addresses = self.settings.own.addresses.iter();
        let own = if self.settings.wildcard {
            self.is_complete
        } else {
            addresses.all(|address| self.book.is_answered(address.to_canonical()))
        };
        // Who wants nothing is told nothing.
        let is_silent = self
            .client
            .names(Kind::Address)
            .is_some_and(BTreeSet::is_empty);
        let addresses = is_silent || self.client.is_answered(Kind::Address);
        policies && own && addresses && !self.is_behind
    }

    /// What keeps the sidecar from being ready although the control plane answers, if that is so.
    #[must_use]
    pub fn awaited(&self) -> Option<&'static str> {
        self.awaits_own().then_some(
            "the control plane answers and does not tell of this pod, whose policies are therefore not known; does it see the pod's \
             namespace, and serve workloads (PILOT_ENABLE_AMBIENT of istiod)?",
        )
    }

    /// Where the cache is.
    #[must_use]
    pub fn cache_path(&self) -> Option<PathBuf> {
        self.settings.cache.clone()
    }

    /// When the cache was written that is in use for want of an answer.
    #[must_use]
    pub fn cache_from(&self) -> Option<SystemTime> {
        self.cache_from
    }

    /// Takes a response.
    ///
    /// # Errors
    /// When nobody asked for its type.
    pub fn take(&mut self, response: DeltaDiscoveryResponse, now: Instant) -> Result<(), Unasked> {
        let server = self.client.server();
        let (version, identifier) = (
            super::source::shown(&response.system_version_info),
            super::source::shown(identifier(&response)),
        );
        let Settings { own, network, .. } = &self.settings;
        let mut check = |kind, name: &str, body: &[u8]| {
            let checked = match kind {
                Kind::Settings => convert::check_settings(body, own),
                Kind::PeerAuthentication => convert::policy(name, body).map(drop),
                Kind::Address => convert::check_address(name, body, own, network),
            };
            checked.map_err(|refusal| chain(&refusal).to_string())
        };
        let is_partial = response.system_version_info == wire::PARTIAL;
        let taken = self.client.take(response, &mut check)?;
        self.is_behind |= self.client.server() != server;
        if let Some(reason) = &taken.reason {
            error!(kind = taken.kind.as_str(), %reason, "resources of discovery are refused");
            let label = KindLabels {
                r#type: taken.kind.as_str(),
            };
            let refused = self.status.metrics.refused.get_or_create(&label);
            refused.inc_by(taken.refused.len() as u64);
        }
        self.note_answer(&taken, is_partial, now);
        self.status.change(|report| {
            report.identifier = identifier;
            let kinds = &mut report.kinds;
            let of_kind = kinds.iter_mut().find(|of| of.kind == taken.kind.as_str());
            if let Some(of_kind) = of_kind {
                of_kind.version = version;
                of_kind.refusal.clone_from(&taken.reason);
            }
        });
        self.catch_up(now);
        self.await_own(now);
        Ok(())
    }

    /// When there is something to do next.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        let all = [self.apply_at, self.save_at, self.complete_at, self.again_at];
        let earliest = all.into_iter().flatten().min();
        earliest.map_or(self.sweep_at, |at| at.min(self.sweep_at))
    }

    /// Does what is due; gives back what is to be written to the cache.
    pub fn tick(&mut self, now: Instant) -> Option<Contents> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.complete_at) {
            self.complete_at = None;
            self.is_complete = true;
        }
        if is_due(self.again_at) {
            self.again_at = None;
            self.book.ask_again_soon(&mut self.client);
        }
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
        self.catch_up(now);
        self.await_own(now);
        if is_due(self.save_at) {
            self.save_at = None;
            self.last_saved = Some(now);
            return Some(self.contents());
        }
        None
    }

    /// The stream has ended.
    pub fn lost(&mut self) {
        self.client.restart();
        self.report();
    }

    fn sweep(&mut self, now: Instant) {
        if self.settings.wildcard {
            return;
        }
        self.is_behind |= self.book.sweep(&mut self.client, now);
        if self.is_foreign() {
            self.book.ask_again(&mut self.client);
        }
    }

    /// Whether the control plane knows addresses alone.
    fn is_foreign(&self) -> bool {
        self.client.server() == Some(Server::Foreign)
    }

    /// Whether the control plane, by what it has said, does not know the own pod, and would not say that it comes to be.
    fn awaits_own(&self) -> bool {
        let has_spoken = self.client.is_answered(Kind::Address) && !self.is_behind;
        has_spoken && self.is_foreign() && !self.knows_own
    }

    fn await_own(&mut self, now: Instant) {
        if self.awaits_own() {
            self.ask_again_at(now + OWN_INTERVAL);
        }
    }

    fn ask_again_at(&mut self, at: Instant) {
        if !self.settings.wildcard && self.again_at.is_none_or(|other| at < other) {
            self.again_at = Some(at);
        }
    }

    fn note_answer(&mut self, taken: &Taken, is_partial: bool, now: Instant) {
        // What was refused may be the very thing that forbids something.
        if taken.refused.is_empty() && self.answered.insert(taken.kind) {
            self.is_behind = true;
        }
        self.is_behind |= taken.is_changed;
        if self.settings.wildcard {
            if taken.kind == Kind::Address && !self.is_complete {
                // Ours says which part is the last; another one shows it by saying nothing more.
                self.is_complete = !self.is_foreign() && !is_partial;
                self.complete_at = (!self.is_complete && !is_partial).then_some(now + QUIET);
            }
        } else {
            self.book.hear(taken, &mut self.client);
            if self.is_foreign() && taken.is_changed && !taken.removed.is_empty() {
                self.ask_again_at(now + AGAIN_AFTER);
            }
        }
        if taken.is_changed {
            self.save_later(now);
        }
    }

    fn save_later(&mut self, now: Instant) {
        if self.settings.cache.is_some() && self.save_at.is_none() {
            let earliest = self.last_saved.map(|at| at + SAVE_INTERVAL);
            let soon = now + SAVE_AFTER;
            self.save_at = Some(earliest.map_or(soon, |at| at.max(soon)));
        }
    }

    /// Builds the mesh if something has changed and enough time has passed, and tells who waits.
    fn catch_up(&mut self, now: Instant) {
        if self.is_behind {
            let rested = |(at, took): (Instant, Duration)| at + (took * REST).max(SHORTEST_REST);
            let at = self.last_applied.map_or(now, rested);
            if at > now {
                self.apply_at = Some(at);
                return;
            }
            self.apply(now);
        }
        self.publish(now);
    }

    /// The control plane has said everything that the cache could say.
    pub(super) fn leave_cache(&mut self) {
        if self.cache_from.take().is_some() {
            self.report();
        }
    }
}

//! All that discovery has told, and the mesh that is made of it.
//!
//! [`run`](super::run) brings responses and questions; when something has changed the mesh is built anew, at most for a fifth of the
//! time of the thread, then the data plane is told which addresses are settled, and whoever waits for one goes on: in this order, so
//! that nobody takes an address for nobody's because its pod is not in the mesh yet. A start begins with the cache, and as long as
//! nobody has said which ports take plain text, none of them does.

mod build;
mod cached;
mod report;

use std::{
    collections::BTreeSet,
    mem,
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
    client::{Client, Kind, Taken, Unasked},
    convert,
    demand::{Answers, Publisher, Question},
    status::{KindLabels, ResultLabels, Status},
};
use crate::mesh::{MeshStore, Own};

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
    /// Whether the control plane does not know our own types; nothing before it has said who it is.
    is_foreign: Option<bool>,
    cache_from: Option<SystemTime>,
    /// Whether the mesh is not what is held.
    is_behind: bool,
    apply_at: Option<Instant>,
    last_applied: Option<(Instant, Duration)>,
    save_at: Option<Instant>,
    last_saved: Option<Instant>,
    sweep_at: Instant,
    /// When the first picture of everything is complete, unless more of it comes.
    complete_at: Option<Instant>,
    is_complete: bool,
    /// Who waits for it.
    waiting: Vec<oneshot::Sender<()>>,
}

/// First words of our own control plane's name for itself.
const OURS: &str = "minimesh";
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
            is_foreign: None,
            cache_from: None,
            is_behind: true,
            apply_at: None,
            last_applied: None,
            save_at: None,
            last_saved: None,
            sweep_at: now + SWEEP_INTERVAL,
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
        let mut ours = [Kind::Settings, Kind::PeerAuthentication].into_iter();
        let is_answered = |kind| self.client.is_answered(kind) && self.answered.contains(&kind);
        let ours = self.is_foreign == Some(true) || ours.all(is_answered);
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
        ours && own && addresses && !self.is_behind
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
        let identifier = response.control_plane.as_ref();
        let identifier = identifier.map_or("", |plane| plane.identifier.as_str());
        let is_foreign = !identifier.starts_with(OURS);
        self.is_behind |= self.is_foreign.replace(is_foreign) != Some(is_foreign);
        let (version, identifier) = (
            super::source::shown(&response.system_version_info),
            super::source::shown(identifier),
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
        Ok(())
    }

    /// Takes a question of a worker.
    pub fn ask(&mut self, question: Question, now: Instant) {
        match question {
            Question::Used(addresses) => self.book.use_all(&addresses, now),
            Question::Who { settled, .. } if self.settings.wildcard => {
                if self.is_complete {
                    let _ = settled.send(());
                } else {
                    self.waiting.retain(|waiting| !waiting.is_closed());
                    self.waiting.push(settled);
                }
            }
            Question::Who { address, settled } => {
                if !self.book.ask(address, settled, &mut self.client, now) {
                    self.count_questions("refused", 1);
                }
            }
        }
    }

    /// Does what the questions at hand have made possible.
    pub fn answer(&mut self, now: Instant) {
        self.catch_up(now);
    }

    /// When there is something to do next.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        let all = [self.apply_at, self.save_at, self.complete_at];
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
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
        self.catch_up(now);
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
        if self.is_foreign == Some(true) {
            self.book.ask_again(&mut self.client);
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
                self.is_complete = self.is_foreign == Some(false) && !is_partial;
                self.complete_at = (!self.is_complete && !is_partial).then_some(now + QUIET);
            }
        } else {
            self.book.hear(taken, &mut self.client);
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

    /// Tells the data plane what is settled, and whoever waits for it. Never before the mesh knows as much.
    fn publish(&mut self, now: Instant) {
        if self.is_behind {
            return;
        }
        if self.settings.wildcard {
            if self.is_complete {
                self.publisher.publish(Answers::Every);
                let waiting = mem::take(&mut self.waiting);
                self.count_questions("answered", waiting.len() as u64);
                for waiting in waiting {
                    let _ = waiting.send(());
                }
            }
            return;
        }
        if let Some(settled) = self.book.settled() {
            self.publisher.publish(Answers::These(settled));
            self.save_later(now);
        }
        let (somebody, nobody) = self.book.release();
        self.count_questions("somebody", somebody);
        self.count_questions("nobody", nobody);
    }

    fn count_questions(&self, result: &'static str, n: u64) {
        if n > 0 {
            let questions = &self.status.metrics.questions;
            questions.get_or_create(&ResultLabels { result }).inc_by(n);
        }
    }

    /// The control plane has said everything that the cache could say.
    pub(super) fn leave_cache(&mut self) {
        if self.cache_from.take().is_some() {
            self.report();
        }
    }
}

//! Which namespaces have what is published, and which is to be given it next.
//!
//! Fed by the publisher with what the watches see and how writes end, asked by it for the next write. Pure: time comes in as an argument.
//! Nothing is due before both lists are whole, so a namespace is never written to only because its ConfigMap has not been listed yet.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use contract::control_plane::WITHOUT_ROOT_CERT;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::runtime::watcher::Event;
use tokio::time::Instant;

use crate::cluster::{
    listed::{Listed, Touched, map},
    namespaces::Space,
    pace::{Pace, Tempo},
};

/// How fast a namespace may be written to, whatever comes of a write.
const TEMPO: Tempo = Tempo {
    shortest: Duration::from_millis(500),
    longest: Duration::from_secs(60),
};

/// What a ConfigMap holds, in a few bytes: hashes of its bundle and of each of its owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Print {
    bundle: u64,
    owners: Vec<u64>,
}

/// A ConfigMap that a watch has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its namespace.
    pub(super) space: Box<str>,
    /// What it holds.
    pub(super) print: Print,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write to this namespace, which has no ConfigMap if it is `absent`.
    Write {
        /// The namespace.
        name: Box<str>,
        /// Whether it has none, as far as known.
        absent: bool,
    },
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing until something changes.
    Nothing,
}

/// The state of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    wanted: Option<Print>,
    spaces: Listed<bool>,
    found: Listed<Print>,
    /// Namespaces that lack it and are not being written to.
    due: BTreeSet<Box<str>>,
    busy: HashSet<Box<str>>,
    paces: HashMap<Box<str>, Pace>,
    failing: HashSet<Box<str>>,
}

// === impl Print ===

impl Print {
    /// What a ConfigMap with this bundle and this owner holds; of an empty bundle it holds nothing, and need not be there.
    pub(super) fn wanted(bundle: &str, owner: Option<&OwnerReference>) -> Self {
        if bundle.is_empty() {
            return Self::default();
        }
        Self {
            bundle: hash(bundle),
            owners: owner.map(hash_owner).into_iter().collect(),
        }
    }

    /// What `object` holds by `key`.
    pub(super) fn of(object: &ConfigMap, key: &str) -> Self {
        let bundle = object.data.as_ref().and_then(|data| data.get(key));
        let owners = object.metadata.owner_references.iter().flatten();
        Self {
            bundle: bundle
                .map(|bundle| hash(bundle.as_str()))
                .unwrap_or_default(),
            owners: owners.map(hash_owner).collect(),
        }
    }

    /// Whether there is nothing to be held.
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds all that is `wanted`.
    pub(super) fn has(&self, wanted: &Self) -> bool {
        self.bundle == wanted.bundle
            && wanted
                .owners
                .iter()
                .all(|owner| self.owners.contains(owner))
    }
}

fn hash(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn hash_owner(owner: &OwnerReference) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&owner.api_version, &owner.kind, &owner.name, &owner.uid).hash(&mut hasher);
    hasher.finish()
}

// === impl Found ===

impl Found {
    pub(super) fn of(object: &ConfigMap, key: &str) -> Self {
        Self {
            space: object.metadata.namespace.clone().unwrap_or_default().into(),
            print: Print::of(object, key),
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// Every namespace is to have this.
    pub(super) fn desire(&mut self, wanted: Print) {
        self.wanted = Some(wanted);
        self.review_all();
    }

    /// Whether this is what every namespace is to have.
    pub(super) fn desires(&self, print: &Print) -> bool {
        self.wanted.as_ref() == Some(print)
    }

    /// A namespace came, changed or went; its value is whether it can be written to.
    pub(super) fn spaces(&mut self, event: Event<Space>) {
        let event = map(event, |space| {
            let open = !space.terminating && !WITHOUT_ROOT_CERT.contains(&&*space.name);
            (space.name, open)
        });
        let touched = self.spaces.observe(event);
        self.touch(touched);
    }

    /// A ConfigMap came, changed or went.
    pub(super) fn config_maps(&mut self, event: Event<Found>) {
        let touched = self
            .found
            .observe(map(event, |found| (found.space, found.print)));
        self.touch(touched);
    }

    /// The next write, which counts as begun.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let mut wait: Option<Instant> = None;
        let mut ready = None;
        for name in &self.due {
            match self.paces.get(name).and_then(|pace| pace.not_before(now)) {
                Some(until) => {
                    wait = Some(wait.map_or(until, |wait| wait.min(until)));
                }
                None => {
                    ready = Some(name.clone());
                    break;
                }
            }
        }
        match (ready, wait) {
            (Some(name), _) => {
                self.due.remove(&name);
                self.busy.insert(name.clone());
                let absent = !self.found.known.contains_key(&name);
                Next::Write { name, absent }
            }
            (None, Some(until)) => Next::Wait(until),
            (None, None) => {
                self.paces.retain(|_, pace| !pace.is_forgotten(now));
                Next::Nothing
            }
        }
    }

    /// The namespace has this now. The watch will say the same, but maybe after the next question.
    pub(super) fn written(&mut self, name: &str, print: Print, now: Instant) {
        self.found.known.insert(name.into(), print);
        self.failing.remove(name);
        self.end(name, Some(now));
    }

    /// The namespace or its ConfigMap is gone.
    pub(super) fn gone(&mut self, name: &str) {
        self.failing.remove(name);
        self.busy.remove(name);
        // What is wrong with this the watches will tell.
        if self.found.known.remove(name).is_some() {
            self.review(name);
        }
    }

    /// Somebody else wrote at the same time.
    pub(super) fn again(&mut self, name: &str, now: Instant) {
        // What is there is not what was known.
        self.found.known.insert(name.into(), Print::default());
        self.end(name, Some(now));
    }

    /// It did not work, and may not for a while.
    pub(super) fn failed(&mut self, name: &str, now: Instant) {
        self.failing.insert(name.into());
        self.end(name, Some(now));
    }

    /// It could not even be tried.
    pub(super) fn untried(&mut self, name: &str) {
        self.end(name, None);
    }

    /// Namespaces that lack the bundle, those that are being written to included.
    pub(super) fn n_pending(&self) -> usize {
        self.due.len() + self.busy.len()
    }

    /// Namespaces whose last write failed.
    pub(super) fn n_failing(&self) -> usize {
        self.failing.len()
    }

    fn end(&mut self, name: &str, paced: Option<Instant>) {
        self.busy.remove(name);
        if let Some(now) = paced {
            let pace = self.paces.entry(name.into());
            pace.or_insert_with(|| Pace::new(&TEMPO)).attempted(now);
        }
        self.review(name);
    }

    fn touch(&mut self, touched: Touched) {
        match touched {
            Touched::Nothing => {}
            Touched::One(name) => self.review(&name),
            Touched::All => self.review_all(),
        }
    }

    fn review_all(&mut self) {
        let names = self.spaces.known.keys().cloned().collect::<Vec<_>>();
        self.due.retain(|name| self.spaces.known.contains_key(name));
        self.failing
            .retain(|name| self.spaces.known.contains_key(name));
        for name in names {
            self.review(&name);
        }
    }

    fn review(&mut self, name: &str) {
        if self.lacks(name) && !self.busy.contains(name) {
            self.due.insert(name.into());
        } else {
            self.due.remove(name);
        }
        if !self.spaces.known.contains_key(name) {
            self.failing.remove(name);
        }
    }

    fn lacks(&self, name: &str) -> bool {
        let open = self.spaces.known.get(name).copied().unwrap_or(false);
        let whole = self.spaces.whole && self.found.whole;
        match &self.wanted {
            Some(wanted) if open && whole => match self.found.known.get(name) {
                Some(found) => !found.has(wanted),
                None => !wanted.is_nothing(),
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

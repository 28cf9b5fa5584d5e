//! A set of things that a watch lists and then follows.
//!
//! The ledgers of those who write one object for each thing keep what they see in a [`Listed`]. It tells what an event has touched, and whether a list has ever been
//! whole: before that, what is missing may only not have been listed yet.

use std::collections::{HashMap, HashSet};

use kube::runtime::watcher::Event;

/// A set that is listed and then followed.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// What there is, by name.
    pub(super) known: HashMap<Box<str>, T>,
    /// Names of the list that is being read.
    listing: Option<HashSet<Box<str>>>,
    /// Whether a list has ever been whole.
    pub(super) whole: bool,
}

/// What an event changed.
pub(super) enum Touched {
    /// Nothing.
    Nothing,
    /// One thing.
    One(Box<str>),
    /// Anything.
    All,
}

// === impl Listed ===

impl<T> Listed<T> {
    /// Takes note of an event.
    pub(super) fn observe(&mut self, event: Event<(Box<str>, T)>) -> Touched {
        match event {
            Event::Init => {
                self.listing = Some(HashSet::new());
                Touched::Nothing
            }
            Event::InitApply((name, value)) => {
                self.listing.get_or_insert_default().insert(name.clone());
                self.known.insert(name.clone(), value);
                Touched::One(name)
            }
            Event::InitDone => {
                if let Some(listed) = self.listing.take() {
                    self.known.retain(|name, _| listed.contains(name));
                }
                self.whole = true;
                Touched::All
            }
            Event::Apply((name, value)) => {
                self.known.insert(name.clone(), value);
                Touched::One(name)
            }
            Event::Delete((name, _)) => {
                self.known.remove(&name);
                Touched::One(name)
            }
        }
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            listing: None,
            whole: false,
        }
    }
}

/// The same event about something else.
pub(super) fn map<A, B>(event: Event<A>, of: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(of(object)),
        Event::Apply(object) => Event::Apply(of(object)),
        Event::Delete(object) => Event::Delete(of(object)),
    }
}

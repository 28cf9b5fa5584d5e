//! The series of one kind: found by key, bounded in number, removed when nothing has changed for long.
//!
//! The worker owns a [`Table`] and finds its series without a lock; scrapes read a [`List`] of the same series, in the same order,
//! whose lock the worker takes only when a series comes or goes. What somebody still holds is never removed, so no count is lost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use super::key::{Key, OwnedKey};

/// Numbers that one worker adds to.
pub(super) trait Series: Default {
    /// Something that differs from before whenever anything was counted.
    fn activity(&self) -> u64;
}

/// The series of a worker, as a scrape sees them.
#[derive(Debug)]
pub(super) struct List<S>(Mutex<Vec<(OwnedKey, Arc<S>)>>);

/// The series of a worker.
#[derive(Debug)]
pub(super) struct Table<S> {
    entries: IndexMap<OwnedKey, Entry<S>, DefaultHashBuilder>,
    limit: usize,
    /// Where the next sweep goes on.
    next: usize,
}

#[derive(Debug)]
struct Entry<S> {
    series: Arc<S>,
    /// What the last sweep saw, and since when.
    activity: u64,
    since: Instant,
}

/// Where something is counted.
pub(super) struct Place<'a, S> {
    pub(super) series: &'a Arc<S>,
    /// It is counted together with others because there are too many series.
    pub(super) is_overflow: bool,
}

/// Places beyond the limit for series of everybody, which still tell services' answers apart.
const RESERVE: usize = 64;
/// Series that one sweep looks at; a sweep a second sees 500 of them in 16 seconds.
const PER_SWEEP: usize = 32;
/// How often a series is held besides by whoever uses it: by the table and by the list.
const OWN_HOLDERS: usize = 2;

// === impl List ===

impl<S> List<S> {
    /// The series of this moment.
    pub(super) fn series(&self) -> Vec<(OwnedKey, Arc<S>)> {
        self.change(|list| list.clone())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Vec<(OwnedKey, Arc<S>)>) -> R) -> R {
        // Nothing can leave the list half changed.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Default for List<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

// === impl Table ===

impl<S: Series> Table<S> {
    /// A table that is read through `list` and holds about `limit` series.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: IndexMap::default(),
            limit,
            next: 0,
        }
    }

    /// The series of `key`, or one that it shares with others where there are too many.
    pub(super) fn find(&mut self, key: Key<'_>, list: &List<S>) -> Place<'_, S> {
        let (index, is_overflow) = match self.entries.get_index_of(&key) {
            Some(index) => (index, false),
            None if self.entries.len() < self.limit => (self.insert(key, list), false),
            None => (self.overflow(key, list), true),
        };
        Place {
            series: &self.entries[index].series,
            is_overflow,
        }
    }

    fn overflow(&mut self, key: Key<'_>, list: &List<S>) -> usize {
        let anybody = key.of_anybody();
        if let Some(index) = self.entries.get_index_of(&anybody) {
            return index;
        }
        if self.entries.len() < self.limit.saturating_add(RESERVE) {
            return self.insert(anybody, list);
        }
        // There are only as many of these as combinations of flags.
        let anything = anybody.of_any_code();
        match self.entries.get_index_of(&anything) {
            Some(index) => index,
            None => self.insert(anything, list),
        }
    }

    fn insert(&mut self, key: Key<'_>, list: &List<S>) -> usize {
        let series = Arc::new(S::default());
        list.change(|list| list.push((key.to_owned(), Arc::clone(&series))));
        let entry = Entry {
            activity: series.activity(),
            series,
            since: Instant::now(),
        };
        self.entries.insert_full(key.to_owned(), entry).0
    }

    /// Looks at some series and removes those that have not changed for `age` and are held by nobody else.
    pub(super) fn sweep(&mut self, now: Instant, age: Duration, list: &List<S>) {
        for _ in 0..PER_SWEEP.min(self.entries.len()) {
            let Some((_, entry)) = self.entries.get_index_mut(self.next) else {
                self.next = 0;
                continue;
            };
            let activity = entry.series.activity();
            if activity != entry.activity {
                entry.activity = activity;
                entry.since = now;
            }
            let is_held = Arc::strong_count(&entry.series) > OWN_HOLDERS;
            if is_held || now.saturating_duration_since(entry.since) < age {
                self.next += 1;
                continue;
            }
            // Both move their last one here, which keeps them in the same order.
            self.entries.swap_remove_index(self.next);
            let index = self.next;
            list.change(|list| {
                list.swap_remove(index);
                if list.len() < list.capacity() / 4 {
                    list.shrink_to_fit();
                }
            });
            if self.entries.len() < self.entries.capacity() / 4 {
                self.entries.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Which of the things that are said become writes.
//!
//! The writer asks the [`Ledger`] about each notice. The first of its kind, one object and one reason, is written at once; the same again
//! within [`PERIOD`] is only counted, and the count is written when the period is over. Pure, and bounded whatever is said.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::Notice;

/// How long the same is not written again.
pub(super) const PERIOD: Duration = Duration::from_secs(300);
/// Different notes that one object is told for one reason in a period: somebody who corrects one mistake after the other sees each of them.
const MAX_NOTES: usize = 8;
/// Objects and reasons that are remembered, at some 200 bytes each; beyond that the oldest is forgotten, and may be told again.
const MAX_ENTRIES: usize = 1024;

/// What has been said lately.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Key, Entry>,
}

/// An object and a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// Where an Event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An Event that something more is to be counted in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeats {
    pub(super) place: Place,
    pub(super) n_times: i32,
}

#[derive(Debug)]
struct Entry {
    last_write: Instant,
    /// Hashes of what was written since the period began.
    notes: Vec<u64>,
    /// How often it came again without being written.
    n_folded: i32,
    /// Where it was written last.
    place: Option<Place>,
}

// === impl Ledger ===

impl Ledger {
    /// The key under which `notice` is to be written now, or nothing if it is only counted.
    pub(super) fn hear(&mut self, notice: &Notice, now: Instant) -> Option<Key> {
        let key = Key(hash(&(&notice.about, &notice.reason)));
        let note = hash(&notice.note);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.make_room(now);
            let entry = Entry {
                last_write: now,
                notes: vec![note],
                n_folded: 0,
                place: None,
            };
            self.entries.insert(key, entry);
            return Some(key);
        };
        if entry.is_over(now) && entry.n_folded == 0 {
            entry.notes.clear();
        }
        if entry.notes.contains(&note) || entry.notes.len() >= MAX_NOTES {
            entry.n_folded = entry.n_folded.saturating_add(1);
            return None;
        }
        entry.last_write = now;
        entry.notes.push(note);
        Some(key)
    }

    /// What was heard under `key` is written at `place`.
    pub(super) fn written(&mut self, key: Key, place: Place) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.place = Some(place);
        }
    }

    /// What was heard under `key` could not be written: the next time it is tried as if nothing had been said.
    pub(super) fn failed(&mut self, key: Key) {
        self.entries.remove(&key);
    }

    /// What is to be counted in Events whose period is over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Repeats> {
        self.forget(now);
        let mut due = Vec::new();
        for entry in self.entries.values_mut() {
            if !entry.is_over(now) || entry.n_folded == 0 {
                continue;
            }
            let n_times = std::mem::take(&mut entry.n_folded);
            entry.last_write = now;
            if let Some(place) = entry.place.clone() {
                due.push(Repeats { place, n_times });
            }
        }
        due
    }

    fn make_room(&mut self, now: Instant) {
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        self.forget(now);
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        let oldest = self
            .entries
            .iter()
            .min_by_key(|(_, entry)| entry.last_write);
        if let Some((&key, _)) = oldest {
            self.entries.remove(&key);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.entries
            .retain(|_, entry| !entry.is_over(now) || entry.n_folded > 0);
    }
}

// === impl Entry ===

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_write) >= PERIOD
    }
}

/// The same in every replica, because it also becomes part of names.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::events::{Object, Severity};

    fn notice(name: &str, reason: &str, note: &str) -> Notice {
        Notice {
            about: Object::core("Pod", "shop", name),
            severity: Severity::Warning,
            reason: reason.to_owned(),
            action: "Inject",
            note: note.to_owned(),
        }
    }

    fn place(name: &str) -> Place {
        Place {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn the_same_is_written_once_and_counted_until_the_period_is_over() {
        let mut ledger = Ledger::default();
        let begin = Instant::now();
        let same = notice("web", "HostNetwork", "a");
        let key = ledger.hear(&same, begin).expect("the first is written");
        ledger.written(key, place("web.1"));
        for _ in 0..40 {
            assert_eq!(ledger.hear(&same, begin), None);
        }
        assert_eq!(ledger.due(begin), []);
        let later = begin + PERIOD;
        let repeats = Repeats {
            place: place("web.1"),
            n_times: 40,
        };
        assert_eq!(ledger.due(later), [repeats]);
        assert_eq!(ledger.due(later), []);
        // Nothing more is heard, so nothing is kept.
        assert_eq!(ledger.due(later + PERIOD), []);
        assert!(ledger.entries.is_empty());
        assert!(ledger.hear(&same, later + PERIOD).is_some());
    }

    #[test]
    fn other_objects_reasons_and_notes_are_written_up_to_a_bound() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        for (name, reason, note) in [
            ("web", "HostNetwork", "a"),
            ("db", "HostNetwork", "a"),
            ("web", "Windows", "a"),
            ("web", "HostNetwork", "b"),
        ] {
            assert!(ledger.hear(&notice(name, reason, note), now).is_some());
        }
        let n_written = (0..100)
            .filter(|idx| {
                let notice = notice("bad", "InjectionRefused", &idx.to_string());
                ledger.hear(&notice, now).is_some()
            })
            .count();
        assert_eq!(n_written, MAX_NOTES);
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let same = notice("web", "HostNetwork", "a");
        let key = ledger.hear(&same, now).expect("it is written");
        ledger.failed(key);
        assert!(ledger.hear(&same, now).is_some());
    }

    #[test]
    fn whatever_is_said_memory_is_bounded() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        for idx in 0..3 * MAX_ENTRIES {
            let now = now + Duration::from_millis(u64::try_from(idx).unwrap());
            let notice = notice(&format!("web-{idx}"), "HostNetwork", "a");
            assert!(ledger.hear(&notice, now).is_some());
            assert!(ledger.entries.len() <= MAX_ENTRIES);
        }
    }
}

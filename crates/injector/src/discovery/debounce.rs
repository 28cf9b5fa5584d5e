//! When a burst of changes is over.
//!
//! The follower of the cluster notes every change and settles when it is due: some time after the last one, but not longer than a limit after the first.
//! A rollout of many pods so makes few responses, and a cluster that never rests is told of all the same.

use std::time::Duration;

use tokio::time::Instant;

/// How long is waited, as in Istio (`PILOT_DEBOUNCE_AFTER`, `PILOT_DEBOUNCE_MAX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the last change.
    pub after: Duration,
    /// After the first change, at most.
    pub max: Duration,
}

/// A burst of changes, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    pauses: Pauses,
    burst: Option<Burst>,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Instant,
    last: Instant,
}

// === impl Pauses ===

impl Default for Pauses {
    fn default() -> Self {
        Self {
            after: Duration::from_millis(100),
            max: Duration::from_secs(10),
        }
    }
}

// === impl Debounce ===

impl Debounce {
    /// No burst yet.
    #[must_use]
    pub fn new(pauses: Pauses) -> Self {
        Self {
            pauses,
            burst: None,
        }
    }

    /// Something changed.
    pub fn note(&mut self, now: Instant) {
        match &mut self.burst {
            Some(burst) => burst.last = now,
            None => {
                self.burst = Some(Burst {
                    first: now,
                    last: now,
                });
            }
        }
    }

    /// When the burst is over; never if there is none.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let burst = self.burst?;
        let quiet = burst.last + self.pauses.after;
        Some(quiet.min(burst.first + self.pauses.max))
    }

    /// The burst is over; gives how long it took.
    pub fn end(&mut self, now: Instant) -> Duration {
        let burst = self.burst.take();
        burst.map_or(Duration::ZERO, |burst| now.duration_since(burst.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn it_waits_for_quiet_but_not_for_ever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(Pauses {
            after: Duration::from_millis(100),
            max: Duration::from_millis(250),
        });
        assert_eq!(debounce.due(), None);
        debounce.note(start);
        assert_eq!(debounce.due(), Some(at(start, 100)));
        debounce.note(at(start, 90));
        assert_eq!(debounce.due(), Some(at(start, 190)));
        debounce.note(at(start, 180));
        assert_eq!(debounce.due(), Some(at(start, 250)));
        assert_eq!(debounce.end(at(start, 250)), Duration::from_millis(250));
        assert_eq!(debounce.due(), None);
    }
}

//! How fast a stream may ask.
//!
//! Checked before each request is taken: a stream may save up one second's worth of requests, and then waits for each. It hurts nobody else, because
//! what is not taken stays in the client's window of the connection.

use std::time::Duration;

use tokio::time::Instant;

/// The requests that a stream may still make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The time that each request costs.
    cost: Duration,
    /// When what has been spent is paid back.
    paid: Instant,
}

/// How much can be spent in advance.
const SAVED: Duration = Duration::from_secs(1);

// === impl Pace ===

impl Pace {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            cost: SAVED / per_second.max(1),
            paid: now,
        }
    }

    /// When the next request may be taken.
    pub(super) fn resume(&self) -> Instant {
        // An `Instant` cannot always be put a second back; one that is early by a request is near enough.
        self.paid.checked_sub(SAVED).unwrap_or(self.paid)
    }

    /// A request has been taken.
    pub(super) fn spend(&mut self, now: Instant) {
        self.paid = self.paid.max(now) + self.cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_each_request_waits() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::new(10, now);
        for _ in 0..10 {
            assert!(pace.resume() <= now);
            pace.spend(now);
        }
        pace.spend(now);
        let wait = pace.resume().duration_since(now);
        assert_eq!(wait, Duration::from_millis(100));
        let later = now + Duration::from_secs(5);
        pace.spend(later);
        assert!(pace.resume() <= later, "what was saved is there again");
    }
}

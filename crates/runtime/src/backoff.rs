//! Pauses between attempts that fail: each up to twice as long as the one before, up to a limit.
//!
//! Pure: the caller brings chance and does the waiting. Programs that lost the same server at the same moment must not come back at the
//! same moment, so each pause is somewhere between the half and the whole of what it could be.

use std::time::Duration;

/// How long to wait, by how often it has failed.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    n_failed: u32,
}

/// Of [`Backoff::default`]: a server that is being replaced is back in some seconds.
const FIRST: Duration = Duration::from_millis(500);
/// Of [`Backoff::default`]: who waits for a server must not wait much longer than it was away.
const LONGEST: Duration = Duration::from_secs(30);

// === impl Backoff ===

impl Backoff {
    /// Pauses from `first`, at most, after the first failure to `longest`, at most, in the end.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            n_failed: 0,
        }
    }

    /// How long to wait after another failure; `chance` is from 0 to 1.
    pub fn pause(&mut self, chance: f64) -> Duration {
        let doubled = 1_u32.checked_shl(self.n_failed).unwrap_or(u32::MAX);
        self.n_failed = self.n_failed.saturating_add(1);
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// It has worked.
    pub fn reset(&mut self) {
        self.n_failed = 0;
    }

    /// Whether nothing has failed since it worked.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.n_failed == 0
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_fresh());
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        );
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert_eq!(backoff.pause(1.0), FIRST);
    }

    #[test]
    fn chance_takes_off_a_half_at_most_however_often_it_fails() {
        let mut backoff = Backoff::default();
        for chance in [-1.0, 0.0, 0.3, 1.0, 7.0].into_iter().cycle().take(100) {
            let pause = backoff.pause(chance);
            assert!((FIRST / 2..=LONGEST).contains(&pause), "{pause:?}");
        }
        assert_eq!(backoff.pause(0.0), LONGEST / 2);
    }
}

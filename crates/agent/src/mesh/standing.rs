//! How an endpoint is doing, as this sidecar sees it: requests at hand, and whether it has failed lately.
//!
//! Every service port and every later mesh that knows an endpoint's address shares one [`Standing`]; workers write it while they balance.
//! It is no property of the mesh, so two meshes are equal whatever it says.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How an endpoint is doing. All of it may be read while others write; nothing else depends on the order.
#[derive(Debug, Default)]
pub struct Standing {
    n_at_hand: AtomicU32,
    /// In milliseconds since [`START`]; 0 is never.
    ejected_until: AtomicU64,
}

/// How long an endpoint that could not be reached comes after all others: longer than discovery takes to say that it is gone, shorter
/// than anybody would notice one that is back (passive health checking, Envoy's outlier detection).
pub const EJECTION: Duration = Duration::from_secs(5);

/// What moments are counted from, because only a number can be changed by many at once.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

// === impl Standing ===

impl Standing {
    /// Requests at hand at this moment.
    #[must_use]
    pub fn n_at_hand(&self) -> u32 {
        self.n_at_hand.load(Relaxed)
    }

    /// One more request is at hand.
    pub fn begin(&self) {
        self.n_at_hand.fetch_add(1, Relaxed);
    }

    /// A request that was at hand is over.
    pub fn end(&self) {
        self.n_at_hand.fetch_sub(1, Relaxed);
    }

    /// The endpoint could not be reached: for [`EJECTION`] from `now` on it comes after all others.
    pub fn eject(&self, now: Instant) {
        self.ejected_until.store(millis(now + EJECTION), Relaxed);
    }

    /// Whether the endpoint comes after all others at `now`, which is asked for only where it has ever failed.
    #[must_use]
    pub fn is_ejected(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until > 0 && millis(now()) < until
    }
}

fn millis(moment: Instant) -> u64 {
    let since = moment.saturating_duration_since(*START).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ejection_ends_by_itself() {
        let standing = Standing::default();
        assert!(
            !standing.is_ejected(|| panic!("nobody looks at the clock of what has never failed"))
        );
        let now = Instant::now();
        standing.eject(now);
        for (millis, ejected) in [(0, true), (4_900, true), (5_100, false)] {
            let moment = now + Duration::from_millis(millis);
            assert_eq!(standing.is_ejected(|| moment), ejected, "{millis}");
        }
        standing.eject(now + EJECTION);
        assert!(standing.is_ejected(|| now + EJECTION + Duration::from_secs(1)));
    }
}

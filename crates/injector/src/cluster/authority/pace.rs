//! How fast the Secret may be written.
//!
//! The keeper asks a [`Pace`] before each attempt. The first is free; attempts that follow one another get further and further apart,
//! whether they fail or are undone by somebody who wants something else, so no quarrel becomes a storm.

use std::time::Duration;

use tokio::time::Instant;

/// Before the second attempt: a few corrections in a row, as people make them, are undone at once.
const SHORTEST: Duration = Duration::from_millis(250);
/// At most between two attempts: what an outage adds to the time until all is well again.
const LONGEST: Duration = Duration::from_secs(30);
/// After this long without an attempt the next one is free again.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// The time between attempts.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Attempt>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Instant,
    gap: Duration,
}

// === impl Pace ===

impl Pace {
    /// How long to wait before an attempt at `now`; nothing if it may be made.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let last = self.last?;
        let wait = (last.at + last.gap).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// An attempt is made at `now`.
    pub(super) fn attempted(&mut self, now: Instant) {
        let gap = match self.last {
            Some(last) if now.saturating_duration_since(last.at) < FORGOTTEN => {
                (last.gap * 2).min(LONGEST)
            }
            _ => SHORTEST,
        };
        self.last = Some(Attempt { at: now, gap });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_get_further_apart_until_there_is_quiet() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut gaps = Vec::new();
        for _ in 0..9 {
            assert_eq!(pace.wait(now), None);
            pace.attempted(now);
            let gap = pace.wait(now).unwrap();
            gaps.push(gap.as_millis());
            now += gap;
        }
        assert_eq!(
            gaps,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
        now += FORGOTTEN;
        pace.attempted(now);
        assert_eq!(pace.wait(now), Some(SHORTEST));
    }
}

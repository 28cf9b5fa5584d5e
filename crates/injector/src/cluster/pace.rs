//! How fast something may be written again and again.
//!
//! Whoever writes to the API server asks a [`Pace`] before each attempt. The first is free; attempts that follow one another get further and
//! further apart, whether they fail or are undone by somebody who wants something else, so no quarrel becomes a storm.

use std::time::Duration;

use tokio::time::Instant;

/// After this long without an attempt, counted from when one was allowed, the next one is free again.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(120);

/// The bounds of a pace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tempo {
    /// Before the second attempt.
    pub(crate) shortest: Duration,
    /// At most between two attempts.
    pub(crate) longest: Duration,
}

/// The time between attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    tempo: &'static Tempo,
    last: Option<Attempt>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    gap: Duration,
    not_before: Instant,
}

// === impl Pace ===

impl Pace {
    /// A pace without attempts so far.
    pub(crate) fn new(tempo: &'static Tempo) -> Self {
        Self { tempo, last: None }
    }

    /// The moment of the next attempt, if that is after `now`.
    pub(crate) fn not_before(&self, now: Instant) -> Option<Instant> {
        let until = self.last?.not_before;
        (until > now).then_some(until)
    }

    /// How long to wait before an attempt at `now`; nothing if it may be made.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.not_before(now).map(|until| until - now)
    }

    /// An attempt is made at `now`.
    pub(crate) fn attempted(&mut self, now: Instant) {
        let gap = match self.last {
            Some(last) if !self.is_forgotten(now) => (last.gap * 2).min(self.tempo.longest),
            _ => self.tempo.shortest,
        };
        let not_before = now + gap;
        self.last = Some(Attempt { gap, not_before });
    }

    /// Whether the attempts so far are so long ago that they do not count at `now`.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| last.not_before + FORGOTTEN <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPO: Tempo = Tempo {
        shortest: Duration::from_millis(250),
        longest: Duration::from_secs(30),
    };

    #[test]
    fn attempts_get_further_apart_until_there_is_quiet() {
        let mut pace = Pace::new(&TEMPO);
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
        assert!(!pace.is_forgotten(now));
        now += FORGOTTEN;
        assert!(pace.is_forgotten(now));
        pace.attempted(now);
        assert_eq!(pace.wait(now), Some(TEMPO.shortest));
    }
}

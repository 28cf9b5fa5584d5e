//! When a certificate is renewed.
//!
//! Pure: the caller brings clock and chance. Sidecars that started together must not come back together after half a life, so each time
//! varies by chance.

use std::time::{Duration, SystemTime};

/// When a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The part of its life that is left then.
    pub grace: Ratio,
    /// How much that part varies by chance, up and down.
    pub jitter: Ratio,
}

/// A part of a whole, in millionths: 0.5 is 500 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(u32);

const WHOLE: u32 = 1_000_000;
/// However short a certificate lives, this long it is used.
const SHORTEST_USE: Duration = Duration::from_secs(1);

// === impl Renewal ===

impl Renewal {
    /// When to renew a certificate that was received at `received` and ends at `end`; `chance` is from -1 to 1.
    ///
    /// The life counts from when it was received: authorities let it begin earlier, for clocks that are late.
    #[must_use]
    pub fn due(&self, received: SystemTime, end: SystemTime, chance: f64) -> SystemTime {
        let life = end.duration_since(received).unwrap_or_default();
        let grace = self.grace.part() + self.jitter.part() * chance.clamp(-1.0, 1.0);
        let used = life.mul_f64(1.0 - grace.clamp(0.0, 1.0));
        received + used.max(SHORTEST_USE)
    }
}

/// Istio's `SECRET_GRACE_PERIOD_RATIO` and its jitter (`pilot/cmd/pilot-agent/options`).
impl Default for Renewal {
    fn default() -> Self {
        Self {
            grace: Ratio(WHOLE / 2),
            jitter: Ratio(WHOLE / 100),
        }
    }
}

// === impl Ratio ===

impl Ratio {
    /// Reads a number from 0 to 1, `0.5`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part: f64 = text.parse().ok()?;
        // The cast is of a number from 0 to a million.
        (0.0..=1.0)
            .contains(&part)
            .then(|| Self((part * f64::from(WHOLE)).round() as u32))
    }

    fn part(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn half_of_a_life_is_used_and_chance_moves_it_by_a_hundredth() {
        let renewal = Renewal::default();
        let day = START + seconds(86_400);
        assert_eq!(renewal.due(START, day, 0.0), START + seconds(43_200));
        assert_eq!(renewal.due(START, day, 1.0), START + seconds(42_336));
        assert_eq!(renewal.due(START, day, -1.0), START + seconds(44_064));
        let short = START + seconds(120);
        assert_eq!(renewal.due(START, short, 0.0), START + seconds(60));
    }

    #[test]
    fn what_has_hardly_any_life_is_used_for_a_second() {
        let renewal = Renewal::default();
        for end in [START, START + Duration::from_millis(1)] {
            assert_eq!(
                renewal.due(START + seconds(5), end, 0.0),
                START + seconds(6)
            );
        }
    }

    #[test]
    fn only_parts_of_a_whole_are_ratios() {
        for text in ["0", "1", "0.5", "1e-3", ".25"] {
            assert!(Ratio::parse(text).is_some(), "{text}");
        }
        for text in ["", "-0.1", "1.1", "half", "NaN", "inf", "50%"] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn renewal_falls_into_the_life_of_the_certificate(
            life in 2_u64..400_000_000, grace in 0_u32..=WHOLE, jitter in 0_u32..=WHOLE, chance in -1.0..1.0_f64,
        ) {
            let renewal = Renewal { grace: Ratio(grace), jitter: Ratio(jitter) };
            let due = renewal.due(START, START + seconds(life), chance);
            prop_assert!(due >= START + SHORTEST_USE);
            prop_assert!(due <= START + seconds(life));
        }
    }
}

//! A histogram with Envoy's bounds that one thread writes and any thread reads.
//!
//! Workers observe into a [`Histogram`], the collector adds several into a [`Total`].
//! Values are integers in thousandths of the metric's unit, so that counting needs no floating point.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the buckets, Envoy's defaults, in thousandths, so that halves and microseconds are whole numbers.
const BOUNDS: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// One more than the bounds, for everything above the last.
const BUCKETS: usize = BOUNDS.len() + 1;

/// Counts of observations by size.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What several histograms hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Total {
    counts: [u64; BUCKETS],
    sum: u64,
}

// === impl Histogram ===

impl Histogram {
    /// Notes a value, given in thousandths of the metric's unit. Only the owning worker may call it.
    pub(crate) fn observe(&self, thousandths: u64) {
        let at = BOUNDS.partition_point(|bound| *bound < thousandths);
        if let Some(bucket) = self.buckets.get(at) {
            add(bucket, 1);
        }
        add(&self.sum, thousandths);
    }

    /// Adds what is counted here to `total`.
    pub(crate) fn add_to(&self, total: &mut Total) {
        for (sum, bucket) in total.counts.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        total.sum = total.sum.saturating_add(self.sum.load(Relaxed));
    }
}

// === impl Total ===

impl Total {
    /// Number of observations.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the observations, in the metric's unit.
    #[expect(
        clippy::cast_precision_loss,
        reason = "metrics are floating-point numbers on the wire"
    )]
    pub(crate) fn sum(&self) -> f64 {
        self.sum as f64 / 1000.0
    }

    /// Upper bounds, in the metric's unit, and how many observations each bucket alone holds.
    #[expect(clippy::cast_precision_loss, reason = "the bounds are far below 2^52")]
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS
            .iter()
            .map(|bound| *bound as f64 / 1000.0)
            .chain([f64::INFINITY])
            .zip(self.counts)
            .collect()
    }
}

/// Adds without a locked instruction, which is right because one thread writes and the others only read.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_counted_at_the_first_bound_that_holds_it() {
        let histogram = Histogram::default();
        for thousandths in [0, 500, 501, 1_000, 4_000_000_000] {
            histogram.observe(thousandths);
        }
        let mut total = Total::default();
        histogram.add_to(&mut total);
        let filled: Vec<_> = total
            .buckets()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(filled, [(0.5, 2), (1.0, 2), (f64::INFINITY, 1)]);
        assert_eq!(total.count(), 5);
    }
}

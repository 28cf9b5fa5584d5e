//! What is counted of Events.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Family<Labels, Counter>);

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    result: Outcome,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(
    non_camel_case_types,
    reason = "the variants' names are the label's values"
)]
enum Outcome {
    written,
    folded,
    dropped,
    failed,
}

// === impl Metrics ===

impl Metrics {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "minimesh_injector_events",
            "Things said in Events: written, folded into the Event of the same that was written shortly before, dropped because too many waited, or failed",
            metrics.0.clone(),
        );
        for result in [
            Outcome::written,
            Outcome::folded,
            Outcome::dropped,
            Outcome::failed,
        ] {
            drop(metrics.0.get_or_create(&Labels { result }));
        }
        metrics
    }

    pub(super) fn written(&self) {
        self.count(Outcome::written);
    }

    pub(super) fn folded(&self) {
        self.count(Outcome::folded);
    }

    pub(super) fn dropped(&self) {
        self.count(Outcome::dropped);
    }

    pub(super) fn failed(&self) {
        self.count(Outcome::failed);
    }

    fn count(&self, result: Outcome) {
        self.0.get_or_create(&Labels { result }).inc();
    }
}

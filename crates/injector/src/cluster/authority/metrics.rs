//! What is counted of the authority.
//!
//! Names are Istio's where it has the same thing.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::secret::State;

/// Counters and gauges; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    root_expiry: Gauge<i64, AtomicI64>,
    serving_expiry: Gauge<i64, AtomicI64>,
    trouble: Gauge<i64, AtomicI64>,
    writes: Family<WriteLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WriteLabels {
    result: WriteResult,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(
    non_camel_case_types,
    reason = "the variants' names are the label's values"
)]
pub(super) enum WriteResult {
    /// It was done.
    written,
    /// Another replica was faster.
    conflict,
    /// It was refused or not answered.
    failed,
}

// === impl Metrics ===

impl Metrics {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "citadel_server_root_cert_expiry_timestamp",
            "When the root certificate ends, in seconds since 1970",
            metrics.root_expiry.clone(),
        );
        registry.register(
            "minimesh_injector_serving_cert_expiry_timestamp",
            "When the webhook's certificate ends, in seconds since 1970",
            metrics.serving_expiry.clone(),
        );
        registry.register(
            "minimesh_injector_authority_trouble",
            "1 while the authority's Secret cannot be kept in step and the last good state is in use",
            metrics.trouble.clone(),
        );
        registry.register(
            "minimesh_injector_authority_writes",
            "Attempts to write the authority's Secret",
            metrics.writes.clone(),
        );
        metrics
    }

    pub(super) fn serving(&self, state: &State) {
        self.root_expiry
            .set(state.authority.validity().not_after.unix_timestamp());
        self.serving_expiry
            .set(state.pair.validity().not_after.unix_timestamp());
    }

    pub(super) fn trouble(&self, there_is: bool) {
        self.trouble.set(i64::from(there_is));
    }

    pub(super) fn wrote(&self, result: WriteResult) {
        self.writes.get_or_create(&WriteLabels { result }).inc();
    }
}

//! What is counted of the authority.
//!
//! Names are Istio's where it has the same thing.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use time::OffsetDateTime;

use super::secret::State;

/// Counters and gauges; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    root_expiry: Gauge<i64, AtomicI64>,
    root_left: Gauge<i64, AtomicI64>,
    chain_expiry: Gauge<i64, AtomicI64>,
    chain_left: Gauge<i64, AtomicI64>,
    serving_expiry: Gauge<i64, AtomicI64>,
    trouble: Gauge<i64, AtomicI64>,
    revocations_trouble: Gauge<i64, AtomicI64>,
    revocations_end: Gauge<i64, AtomicI64>,
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
            "citadel_server_root_cert_expiry_seconds",
            "How long the root certificate still lives, in seconds; negative when it is over",
            metrics.root_left.clone(),
        );
        registry.register(
            "citadel_server_cert_chain_expiry_timestamp",
            "When the certificate that signs ends, in seconds since 1970",
            metrics.chain_expiry.clone(),
        );
        registry.register(
            "citadel_server_cert_chain_expiry_seconds",
            "How long the certificate that signs still lives, in seconds; negative when it is over",
            metrics.chain_left.clone(),
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
            "minimesh_injector_revocations_trouble",
            "1 while the user's lists of revoked certificates are refused or outdated and the last good ones are in force",
            metrics.revocations_trouble.clone(),
        );
        registry.register(
            "minimesh_injector_revocations_expiry_timestamp",
            "When the first of the lists of revoked certificates is outdated, in seconds since 1970; 0 if there is none",
            metrics.revocations_end.clone(),
        );
        registry.register(
            "minimesh_injector_authority_writes",
            "Attempts to write the authority's Secret",
            metrics.writes.clone(),
        );
        metrics
    }

    pub(super) fn serving(&self, state: &State) {
        let (root, chain) = ends(state);
        self.root_expiry.set(root);
        self.chain_expiry.set(chain);
        self.serving_expiry
            .set(state.pair.validity().not_after.unix_timestamp());
    }

    /// What is left at `now`.
    pub(super) fn at(&self, state: &State, now: OffsetDateTime) {
        let (root, chain) = ends(state);
        self.root_left.set(root - now.unix_timestamp());
        self.chain_left.set(chain - now.unix_timestamp());
    }

    pub(super) fn trouble(&self, there_is: bool) {
        self.trouble.set(i64::from(there_is));
    }

    pub(super) fn revocations(&self, there_is_trouble: bool) {
        self.revocations_trouble.set(i64::from(there_is_trouble));
    }

    pub(super) fn revocations_end(&self, end: Option<OffsetDateTime>) {
        let end = end.map(OffsetDateTime::unix_timestamp);
        self.revocations_end.set(end.unwrap_or_default());
    }

    pub(super) fn wrote(&self, result: WriteResult) {
        self.writes.get_or_create(&WriteLabels { result }).inc();
    }
}

/// When the root ends, of several the last one, and when the certificate that signs does; in seconds since 1970.
fn ends(state: &State) -> (i64, i64) {
    let own = state.authority.validity().not_after;
    let roots = state.authority.roots().certificates();
    let root = roots.map(|(_, validity)| validity.not_after).max();
    let root = root.unwrap_or(own);
    (root.unix_timestamp(), own.unix_timestamp())
}

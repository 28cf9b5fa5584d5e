//! What the certificate service counts, by Istio's names.
//!
//! These are gauges that only rise: OpenMetrics would append `_total` to a counter, and Istio's names have none.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds in seconds: a signature takes a tenth of a millisecond, or several with RSA, and a storm of a thousand waits its turn.
const TIME_BUCKETS: [f64; 10] = [
    0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0,
];

/// Counts; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) requests: Gauge,
    pub(super) unreadable: Gauge,
    pub(super) issued: Gauge,
    failed: Family<ErrorLabels, Gauge>,
    pub(super) time: Histogram,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorLabels {
    error: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Counts at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "citadel_server_csr_count",
            "Signing requests of workloads",
            metrics.requests.clone(),
        );
        registry.register(
            "citadel_server_csr_parsing_err_count",
            "Signing requests that cannot be read, or whose key or signature is refused",
            metrics.unreadable.clone(),
        );
        registry.register(
            "citadel_server_csr_sign_err_count",
            "Signing requests that could not be granted for another reason",
            metrics.failed.clone(),
        );
        registry.register(
            "citadel_server_success_cert_issuance_count",
            "Certificates issued to workloads",
            metrics.issued.clone(),
        );
        registry.register(
            "minimesh_injector_certificate_issuance_seconds",
            "Time from a signing request to the certificate, waiting for its turn included",
            metrics.time.clone(),
        );
        metrics
    }

    /// A request was not granted because of `error`, one of a fixed set of codes.
    pub(super) fn failed(&self, error: &'static str) {
        self.failed.get_or_create(&ErrorLabels { error }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Gauge::default(),
            unreadable: Gauge::default(),
            issued: Gauge::default(),
            failed: Family::default(),
            time: Histogram::new(TIME_BUCKETS),
        }
    }
}

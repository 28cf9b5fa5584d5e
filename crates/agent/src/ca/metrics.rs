//! How often the authority was asked, by the names of Istio's agent (`security/pkg/nodeagent/cache`).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// Counts of requests; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
    milliseconds: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    /// A request is sent, after others have failed or not.
    pub(super) fn sent(&self, is_retry: bool) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0
            .retries
            .fetch_add(u64::from(is_retry), Ordering::Relaxed);
    }

    /// It was answered, or given up.
    pub(super) fn ended(&self, took: Duration, is_failed: bool) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.0.milliseconds.fetch_add(took, Ordering::Relaxed);
        self.0
            .failed
            .fetch_add(u64::from(is_failed), Ordering::Relaxed);
    }
}

/// Istio's names do not end in `_total`, so these are sums of no declared kind.
impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = &self.0;
        let families = [
            (
                "istio_agent_num_outgoing_requests",
                "Requests to the certificate authority",
                &counts.requests,
            ),
            (
                "istio_agent_num_failed_outgoing_requests",
                "Requests to the certificate authority that gave no certificate",
                &counts.failed,
            ),
            (
                "istio_agent_num_outgoing_retries",
                "Requests to the certificate authority after one that failed",
                &counts.retries,
            ),
            (
                "istio_agent_outgoing_latency",
                "Milliseconds that all requests to the certificate authority took together",
                &counts.milliseconds,
            ),
        ];
        for (name, help, count) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Unknown)?;
            // Exact up to 2^53.
            let sum = ConstGauge::new(count.load(Ordering::Relaxed) as f64);
            sum.encode(family.encode_family(&[("request_type", "csr")])?)?;
        }
        Ok(())
    }
}

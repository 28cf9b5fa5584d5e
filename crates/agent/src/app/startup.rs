//! How long the sidecar took to be ready: `istio_agent_startup_duration_seconds`.
//!
//! `app` begins the watch before it reads anything, so certificate and first picture of the mesh are part of the time. Until then, and for a sidecar that never
//! becomes ready, there is no sample.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::{Registry, Unit},
};
use runtime::{readiness::Readiness, task::Group};
use tracing::info;

/// A start that is being timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

/// What the start took, once it is over.
#[derive(Clone, Debug, Default)]
struct Took(Arc<OnceLock<Duration>>);

// === impl Stopwatch ===

impl Stopwatch {
    /// Begins now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Writes down when `readiness` is complete for the first time.
    pub(super) fn follow(self, readiness: &Readiness, group: &Group, registry: &mut Registry) {
        let took = Took::default();
        registry.register_collector(Box::new(took.clone()));
        let (readiness, token) = (readiness.clone(), group.token().clone());
        group.spawn("start", async move {
            let ready = token.run_until_cancelled(readiness.ready()).await;
            if ready.is_some() {
                let elapsed = *took.0.get_or_init(|| self.0.elapsed());
                info!(took_ms = elapsed.as_millis(), "ready");
            }
        });
    }
}

// === impl Took ===

impl Collector for Took {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(took) = self.0.get() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(took.as_secs_f64());
        let encoder = encoder.encode_descriptor(
            "istio_agent_startup_duration",
            "Time from the start of the program until it was ready for the first time",
            Some(&Unit::Seconds),
            gauge.metric_type(),
        )?;
        gauge.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn page(registry: &Registry) -> String {
        let mut page = String::new();
        text::encode(&mut page, registry).unwrap();
        page
    }

    #[tokio::test]
    async fn the_time_is_there_once_the_sidecar_is_ready_and_stays() {
        const NAME: &str = "istio_agent_startup_duration_seconds ";
        let (readiness, group) = (Readiness::new(), Group::new());
        let mut registry = Registry::default();
        let certificate = readiness.register("certificate");
        Stopwatch::start().follow(&readiness, &group, &mut registry);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!page(&registry).contains(NAME));
        drop(certificate);
        while !page(&registry).contains(NAME) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let first = page(&registry);
        let value = first.lines().find_map(|line| line.strip_prefix(NAME));
        assert!(value.unwrap().parse::<f64>().unwrap() >= 0.02, "{first}");
        drop(readiness.register("certificate"));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(page(&registry), first);
        group.cancel();
    }
}

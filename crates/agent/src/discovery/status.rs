//! What discovery says of itself: in metrics, and in the configuration dump.
//!
//! Written by [`run`](super::run) on the housekeeping thread, read by the admin page and by scrapes. Names of metrics are those of
//! Istio's agent where it counts the same.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counts and the report; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub(super) metrics: Metrics,
    report: Arc<ArcSwap<Report>>,
}

/// Where discovery stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The control plane's address; nothing where there is no discovery.
    pub control_plane: Option<String>,
    /// What the control plane calls itself.
    pub identifier: String,
    /// Since when the stream is open.
    pub connected_since: Option<SystemTime>,
    /// Why the last stream or attempt ended.
    pub last_error: Option<String>,
    /// Whether all addresses are asked for.
    pub wildcard: bool,
    /// When the cache was written that is in use for want of an answer.
    pub cache_from: Option<SystemTime>,
    /// Types of resources.
    pub kinds: Vec<KindReport>,
    /// Names that are subscribed to, the first of them.
    pub subscriptions: Vec<String>,
    /// How many there are.
    pub n_subscriptions: usize,
    /// Bytes of all that is held.
    pub n_bytes: usize,
}

/// Where discovery stands with one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindReport {
    /// The type.
    pub kind: &'static str,
    /// Whether this stream has answered.
    pub is_answered: bool,
    /// How many are held.
    pub n_held: usize,
    /// What the control plane calls its state, from the last response.
    pub version: String,
    /// The last refusal.
    pub refusal: Option<String>,
}

/// Counts of the stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) connected: Gauge,
    pub(super) from_cache: Gauge,
    pub(super) failures: Counter,
    pub(super) errors: Counter,
    pub(super) requests: Counter,
    pub(super) responses: Counter,
    pub(super) refused: Family<KindLabels, Counter>,
    pub(super) resources: Family<KindLabels, Gauge>,
    pub(super) subscriptions: Gauge,
    pub(super) questions: Family<ResultLabels, Counter>,
    pub(super) builds: Counter,
    pub(super) cache_failures: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct KindLabels {
    pub(super) r#type: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

// === impl Status ===

impl Status {
    /// Puts the counts into `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let metrics = &self.metrics;
        registry.register(
            "minimesh_agent_discovery_connected",
            "1 while the stream to the control plane is open",
            metrics.connected.clone(),
        );
        registry.register(
            "minimesh_agent_discovery_from_cache",
            "1 while an earlier life's picture of the mesh is in use for want of an answer",
            metrics.from_cache.clone(),
        );
        registry.register(
            "istio_agent_istiod_connection_failures",
            "Attempts to reach the control plane that failed",
            metrics.failures.clone(),
        );
        registry.register(
            "istio_agent_istiod_connection_errors",
            "Streams of discovery that broke",
            metrics.errors.clone(),
        );
        registry.register(
            "istio_agent_xds_proxy_requests",
            "Requests of discovery that were sent",
            metrics.requests.clone(),
        );
        registry.register(
            "istio_agent_xds_proxy_responses",
            "Responses of discovery that came",
            metrics.responses.clone(),
        );
        self.register_picture(registry);
    }

    fn register_picture(&self, registry: &mut Registry) {
        let metrics = &self.metrics;
        registry.register(
            "minimesh_agent_discovery_refused",
            "Resources that were refused",
            metrics.refused.clone(),
        );
        registry.register(
            "minimesh_agent_discovery_resources",
            "Resources that are held",
            metrics.resources.clone(),
        );
        registry.register(
            "minimesh_agent_discovery_subscriptions",
            "Names that are subscribed to",
            metrics.subscriptions.clone(),
        );
        registry.register(
            "minimesh_agent_discovery_questions",
            "Questions of the data plane about addresses, by what became of them",
            metrics.questions.clone(),
        );
        registry.register(
            "minimesh_agent_discovery_mesh_builds",
            "Pictures of the mesh that were put to use",
            metrics.builds.clone(),
        );
        registry.register(
            "minimesh_agent_discovery_cache_failures",
            "Times that the cache could not be read or written",
            metrics.cache_failures.clone(),
        );
    }

    /// Where discovery stands.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Report)) {
        let mut report = Report::clone(&self.report.load());
        change(&mut report);
        self.report.store(Arc::new(report));
    }
}

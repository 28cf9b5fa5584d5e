//! What discovery counts, by Istio's names where it has them.
//!
//! Registered when the program is put together; the follower and the streams hold clones.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::session::Kind;

/// Upper bounds in seconds: from a push to the thread's next turn to a debounce that reached its limit.
const TIME_BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// What discovery counts; clones share it.
#[derive(Clone, Debug)]
pub struct Metrics {
    streams: Gauge,
    pushes: Family<TypeLabels, Counter>,
    pushed_bytes: Family<TypeLabels, Counter>,
    rejects: Family<TypeLabels, Counter>,
    expired: Family<TypeLabels, Counter>,
    ends: Family<ReasonLabels, Counter>,
    convergence: Histogram,
    debounce: Histogram,
    heard: Family<EventLabels, Counter>,
    services: Gauge,
    pods: Gauge,
    resources: Gauge,
    changes: Counter,
    unusable: Family<KindLabels, Counter>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Services.
    pub services: usize,
    /// Pods that have not ended.
    pub pods: usize,
    /// Services and workloads that clients can ask for.
    pub resources: usize,
}

/// Counts a stream for as long as it is, and why it ends.
#[derive(Debug)]
pub struct Open {
    streams: Gauge,
    ends: Family<ReasonLabels, Counter>,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct TypeLabels {
    r#type: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EventLabels {
    r#type: &'static str,
    event: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabels {
    kind: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            streams: Gauge::default(),
            pushes: Family::default(),
            pushed_bytes: Family::default(),
            rejects: Family::default(),
            expired: Family::default(),
            ends: Family::default(),
            convergence: Histogram::new(TIME_BUCKETS),
            debounce: Histogram::new(TIME_BUCKETS),
            heard: Family::default(),
            services: Gauge::default(),
            pods: Gauge::default(),
            resources: Gauge::default(),
            changes: Counter::default(),
            unusable: Family::default(),
        };
        metrics.register_streams(registry);
        metrics.register_cluster(registry);
        metrics
    }

    fn register_streams(&self, registry: &mut Registry) {
        let all = self.clone();
        registry.register("pilot_xds", "Streams that are open", all.streams);
        registry.register("pilot_xds_pushes", "Responses, by type", all.pushes);
        registry.register(
            "minimesh_discovery_response_bytes",
            "Bytes of responses, by type",
            all.pushed_bytes,
        );
        registry.register(
            "pilot_total_xds_rejects",
            "Responses that a client refused, by type",
            all.rejects,
        );
        registry.register(
            "pilot_xds_expired_nonce",
            "Requests about a response that is not the last, by type",
            all.expired,
        );
        registry.register(
            "minimesh_discovery_stream_ends",
            "Streams that have ended, by reason",
            all.ends,
        );
        registry.register(
            "pilot_proxy_convergence_time",
            "Seconds from a settled change to the response that tells a client of it",
            all.convergence,
        );
    }

    fn register_cluster(&self, registry: &mut Registry) {
        let all = self.clone();
        registry.register(
            "pilot_debounce_time",
            "Seconds from the first change of a burst to its settling",
            all.debounce,
        );
        registry.register(
            "pilot_k8s_reg_events",
            "Events of the API server, by type of object",
            all.heard,
        );
        registry.register("pilot_services", "Services that are known", all.services);
        registry.register("minimesh_discovery_pods", "Pods that are known", all.pods);
        registry.register(
            "minimesh_discovery_resources",
            "Services and workloads that clients can ask for",
            all.resources,
        );
        registry.register(
            "minimesh_discovery_changes",
            "Services and workloads that became new, other or gone",
            all.changes,
        );
        registry.register(
            "minimesh_discovery_unusable_objects",
            "Objects that could not be used, by kind",
            all.unusable,
        );
    }

    /// A stream has begun; it ends with the returned value.
    #[must_use]
    pub fn opened(&self) -> Open {
        self.streams.inc();
        Open {
            streams: self.streams.clone(),
            ends: self.ends.clone(),
            reason: "client",
        }
    }

    /// A response was made.
    pub fn pushed(&self, kind: Kind, n_bytes: usize) {
        let labels = TypeLabels {
            r#type: kind.as_str(),
        };
        self.pushes.get_or_create(&labels).inc();
        let n_bytes = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        self.pushed_bytes.get_or_create(&labels).inc_by(n_bytes);
    }

    /// A client was told of a change that was settled `time` ago.
    pub fn converged(&self, time: Duration) {
        self.convergence.observe(time.as_secs_f64());
    }

    /// A client refused a response.
    pub fn rejected(&self, kind: Kind) {
        let r#type = kind.as_str();
        self.rejects.get_or_create(&TypeLabels { r#type }).inc();
    }

    /// A request was about a response that is not the last.
    pub fn stale(&self, kind: Kind) {
        let r#type = kind.as_str();
        self.expired.get_or_create(&TypeLabels { r#type }).inc();
    }

    /// The API server told of an object.
    pub fn heard(&self, r#type: &'static str, event: &'static str) {
        self.heard
            .get_or_create(&EventLabels { r#type, event })
            .inc();
    }

    /// An object cannot be used.
    pub fn unusable(&self, kind: &'static str) {
        self.unusable.get_or_create(&KindLabels { kind }).inc();
    }

    /// A burst of changes is over.
    pub fn settled(&self, burst: Duration, n_changes: usize, counts: Counts) {
        let gauge = |gauge: &Gauge, count: usize| {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        self.debounce.observe(burst.as_secs_f64());
        self.changes
            .inc_by(u64::try_from(n_changes).unwrap_or(u64::MAX));
        gauge(&self.services, counts.services);
        gauge(&self.pods, counts.pods);
        gauge(&self.resources, counts.resources);
    }
}

// === impl Open ===

impl Open {
    /// Notes why it ends, one of a fixed set of words; without it the client is believed to have gone.
    pub fn ends(&mut self, reason: &'static str) {
        self.reason = reason;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.dec();
        let reason = self.reason;
        self.ends.get_or_create(&ReasonLabels { reason }).inc();
    }
}

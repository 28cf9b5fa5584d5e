//! What judging and following the user's objects counts.
//!
//! Held by the webhook and by the `follower`. Names of validation are Istio's.

use contract::policy;
use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What judging the user's objects counts, by Istio's names; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Validation {
    passed: Family<ResourceLabels, Counter>,
    failed: Family<ResourceLabels, Counter>,
    broken: Family<StatusLabels, Counter>,
}

/// What writing the status of the user's objects counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    writes: Counter,
    failures: Counter,
}

/// What following the user's policies counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    objects: Family<StateLabels, Gauge>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResourceLabels {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StatusLabels {
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabels {
    kind: &'static str,
    state: &'static str,
}

// === impl Validation ===

impl Validation {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for counters in [&metrics.passed, &metrics.failed] {
            drop(counters.get_or_create(&ResourceLabels::PEER_AUTHENTICATION));
        }
        registry.register(
            "galley_validation_passed",
            "Objects of the user that were admitted",
            metrics.passed.clone(),
        );
        registry.register(
            "galley_validation_failed",
            "Objects of the user that were refused",
            metrics.failed.clone(),
        );
        registry.register(
            "galley_validation_http_error",
            "Requests for validation that were no reviews, by the status of the answer",
            metrics.broken.clone(),
        );
        metrics
    }

    /// A PeerAuthentication was judged.
    pub fn judged(&self, is_accepted: bool) {
        let counters = if is_accepted {
            &self.passed
        } else {
            &self.failed
        };
        counters
            .get_or_create(&ResourceLabels::PEER_AUTHENTICATION)
            .inc();
    }

    /// A request was answered with `status` and without a review.
    pub fn broken(&self, status: StatusCode) {
        let labels = StatusLabels {
            status: status.as_u16(),
        };
        self.broken.get_or_create(&labels).inc();
    }
}

impl ResourceLabels {
    const PEER_AUTHENTICATION: Self = Self {
        group: policy::GROUP,
        version: policy::VERSION,
        resource: policy::PEER_AUTHENTICATIONS,
    };
}

// === impl Status ===

impl Status {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "minimesh_injector_policy_status_writes",
            "Objects of the user whose status was written",
            metrics.writes.clone(),
        );
        registry.register(
            "minimesh_injector_policy_status_failures",
            "Attempts to write a status that failed",
            metrics.failures.clone(),
        );
        metrics
    }

    /// A status was written.
    pub fn written(&self) {
        self.writes.inc();
    }

    /// A status could not be written.
    pub fn failed(&self) {
        self.failures.inc();
    }
}

// === impl Policies ===

impl Policies {
    /// Gauges at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.counted(0, 0);
        registry.register(
            "minimesh_injector_policies",
            "Objects of the user that say how traffic is to be secured, by whether they can work",
            metrics.objects.clone(),
        );
        metrics
    }

    /// There are so many objects that can work, and so many that cannot.
    pub fn counted(&self, n_accepted: usize, n_refused: usize) {
        for (state, n_objects) in [("accepted", n_accepted), ("refused", n_refused)] {
            let labels = StateLabels {
                kind: policy::PEER_AUTHENTICATION,
                state,
            };
            self.objects
                .get_or_create(&labels)
                .set(i64::try_from(n_objects).unwrap_or(i64::MAX));
        }
    }
}

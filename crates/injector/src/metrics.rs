//! What the injector counts.
//!
//! Each subsystem holds its part; `app` registers all of them in the one registry.
//! Names of injection are Istio's; a success is an injected pod and nothing else, unlike Istio's, which counts every answer.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use template::Reason;

/// Upper bounds in seconds: a review takes a fraction of a millisecond, and the API server gives up after ten to thirty seconds.
const TIME_BUCKETS: [f64; 13] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0,
];

/// What the webhook counts; clones share it.
#[derive(Clone, Debug)]
pub struct Injection {
    requests: Counter,
    successes: Counter,
    failures: Counter,
    skips: Family<SkipLabels, Counter>,
    dry_runs: Counter,
    time: Histogram,
}

/// What the reloaders count; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Files {
    loads: Family<LoadLabels, Counter>,
    refused: Family<FilesLabels, Gauge>,
}

/// What keeping `caBundle` in step counts, by Istio's names; clones share it.
#[derive(Clone, Debug, Default)]
pub struct WebhookPatches {
    attempts: Family<NameLabels, Counter>,
    retries: Family<NameLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
}

/// What is counted by those who write an object into many namespaces; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    writes: Counter,
    failures: Counter,
    pending: Gauge,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SkipLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LoadLabels {
    files: &'static str,
    result: LoadResult,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
enum LoadResult {
    #[expect(
        non_camel_case_types,
        reason = "the variant's name is the label's value"
    )]
    accepted,
    #[expect(
        non_camel_case_types,
        reason = "the variant's name is the label's value"
    )]
    refused,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FilesLabels {
    files: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct NameLabels {
    name: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabels {
    name: String,
    reason: &'static str,
}

// === impl Injection ===

impl Injection {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Counter::default(),
            successes: Counter::default(),
            failures: Counter::default(),
            skips: Family::default(),
            dry_runs: Counter::default(),
            time: Histogram::new(TIME_BUCKETS),
        };
        // A series that begins at its first event hides that event from every rate.
        for reason in Reason::all() {
            let reason = reason.code();
            drop(metrics.skips.get_or_create(&SkipLabels { reason }));
        }
        registry.register(
            "sidecar_injection_requests",
            "Requests for injection",
            metrics.requests.clone(),
        );
        registry.register(
            "sidecar_injection_success",
            "Requests that were answered with an injected pod",
            metrics.successes.clone(),
        );
        registry.register(
            "sidecar_injection_failure",
            "Requests that were refused, whoever was at fault",
            metrics.failures.clone(),
        );
        registry.register(
            "sidecar_injection_skip",
            "Requests that were answered with the pod as it is, by reason",
            metrics.skips.clone(),
        );
        registry.register(
            "minimesh_injector_dry_runs",
            "Requests of a dry run, which count as nothing else, whatever they were answered",
            metrics.dry_runs.clone(),
        );
        registry.register(
            "sidecar_injection_time_seconds",
            "Time from the whole request to the answer",
            metrics.time.clone(),
        );
        metrics
    }

    /// A request has come in.
    pub fn requested(&self) {
        self.requests.inc();
    }

    /// A pod was injected.
    pub fn injected(&self) {
        self.successes.inc();
    }

    /// A request was refused.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A pod passes as it is, because of `reason`, one of a fixed set of codes.
    pub fn skipped(&self, reason: &'static str) {
        self.skips.get_or_create(&SkipLabels { reason }).inc();
    }

    /// A request was answered of which nothing comes.
    pub fn rehearsed(&self) {
        self.dry_runs.inc();
    }

    /// A review took `time`, whatever came of it.
    pub fn took(&self, time: Duration) {
        self.time.observe(time.as_secs_f64());
    }
}

// === impl Files ===

impl Files {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "minimesh_injector_files_loads",
            "Contents of watched files that were put to use or refused",
            metrics.loads.clone(),
        );
        registry.register(
            "minimesh_injector_files_refused",
            "1 while the files as they are now are refused and the last good ones are in use",
            metrics.refused.clone(),
        );
        metrics
    }

    /// The contents of `files` are in use.
    pub fn loaded(&self, files: &'static str) {
        self.count(files, LoadResult::accepted);
        self.refused.get_or_create(&FilesLabels { files }).set(0);
    }

    /// The contents of `files` are not used.
    pub fn refused(&self, files: &'static str) {
        self.count(files, LoadResult::refused);
        self.refused.get_or_create(&FilesLabels { files }).set(1);
    }

    fn count(&self, files: &'static str, result: LoadResult) {
        self.loads
            .get_or_create(&LoadLabels { files, result })
            .inc();
    }
}

// === impl WebhookPatches ===

impl WebhookPatches {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "webhook_patch_attempts",
            "Attempts to write caBundle, by webhook configuration",
            metrics.attempts.clone(),
        );
        registry.register(
            "webhook_patch_retries",
            "Attempts that followed a failure, by webhook configuration",
            metrics.retries.clone(),
        );
        registry.register(
            "webhook_patch_failures",
            "Times that caBundle could not be kept in step, by webhook configuration and reason",
            metrics.failures.clone(),
        );
        metrics
    }

    /// The configuration `name` is about to be written, `again` if that failed before.
    pub fn attempted(&self, name: &str, again: bool) {
        let labels = NameLabels {
            name: name.to_owned(),
        };
        self.attempts.get_or_create(&labels).inc();
        if again {
            self.retries.get_or_create(&labels).inc();
        }
    }

    /// The configuration `name` is not in step, because of `reason`, one of a fixed set of codes.
    pub fn failed(&self, name: &str, reason: &'static str) {
        let labels = FailureLabels {
            name: name.to_owned(),
            reason,
        };
        self.failures.get_or_create(&labels).inc();
    }
}

// === impl Writes ===

impl Writes {
    /// Counters at zero, registered in `registry` under `name`; `what` is what the objects hold.
    pub fn register(registry: &mut Registry, name: &str, what: &str) -> Self {
        let metrics = Self::default();
        registry.register(
            format!("minimesh_injector_{name}_writes"),
            format!("Objects with the {what} that were written"),
            metrics.writes.clone(),
        );
        registry.register(
            format!("minimesh_injector_{name}_failures"),
            format!("Attempts to write an object with the {what} that failed"),
            metrics.failures.clone(),
        );
        registry.register(
            format!("minimesh_injector_{name}_pending"),
            format!("Objects with the {what} that are to be written now"),
            metrics.pending.clone(),
        );
        metrics
    }

    /// One is written.
    pub fn written(&self) {
        self.writes.inc();
    }

    /// One could not be written.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// So many are to be written.
    pub fn pending(&self, n_objects: usize) {
        self.pending
            .set(i64::try_from(n_objects).unwrap_or(i64::MAX));
    }
}

//! What is said about files that change while the proxy runs.
//!
//! Each set of files has one [`Voice`]; it says the same thing in the log, in metrics and in readiness, so that whoever looks at any of
//! them learns that new contents are not in use. What the contents mean is for whoever reads them.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use runtime::readiness::{Detail, Readiness};
use tracing::{error, info};

/// Counts of all sets of files; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    loads: Family<LoadLabels, Counter>,
    refused: Family<FilesLabels, Gauge>,
}

/// Says what becomes of one set of files.
#[derive(Debug)]
pub struct Voice {
    name: &'static str,
    metrics: Metrics,
    detail: Detail,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LoadLabels {
    files: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FilesLabels {
    files: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Puts the counts into `registry`; once for all sets of files.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "minimesh_agent_files_loads",
            "Contents of watched files that were put to use or refused",
            metrics.loads.clone(),
        );
        registry.register(
            "minimesh_agent_files_refused",
            "1 while the files as they are now are refused and the last good ones are in use",
            metrics.refused.clone(),
        );
        metrics
    }
}

// === impl Voice ===

impl Voice {
    /// The voice of the files called `name` in log, metrics and readiness.
    #[must_use]
    pub fn new(name: &'static str, metrics: Metrics, readiness: &Readiness) -> Self {
        Self {
            name,
            metrics,
            detail: readiness.detail(name),
        }
    }

    /// The first contents are in use.
    pub fn loaded(&self) {
        self.count("accepted", 0);
    }

    /// New contents are in use; `what` says what they are.
    pub fn accepted(&self, what: &str) {
        self.detail.clear();
        info!(files = self.name, what, "files changed and are in use");
        self.count("accepted", 0);
    }

    /// New contents are not used.
    pub fn refused(&self, error: &str) {
        self.detail
            .set(format!("refused, the last good one is in use: {error}"));
        error!(files = self.name, %error, "files changed and are refused, the last good ones stay in use");
        self.count("refused", 1);
    }

    /// What is in use is doubtful, and nothing better is at hand.
    pub fn doubt(&self, reason: &str) {
        error!(
            files = self.name,
            reason, "files are in use for want of better ones"
        );
        self.detail
            .set(format!("in use for want of better ones: {reason}"));
    }

    fn count(&self, result: &'static str, refused: i64) {
        let files = self.name;
        self.metrics
            .loads
            .get_or_create(&LoadLabels { files, result })
            .inc();
        self.metrics
            .refused
            .get_or_create(&FilesLabels { files })
            .set(refused);
    }
}

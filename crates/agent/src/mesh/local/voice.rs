//! What is said about the mesh's file when it changes.
//!
//! The same in the log, in the metrics and in readiness, so that whoever looks at any of them learns that new contents are not in use.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use runtime::readiness::{Detail, Readiness};
use tracing::{error, info};

use crate::mesh::Mesh;

/// Says what becomes of the file.
#[derive(Debug)]
pub struct Voice {
    detail: Detail,
    loads: Family<LoadLabels, Counter>,
    refused: Family<FilesLabels, Gauge>,
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

/// The file's name in metrics and readiness.
const NAME: &str = "local-mesh";

// === impl Voice ===

impl Voice {
    /// A voice whose metrics are in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry, readiness: &Readiness) -> Self {
        let voice = Self {
            detail: readiness.detail(NAME),
            loads: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "minimesh_agent_files_loads",
            "Contents of watched files that were put to use or refused",
            voice.loads.clone(),
        );
        registry.register(
            "minimesh_agent_files_refused",
            "1 while the files as they are now are refused and the last good ones are in use",
            voice.refused.clone(),
        );
        voice
    }

    /// The first contents are in use.
    pub(super) fn loaded(&self) {
        self.count("accepted", 0);
    }

    /// New contents are in use.
    pub(super) fn accepted(&self, mesh: &Mesh) {
        self.detail.clear();
        self.count("accepted", 0);
        info!(
            service_ports = mesh.service_ports().len(),
            workloads = mesh.workloads().len(),
            "local mesh changed and is in use"
        );
    }

    /// New contents are not used.
    pub(super) fn refused(&self, error: &str) {
        self.count("refused", 1);
        error!(%error, "local mesh changed and is refused, the last good one stays in use");
        let text = format!("refused, the last good one is in use: {error}");
        self.detail.set(text);
    }

    fn count(&self, result: &'static str, refused: i64) {
        let labels = LoadLabels {
            files: NAME,
            result,
        };
        self.loads.get_or_create(&labels).inc();
        let labels = FilesLabels { files: NAME };
        self.refused.get_or_create(&labels).set(refused);
    }
}

//! What an earlier injection told the sidecar.
//! Taken before merging, which may replace it.

use contract::{env, pod::PROXY_CONTAINER};
use serde_json::Value;

use crate::{pod, record::Status};

/// What an earlier injection told the sidecar, which may be merged away with it.
pub(super) struct Earlier {
    pub(super) scrape: Option<String>,
    pub(super) probers: Option<String>,
}

// === impl Earlier ===

impl Earlier {
    pub(super) fn of(pod: &Value, status: Option<&Status>) -> Self {
        let sidecar = status.and_then(|_| pod::find(pod, PROXY_CONTAINER));
        let variable = |name: &str| {
            sidecar
                .and_then(|sidecar| pod::variable(sidecar, name))
                .map(str::to_owned)
        };
        Self {
            scrape: variable(env::PROMETHEUS_ANNOTATIONS),
            probers: variable(env::KUBE_APP_PROBERS),
        }
    }
}

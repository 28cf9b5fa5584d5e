//! What a CNI plugin has to know of a pod whose rules it sets.
//!
//! Part of the record that an injection leaves: written with the status, read by the plugin from the annotations that the container runtime gives it.

use std::collections::BTreeMap;

use contract::pod::VALIDATION_CONTAINER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pod::{self, List};

/// Command line and variables of the container that checks what a CNI plugin has set: what the plugin is to set ([`contract::cni::CAPTURE`]).
///
/// Annotations alone would not do: most of what decides stands in values, in the mesh configuration and in the author's own sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Capture {
    args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
}

// === impl Capture ===

impl Capture {
    /// Of the pod `merged`, if the templates gave the container. Variables that only the kubelet can fill in are left out.
    pub(super) fn of(template_pod: &Value, merged: &Value) -> Option<Self> {
        pod::position(template_pod, List::Init, VALIDATION_CONTAINER)?;
        let container = pod::find(merged, VALIDATION_CONTAINER)?;
        let list = |field: &str| {
            let items = container.get(field).and_then(Value::as_array);
            items.into_iter().flatten()
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            args: list("args").filter_map(text).collect(),
            env: list("env")
                .filter_map(|variable| {
                    Some((
                        pod::name(variable).to_owned(),
                        text(variable.get("value")?)?,
                    ))
                })
                .collect(),
        })
    }
}

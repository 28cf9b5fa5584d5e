//! What Kubernetes' types say about merging: merge keys and unions of the pod.
//!
//! Asked by the merge for each field on its way down; a field that is not named here is a map that merges key by key or a list that is replaced.
//! The keys are the `patchMergeKey` tags of `k8s.io/api/core/v1` and `k8s.io/apimachinery/pkg/apis/meta/v1`.

use serde_json::{Map, Value};

/// A type on the way from the pod to the field at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Pod,
    Metadata,
    Spec,
    Container,
    /// A probe, whose handlers exclude each other.
    Probe,
    Lifecycle,
    /// A lifecycle handler, likewise.
    Handler,
    /// An environment variable: a value or where it comes from.
    Variable,
    /// A volume: a name and exactly one source.
    Volume,
    Plain,
}

/// How a list merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The patch's list takes the place of the original.
    Replace,
    /// Scalars that are not repeated.
    Set,
    /// Items merge with those of the same key.
    By {
        merge_key: &'static str,
        shape: Shape,
    },
}

/// Members of a probe or lifecycle handler of which there is one.
const HANDLERS: &[&str] = &["exec", "grpc", "httpGet", "sleep", "tcpSocket"];
const VARIABLE_SOURCES: &[&str] = &["value", "valueFrom"];

// === impl Shape ===

impl Shape {
    /// The type of a field that is a map.
    pub(super) fn field(self, name: &str) -> Self {
        match (self, name) {
            (Self::Pod, "metadata") => Self::Metadata,
            (Self::Pod, "spec") => Self::Spec,
            (Self::Container, "livenessProbe" | "readinessProbe" | "startupProbe") => Self::Probe,
            (Self::Container, "lifecycle") => Self::Lifecycle,
            (Self::Lifecycle, "postStart" | "preStop") => Self::Handler,
            _ => Self::Plain,
        }
    }

    /// The rule of a field that is a list.
    pub(super) fn list(self, name: &str) -> List {
        let by = |merge_key, shape| List::By { merge_key, shape };
        match (self, name) {
            (Self::Spec, "containers" | "initContainers" | "ephemeralContainers") => {
                by("name", Self::Container)
            }
            (Self::Spec, "volumes") => by("name", Self::Volume),
            (Self::Spec, "imagePullSecrets" | "resourceClaims" | "schedulingGates") => {
                by("name", Self::Plain)
            }
            (Self::Spec, "hostAliases") => by("ip", Self::Plain),
            (Self::Spec, "topologySpreadConstraints") => by("topologyKey", Self::Plain),
            (Self::Container, "env") => by("name", Self::Variable),
            (Self::Container, "ports") => by("containerPort", Self::Plain),
            (Self::Container, "volumeMounts") => by("mountPath", Self::Plain),
            (Self::Container, "volumeDevices") => by("devicePath", Self::Plain),
            (Self::Metadata, "ownerReferences") => by("uid", Self::Plain),
            (Self::Metadata, "finalizers") => List::Set,
            _ => List::Replace,
        }
    }

    /// Removes from `original` the members of a union that the patch fills in another way.
    pub(super) fn settle_union(
        self,
        original: &mut Map<String, Value>,
        patch: &Map<String, Value>,
    ) {
        let is_member: fn(&str) -> bool = match self {
            Self::Probe | Self::Handler => |key| HANDLERS.contains(&key),
            Self::Variable => |key| VARIABLE_SOURCES.contains(&key),
            Self::Volume => |key| key != "name",
            _ => return,
        };
        if patch
            .iter()
            .any(|(key, value)| is_member(key) && !value.is_null())
        {
            original.retain(|key, _| !is_member(key) || patch.contains_key(key));
        }
    }
}

// === impl List ===

impl List {
    /// What tells an item from the others: its merge key, where it has one, else all of it.
    ///
    /// A port is the same as number and as digits.
    pub(super) fn key(self, item: &Value) -> String {
        let key = match self {
            Self::By { merge_key, .. } => item.get(merge_key),
            Self::Set | Self::Replace => None,
        };
        match key.unwrap_or(item) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The type of the items.
    pub(super) fn item(self) -> Shape {
        match self {
            Self::By { shape, .. } => shape,
            Self::Set | Self::Replace => Shape::Plain,
        }
    }
}

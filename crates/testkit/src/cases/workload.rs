//! Where a pod is in a manifest, and what the cluster makes of the manifest before the webhook sees the pod.
//!
//! Used where a case is a workload: the library injects its pod template, the webhook the pod that a controller makes of it.
//! Names and labels are those that Kubernetes' controllers give.

use serde_json::{Value, json};

/// A manifest that holds a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Where the template is, as a JSON pointer.
    pub pointer: &'static str,
}

/// What a ReplicaSet's name and its pods' labels end with.
const HASH: &str = "5d9c7b8f4";
/// What a CronJob's Jobs are numbered by: minutes.
const MINUTE: &str = "29012345";

const HASH_LABEL: &str = "/metadata/labels/pod-template-hash";

/// The workload that `manifest` is; `None` for a pod.
#[must_use]
pub fn workload(manifest: &Value) -> Option<Workload> {
    let pointer = match manifest["kind"].as_str()? {
        "Deployment"
        | "ReplicaSet"
        | "StatefulSet"
        | "DaemonSet"
        | "Job"
        | "ReplicationController" => "/spec/template",
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => return None,
    };
    Some(Workload { pointer })
}

// === impl Workload ===

impl Workload {
    /// The template as a pod.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn template(self, manifest: &Value) -> Value {
        let mut pod = manifest
            .pointer(self.pointer)
            .expect("a pod template")
            .clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod
    }

    /// The manifest with `pod` in place of its template.
    #[must_use]
    pub fn with_template(self, manifest: &Value, mut pod: Value) -> Value {
        if let Some(fields) = pod.as_object_mut() {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        let mut manifest = manifest.clone();
        if let Some(template) = manifest.pointer_mut(self.pointer) {
            *template = pod;
        }
        manifest
    }

    /// The pod that controllers make of the manifest in `namespace`.
    #[must_use]
    pub fn created(self, manifest: &Value, namespace: &str) -> Value {
        let mut pod = self.template(manifest);
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        let kind = manifest["kind"].as_str().unwrap_or_default();
        let (kind, owner) = match kind {
            "Deployment" => ("ReplicaSet", format!("{name}-{HASH}")),
            "CronJob" => ("Job", format!("{name}-{MINUTE}")),
            _ => (kind, name.to_owned()),
        };
        let metadata = &mut pod["metadata"];
        metadata["generateName"] = json!(format!("{owner}-"));
        metadata["namespace"] = json!(namespace);
        if kind == "StatefulSet" {
            metadata["name"] = json!(format!("{owner}-0"));
        }
        if kind == "ReplicaSet" && owner != name {
            metadata["labels"]["pod-template-hash"] = json!(HASH);
        }
        metadata["ownerReferences"] = json!([{
            "apiVersion": manifest["apiVersion"],
            "kind": kind,
            "name": owner,
            "uid": "0b6c1d9e-54a2-4b3f-9a0f-1f3c3c9a7e11",
            "controller": true,
            "blockOwnerDeletion": true,
        }]);
        pod
    }

    /// Takes from `pod` what [`Workload::created`] gave it.
    pub fn forget_creation(self, pod: &mut Value, manifest: &Value) {
        let template = self.template(manifest);
        if let Some(metadata) = pod["metadata"].as_object_mut() {
            for field in ["generateName", "namespace", "name", "ownerReferences"] {
                metadata.remove(field);
            }
        }
        if template.pointer(HASH_LABEL).is_none()
            && let Some(labels) = pod
                .pointer_mut("/metadata/labels")
                .and_then(Value::as_object_mut)
        {
            labels.remove("pod-template-hash");
        }
    }
}

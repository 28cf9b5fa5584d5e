//! What an Event is about.
//!
//! Taken from the pod of a review before anybody has checked it, so names are bounded here; the writer then finds the workload that a user
//! knows, a Deployment behind a ReplicaSet, by asking the API server. Pure.

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use serde_json::Value;

/// The longest name that Kubernetes gives to anything.
const MAX_NAME_BYTES: usize = 253;

/// An object in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `ReplicaSet`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid if that is known; `kubectl describe` finds Events by it.
    pub uid: Option<String>,
}

// === impl Object ===

impl Object {
    /// An object of the core group whose uid is not known.
    #[must_use]
    pub fn core(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: None,
        }
    }

    /// The controller of `pod`, which is to be in `namespace`, or the pod itself where it has none in that namespace. `None` for a pod that has no
    /// name yet, which nobody could find, and for names that Kubernetes will refuse.
    #[must_use]
    pub fn behind(pod: &Value, namespace: &str) -> Option<Self> {
        let metadata = pod.get("metadata")?;
        let owners = metadata.get("ownerReferences").and_then(Value::as_array);
        let controller = owners
            .into_iter()
            .flatten()
            .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
            .filter(|owner| text(owner, "kind") != Some("Node"));
        let object = match controller {
            Some(owner) => Self {
                api_version: text(owner, "apiVersion")?.to_owned(),
                kind: text(owner, "kind")?.to_owned(),
                namespace: namespace.to_owned(),
                name: text(owner, "name")?.to_owned(),
                uid: text(owner, "uid").map(str::to_owned),
            },
            None => Self::core("Pod", namespace, text(metadata, "name")?),
        };
        Some(object)
    }

    /// The object that `owner`, read from an object in `namespace`, refers to.
    pub(super) fn of_owner(owner: OwnerReference, namespace: &str) -> Self {
        Self {
            api_version: owner.api_version,
            kind: owner.kind,
            namespace: namespace.to_owned(),
            name: owner.name,
            uid: Some(owner.uid),
        }
    }

    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.clone()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value
        .get(key)?
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= MAX_NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_about_the_controller_or_about_a_pod_with_a_name() {
        let owner = |kind: &str, controller: bool| json!({"apiVersion": "apps/v1", "kind": kind, "name": "web-1", "uid": "u", "controller": controller});
        let long = "x".repeat(254);
        let table = [
            (
                json!({"ownerReferences": [owner("Other", false), owner("ReplicaSet", true)]}),
                Some(("ReplicaSet", "web-1", Some("u"))),
            ),
            (
                json!({"name": "web", "ownerReferences": [owner("Other", false)]}),
                Some(("Pod", "web", None)),
            ),
            // The picture of a static pod belongs to its node, which is in no namespace.
            (
                json!({"name": "web", "ownerReferences": [owner("Node", true)]}),
                Some(("Pod", "web", None)),
            ),
            (json!({"generateName": "web-"}), None),
            (json!({"name": ""}), None),
            (json!({"name": long}), None),
            (
                json!({"name": "web", "ownerReferences": [{"controller": true}]}),
                None,
            ),
            (json!({"name": 7, "ownerReferences": {}}), None),
            (json!(null), None),
        ];
        for (metadata, expected) in table {
            let object = Object::behind(&json!({"metadata": metadata}), "shop");
            let found = object.as_ref().map(|object| {
                assert_eq!(object.namespace, "shop");
                (
                    object.kind.as_str(),
                    object.name.as_str(),
                    object.uid.as_deref(),
                )
            });
            assert_eq!(found, expected, "{metadata}");
        }
    }
}

//! Where the pod is in a resource.
//!
//! Called by the commands for each document; knows the kinds of Kubernetes and OpenShift that hold pods, and nothing else.
//! A resource of any other kind is left alone, so a file may hold whatever an application needs.

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use template::Owner;

/// What a document is, as far as injection is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pod.
    Pod,
    /// A resource with a pod template below these keys.
    Template(&'static [&'static str]),
    /// A list of resources under `items`.
    List,
    /// Anything else.
    Other,
}

const TEMPLATE: &[&str] = &["spec", "template"];
const JOB_TEMPLATE: &[&str] = &["spec", "jobTemplate", "spec", "template"];

/// Lists of lists are legal and pointless; a limit keeps the stack.
pub const MAX_LISTS: usize = 8;

/// Tells what `resource` is by its `apiVersion` and `kind`.
#[must_use]
pub fn kind(resource: &Value) -> Kind {
    let text = |key: &str| {
        resource
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let group = text("apiVersion")
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    match (group, text("kind")) {
        ("", "Pod") => Kind::Pod,
        ("", "List" | "PodList") => Kind::List,
        ("", "ReplicationController")
        | ("apps" | "extensions", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet")
        | ("batch", "Job")
        | ("" | "apps.openshift.io", "DeploymentConfig")
        | ("argoproj.io", "Rollout") => Kind::Template(TEMPLATE),
        ("batch", "CronJob") => Kind::Template(JOB_TEMPLATE),
        _ => Kind::Other,
    }
}

/// The pod template at `path`, as a pod; `described` is what errors call the resource.
///
/// # Errors
/// There is none, or it is no object.
pub fn pod(resource: &Value, path: &[&str], described: &str) -> anyhow::Result<Value> {
    let shown = path.join(".");
    let template = resource
        .pointer(&format!("/{}", path.join("/")))
        .with_context(|| format!("{described} has no pod template at {shown}"))?;
    let Some(fields) = template.as_object() else {
        bail!("{shown}, the pod template of {described}, is no object");
    };
    Ok(as_pod(fields))
}

/// The resource as the owner of the pods that are made from its template.
#[must_use]
pub fn owner(resource: &Value) -> Owner {
    let field = |pointer: &str| {
        let value = resource.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Owner {
        api_version: field("/apiVersion"),
        kind: field("/kind"),
        name: field("/metadata/name"),
        namespace: field("/metadata/namespace"),
    }
}

/// A template has a pod's fields but for the two that say that it is one.
fn as_pod(fields: &Map<String, Value>) -> Value {
    let mut pod = fields.clone();
    pod.insert("apiVersion".to_owned(), "v1".into());
    pod.insert("kind".to_owned(), "Pod".into());
    Value::Object(pod)
}

/// `KIND "NAMESPACE/NAME"`, for messages.
#[must_use]
pub fn describe(resource: &Value, default_namespace: &str) -> String {
    let metadata = |key: &str| {
        resource
            .pointer(&format!("/metadata/{key}"))
            .and_then(Value::as_str)
    };
    let name = metadata("name")
        .or_else(|| metadata("generateName"))
        .unwrap_or("(no name)");
    format!(
        "{} \"{}/{name}\"",
        resource
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or("resource"),
        metadata("namespace").unwrap_or(default_namespace),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_known_by_group_and_kind() {
        for (api_version, name, expected) in [
            ("v1", "Pod", Kind::Pod),
            ("v1", "List", Kind::List),
            ("v1", "ReplicationController", Kind::Template(TEMPLATE)),
            ("apps/v1", "Deployment", Kind::Template(TEMPLATE)),
            ("apps/v1", "StatefulSet", Kind::Template(TEMPLATE)),
            ("batch/v1", "Job", Kind::Template(TEMPLATE)),
            ("batch/v1", "CronJob", Kind::Template(JOB_TEMPLATE)),
            (
                "apps.openshift.io/v1",
                "DeploymentConfig",
                Kind::Template(TEMPLATE),
            ),
            ("serving.knative.dev/v1", "Service", Kind::Other),
            ("example.org/v1", "Pod", Kind::Other),
            ("v1", "Service", Kind::Other),
        ] {
            assert_eq!(
                kind(&json!({"apiVersion": api_version, "kind": name})),
                expected,
                "{api_version} {name}"
            );
        }
    }

    #[test]
    fn what_is_no_object_is_left_alone() {
        for odd in [json!(null), json!([1]), json!("Pod"), json!({"kind": 1})] {
            assert_eq!(kind(&odd), Kind::Other);
            assert!(describe(&odd, "default").contains("resource"));
        }
    }
}

//! The workload that a pod belongs to, guessed from the pod alone.
//!
//! Called for template data and telemetry names; the webhook sees only the pod, so the controller behind its controller (a
//! Deployment behind a ReplicaSet) is found by the naming rules of Kubernetes, as Istio's `GetDeployMetaFromPod` does.

use serde_json::Value;

use crate::pod;

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Empty for a pod that has no name yet.
    pub name: String,
    /// Empty where the manifest names none.
    pub namespace: String,
}

// === impl Owner ===

impl Owner {
    /// The workload of `pod`; the pod itself where no controller is known.
    #[must_use]
    pub fn of(pod: &Value) -> Self {
        let namespace = pod::text(pod, &["metadata", "namespace"]).to_owned();
        let itself = Self {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: pod::text(pod, &["metadata", "name"]).to_owned(),
            namespace: namespace.clone(),
        };
        if pod::text(pod, &["metadata", "generateName"]).is_empty() {
            return itself;
        }
        let Some(controller) = controller(pod) else {
            return itself;
        };
        let (api_version, kind, name) = (
            pod::text(controller, &["apiVersion"]),
            pod::text(controller, &["kind"]),
            pod::text(controller, &["name"]),
        );
        let (api_version, kind, name) = behind(pod, api_version, kind, name);
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace,
        }
    }
}

fn controller(pod: &Value) -> Option<&Value> {
    pod.get("metadata")?
        .get("ownerReferences")?
        .as_array()?
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// The controller's own controller, where the names tell it.
fn behind<'a>(
    pod: &'a Value,
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
) -> (&'a str, &'a str, &'a str) {
    let label = |key: &str| pod::label(pod, key).filter(|value| !value.is_empty());
    match kind {
        "ReplicaSet" => {
            if let Some(deployment) =
                label("pod-template-hash").and_then(|hash| without_suffix(name, hash))
            {
                return (api_version, "Deployment", deployment);
            }
            if let Some(rollout) =
                label("rollouts-pod-template-hash").and_then(|hash| without_suffix(name, hash))
            {
                return ("v1alpha1", "Rollout", rollout);
            }
        }
        "ReplicationController" => {
            if let Some(config) = label("deploymentconfig") {
                return (api_version, "DeploymentConfig", config);
            }
        }
        "Job" => {
            if let Some(cron_job) = without_schedule(name) {
                return ("batch/v1", "CronJob", cron_job);
            }
        }
        _ => {}
    }
    (api_version, kind, name)
}

fn without_suffix<'a>(name: &'a str, hash: &str) -> Option<&'a str> {
    name.strip_suffix(hash)?
        .strip_suffix('-')
        .filter(|name| !name.is_empty())
}

/// A CronJob's Jobs are named after it and the minute of their schedule, 8 to 10 digits.
fn without_schedule(name: &str) -> Option<&str> {
    let (cron_job, schedule) = name.rsplit_once('-')?;
    let is_schedule =
        (8..=10).contains(&schedule.len()) && schedule.bytes().all(|byte| byte.is_ascii_digit());
    (is_schedule && !cron_job.is_empty()).then_some(cron_job)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(owner: &[&str; 3], labels: &Value, expected: [&str; 3]) {
        let [api_version, kind, name] = owner;
        let pod = json!({"metadata": {
            "generateName": "web-", "namespace": "shop", "labels": labels,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "not-the-controller"},
                {"apiVersion": api_version, "kind": kind, "name": name, "controller": true},
            ],
        }});
        let found = Owner::of(&pod);
        assert_eq!([&found.api_version[..], &found.kind, &found.name], expected);
        assert_eq!(found.namespace, "shop");
    }

    #[test]
    fn the_workload_behind_a_controller_is_found_by_its_name() {
        let hash = json!({"pod-template-hash": "7d9c"});
        check(
            &["apps/v1", "ReplicaSet", "web-7d9c"],
            &hash,
            ["apps/v1", "Deployment", "web"],
        );
        check(
            &["apps/v1", "ReplicaSet", "web-other"],
            &hash,
            ["apps/v1", "ReplicaSet", "web-other"],
        );
        check(
            &["apps/v1", "ReplicaSet", "7d9c"],
            &hash,
            ["apps/v1", "ReplicaSet", "7d9c"],
        );
        let hash = json!({"rollouts-pod-template-hash": "55"});
        check(
            &["apps/v1", "ReplicaSet", "web-55"],
            &hash,
            ["v1alpha1", "Rollout", "web"],
        );
        let config = json!({"deploymentconfig": "web"});
        check(
            &["v1", "ReplicationController", "web-3"],
            &config,
            ["v1", "DeploymentConfig", "web"],
        );
        check(
            &["batch/v1", "Job", "tidy-28912345"],
            &json!({}),
            ["batch/v1", "CronJob", "tidy"],
        );
        check(
            &["batch/v1", "Job", "tidy-2891"],
            &json!({}),
            ["batch/v1", "Job", "tidy-2891"],
        );
        check(
            &["apps/v1", "StatefulSet", "db"],
            &json!(null),
            ["apps/v1", "StatefulSet", "db"],
        );
    }

    #[test]
    fn a_pod_without_controller_stands_for_itself() {
        for pod in [
            json!({"metadata": {"name": "alone"}}),
            json!({"metadata": {"name": "alone", "ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}}),
            json!({"metadata": {"name": "alone", "generateName": "x-", "ownerReferences": "odd"}}),
        ] {
            let owner = Owner::of(&pod);
            assert_eq!(
                (&owner.kind[..], &owner.name[..]),
                ("Pod", "alone"),
                "{pod}"
            );
        }
    }
}

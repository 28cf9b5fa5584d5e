//! From a running pod to the workload whose template new pods are made from.
//!
//! Asked for each pod. Controllers are followed upwards, a ReplicaSet to its Deployment and a Job to its CronJob, and each is read once. Where the
//! controller is of another kind or gone, the last one that holds a template stands for it, else the pod itself: its record of the
//! injection gives back what its author wrote.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{Cluster, KindOfObject};

/// The workloads of one run.
pub(super) struct Owners<'a> {
    cluster: &'a Cluster,
    /// By kind, namespace and name; `None` is one that is not there.
    known: BTreeMap<[String; 3], Option<Value>>,
}

/// Kinds that hold a template, with their groups and plurals.
const KINDS: [(&str, &str, &str); 7] = [
    ("", "ReplicationController", "replicationcontrollers"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "Deployment", "deployments"),
    ("apps", "ReplicaSet", "replicasets"),
    ("apps", "StatefulSet", "statefulsets"),
    ("batch", "CronJob", "cronjobs"),
    ("batch", "Job", "jobs"),
];

/// More than Kubernetes has.
const MAX_STEPS: usize = 4;

// === impl Owners ===

impl<'a> Owners<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            known: BTreeMap::new(),
        }
    }

    /// The workload of `pod`.
    ///
    /// # Errors
    /// One on the way cannot be read.
    pub(super) fn of(&mut self, pod: &Value) -> anyhow::Result<Value> {
        let mut owner = pod.clone();
        for _ in 0..MAX_STEPS {
            match self.controller(&owner)? {
                Some(controller) => owner = controller,
                None => break,
            }
        }
        Ok(owner)
    }

    fn controller(&mut self, object: &Value) -> anyhow::Result<Option<Value>> {
        let text = |value: &Value, field: &str| {
            let text = value.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        let references = metadata.get("ownerReferences").and_then(Value::as_array);
        let is_controller =
            |reference: &&Value| reference.get("controller").and_then(Value::as_bool) == Some(true);
        let Some(reference) = references.into_iter().flatten().find(is_controller) else {
            return Ok(None);
        };
        let api_version = text(reference, "apiVersion");
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let kind = text(reference, "kind");
        let known = KINDS
            .iter()
            .find(|known| known.0 == group && known.1 == kind);
        let Some((group, kind, plural)) = known else {
            return Ok(None);
        };
        let (namespace, name) = (text(metadata, "namespace"), text(reference, "name"));
        let key = [(*kind).to_owned(), namespace.clone(), name.clone()];
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let kind = KindOfObject {
            group,
            version: "v1",
            kind,
            plural,
        };
        let found = self.cluster.object(&kind, &namespace, &name)?;
        self.known.insert(key, found.clone());
        Ok(found)
    }
}

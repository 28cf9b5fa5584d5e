//! Finding in the cluster what a person names.
//!
//! `web-0` is a pod, `KIND/NAME` any kind that holds pods, with the names and short names of `kubectl`.

use anyhow::{anyhow, bail};
use serde_json::Value;

use crate::cluster::{Cluster, KindOfObject};

/// The kinds with what people call them, beside singular and plural.
static KINDS: [(KindOfObject, &str); 8] = [
    (kind("", "Pod", "pods"), "po"),
    (kind("apps", "Deployment", "deployments"), "deploy"),
    (kind("apps", "StatefulSet", "statefulsets"), "sts"),
    (kind("apps", "DaemonSet", "daemonsets"), "ds"),
    (kind("apps", "ReplicaSet", "replicasets"), "rs"),
    (
        kind("", "ReplicationController", "replicationcontrollers"),
        "rc",
    ),
    (kind("batch", "Job", "jobs"), "job"),
    (kind("batch", "CronJob", "cronjobs"), "cj"),
];

const fn kind(group: &'static str, kind: &'static str, plural: &'static str) -> KindOfObject {
    KindOfObject {
        group,
        version: "v1",
        kind,
        plural,
    }
}

/// Reads what `named` says, from `namespace`.
///
/// # Errors
/// The kind is unknown, or there is none of that name.
pub(super) fn find(cluster: &Cluster, namespace: &str, named: &str) -> anyhow::Result<Value> {
    let (kind, name) = named.split_once('/').unwrap_or(("pod", named));
    let Some(known) = known(kind) else {
        let kinds = KINDS.map(|(known, _)| known.kind.to_lowercase()).join(", ");
        bail!("{named:?} is of no kind that holds pods: use one of {kinds}");
    };
    if name.is_empty() || name.contains('/') {
        bail!("{named:?} names nothing: use NAME for a pod, or KIND/NAME");
    }
    cluster.object(known, namespace, name)?.ok_or_else(|| {
        anyhow!(
            "there is no {} {namespace}/{name} in {cluster}: is it in another namespace (--namespace)?",
            known.kind
        )
    })
}

fn known(called: &str) -> Option<&'static KindOfObject> {
    let called = called.to_lowercase();
    // As in `deployment.apps`.
    let called = called.split('.').next().unwrap_or_default();
    let mut kinds = KINDS.iter();
    kinds
        .find(|(kind, short)| {
            [kind.kind.to_lowercase().as_str(), kind.plural, *short].contains(&called)
        })
        .map(|(kind, _)| kind)
}

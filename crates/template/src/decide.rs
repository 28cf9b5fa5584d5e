//! Whether a pod is injected, and if not, why.
//!
//! Called before anything is rendered; pure. The order of the questions is Istio's: host network and protected namespaces first,
//! then the pod's own label or annotation, then selectors, then the policy. The API server's selectors have already chosen when this runs.

mod reason;
mod surprise;

use contract::labels;
use serde_json::Value;

pub use self::{
    reason::Reason,
    surprise::{Code, Surprise, surprises},
};
use crate::{pod, selector::Selector};

/// What happens to a pod that says nothing itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is injected.
    Enabled,
    /// It is not.
    Disabled,
    /// The configuration says something else, and so nothing is injected at all, as in Istio.
    Unknown(String),
}

/// The configuration's part in the decision.
#[derive(Clone, Debug)]
pub struct Rules {
    /// For pods that nothing else decides about.
    pub policy: Policy,
    /// A pod that one of these matches is injected.
    pub always: Vec<Selector>,
    /// A pod that one of these matches is not; stronger than `always`.
    pub never: Vec<Selector>,
}

/// The decision about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Inject it.
    Inject,
    /// Leave it as it is.
    Skip(Reason),
}

/// What the pod itself asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Inject,
    Skip(Place),
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Label,
    Annotation,
}

/// Marks the API server's picture of a pod that the node runs from a file.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// Injecting here could keep the cluster from starting.
pub(crate) const PROTECTED_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// Decides about `pod` in `namespace`.
#[must_use]
pub fn decide(pod: &Value, namespace: &str, rules: &Rules) -> Decision {
    let spec = |field: &str| pod.get("spec")?.get(field);
    if spec("hostNetwork") == Some(&Value::Bool(true)) {
        return Decision::Skip(Reason::HostNetwork);
    }
    let os = [("os", "name"), ("nodeSelector", "kubernetes.io/os")];
    if os
        .iter()
        .any(|(field, key)| spec(field).and_then(|map| map.get(key)?.as_str()) == Some("windows"))
    {
        return Decision::Skip(Reason::Windows);
    }
    if PROTECTED_NAMESPACES.contains(&namespace) {
        return Decision::Skip(Reason::ProtectedNamespace(namespace.to_owned()));
    }
    if pod::metadata_map(pod, "annotations").is_some_and(|map| map.contains_key(MIRROR)) {
        return Decision::Skip(Reason::MirrorPod);
    }
    if let Policy::Unknown(policy) = &rules.policy {
        return Decision::Skip(Reason::PolicyUnknown(policy.clone()));
    }
    match wish(pod) {
        Wish::Inject => return Decision::Inject,
        Wish::Skip(Place::Label) => return Decision::Skip(Reason::OptedOutByLabel),
        Wish::Skip(Place::Annotation) => return Decision::Skip(Reason::OptedOutByAnnotation),
        Wish::Nothing => {}
    }
    let pod_labels = pod::metadata_map(pod, "labels");
    if rules
        .never
        .iter()
        .any(|selector| selector.matches(pod_labels))
    {
        return Decision::Skip(Reason::NeverSelector);
    }
    if rules
        .always
        .iter()
        .any(|selector| selector.matches(pod_labels))
    {
        return Decision::Inject;
    }
    if rules.policy == Policy::Enabled {
        return Decision::Inject;
    }
    Decision::Skip(Reason::PolicyDisabled)
}

/// The value of `sidecar.istio.io/inject` that means nothing, such as `yes`; it is worth a warning.
#[must_use]
pub fn odd_wish(pod: &Value) -> Option<&str> {
    let (value, _) = wish_value(pod)?;
    (!matches!(value, "" | "true" | "false")).then_some(value)
}

fn wish(pod: &Value) -> Wish {
    match wish_value(pod) {
        Some(("true", _)) => Wish::Inject,
        Some(("false", place)) => Wish::Skip(place),
        // Anything else is as if it were not there, so that a typing error does not decide.
        _ => Wish::Nothing,
    }
}

/// The label wins over the annotation even when it is odd.
fn wish_value(pod: &Value) -> Option<(&str, Place)> {
    let value = |map: &str| pod::metadata_map(pod, map)?.get(labels::INJECT)?.as_str();
    let label = value("labels").map(|value| (value, Place::Label));
    label.or_else(|| value("annotations").map(|value| (value, Place::Annotation)))
}

#[cfg(test)]
mod tests;

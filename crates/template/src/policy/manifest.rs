//! The objects that make a policy work: two policies and their bindings.
//!
//! Made of finished expressions. Names and labels are those of the chart, and the bindings choose namespaces and pods as the entries of the chart's
//! webhook do: at most one of them matches a pod.

use std::str::FromStr;

use contract::{annotations, control_plane::SIDECAR_INJECTOR, labels};
use serde_json::{Value, json};

use super::{
    cel::Expr,
    conditions::{self, Condition, Exclusion},
    facts, probes, share,
};
use crate::options::InvalidOption;

/// What is decided by whoever asks for a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The version in which the cluster has mutating policies.
    pub api_version: ApiVersion,
    /// Which namespaces and pods the policy is for.
    pub selection: Selection,
    /// Namespaces that are never chosen, such as that of the control plane.
    pub excluded_namespaces: Vec<String>,
    /// Whether a pod that the policy leaves out may start without a sidecar.
    pub allows_unsupported: bool,
}

/// A version of `admissionregistration.k8s.io` that has `MutatingAdmissionPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// Kubernetes 1.32, behind a feature gate.
    V1Alpha1,
    /// Kubernetes 1.34, behind a feature gate.
    #[default]
    V1Beta1,
    /// Kubernetes 1.36.
    V1,
}

/// Which namespaces and pods a policy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those that the chart's webhook is for, by Istio's labels.
    #[default]
    Webhook,
    /// As `Webhook`, and namespaces without any label of the mesh as well.
    WebhookAndUnlabelled,
    /// All pods of the namespaces with this label, key and value, that do not opt out.
    Namespaces(String, String),
}

/// What the objects are made of.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) decision: &'a [Condition],
    pub(super) exclusions: &'a [Exclusion],
    pub(super) probe_port: Option<u16>,
    pub(super) mutation: &'a Expr,
    pub(super) revision: &'a str,
}

const GROUP: &str = "admissionregistration.k8s.io";

/// The label that every namespace has, with its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Labels by which the chart's objects are found.
const APP: (&str, &str) = ("app", "sidecar-injector");

/// A binding: its name, and the selectors of namespaces and pods.
type Entry = (&'static str, Vec<Value>, Vec<Value>);

// === impl ApiVersion ===

impl ApiVersion {
    fn name(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
            Self::V1 => "v1",
        }
    }
}

impl FromStr for ApiVersion {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::V1Alpha1, Self::V1Beta1, Self::V1]
            .into_iter()
            .find(|version| version.name() == text)
            .ok_or_else(|| InvalidOption {
                value: text.to_owned(),
                expected: "v1alpha1, v1beta1 and v1",
            })
    }
}

/// All objects, in the order in which they are to be applied: what refuses comes before what injects is relied upon.
pub(super) fn all(parts: &Parts<'_>) -> Vec<Value> {
    let mut objects = vec![parts.mutating()];
    objects.extend(parts.bindings("MutatingAdmissionPolicyBinding", parts.settings.api_version));
    if !parts.settings.allows_unsupported {
        objects.push(parts.validating());
        objects.extend(parts.bindings("ValidatingAdmissionPolicyBinding", ApiVersion::V1));
    }
    objects
}

// === impl Parts ===

impl Parts<'_> {
    fn name(&self) -> String {
        match self.revision {
            "" | "default" => SIDECAR_INJECTOR.to_owned(),
            revision => format!("{SIDECAR_INJECTOR}-{revision}"),
        }
    }

    fn shown_revision(&self) -> &str {
        match self.revision {
            "" => "default",
            revision => revision,
        }
    }

    fn metadata(&self, name: &str) -> Value {
        let (key, value) = APP;
        json!({"name": name, "labels": {key: value, labels::REVISION: self.shown_revision()}})
    }

    fn mutating(&self) -> Value {
        let mut conditions = self.decided();
        conditions.push(condition(
            "not-injected-yet",
            &conditions::has_status().not(),
        ));
        for exclusion in self.exclusions {
            let name = format!("without-{}", exclusion.code);
            conditions.push(condition(&name, &exclusion.holds.clone().not()));
        }
        let mut variables = facts::owner_variables().to_vec();
        if let Some(port) = self.probe_port {
            variables.extend(probes::variables(port));
        }
        let text = self.mutation.to_string();
        variables.retain(|(name, _)| is_used(name, &text));
        let (variables, mutation) = share::share(variables, self.mutation.clone());
        let variables: Vec<Value> = variables
            .iter()
            .map(
                |variable| json!({"name": variable.name, "expression": variable.value.to_string()}),
            )
            .collect();
        json!({
            "apiVersion": format!("{GROUP}/{}", self.settings.api_version.name()),
            "kind": "MutatingAdmissionPolicy",
            "metadata": self.metadata(&self.name()),
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": constraints(),
                "matchConditions": conditions,
                "variables": variables,
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": mutation.to_string()}}],
            },
        })
    }

    fn validating(&self) -> Value {
        let injected = Expr::Name("variables").field("injected");
        let mut validations: Vec<Value> = self
            .exclusions
            .iter()
            .map(|exclusion| {
                let is_fine = injected.clone().or(exclusion.holds.clone().not());
                let Exclusion { what, why, .. } = exclusion;
                let message = format!(
                    "the sidecar cannot be injected by policy, because the pod {what}: {why}; remove it, or opt the pod out with the label {}=false",
                    labels::INJECT
                );
                let mut validation = json!({"expression": is_fine.to_string(), "message": message});
                if let Some(named) = &exclusion.named {
                    let before = "the sidecar cannot be injected by policy, because the pod has: ";
                    let after = format!(
                        "; remove it, or opt the pod out with the label {}=false",
                        labels::INJECT
                    );
                    let text = Expr::text(before).plus(named.clone()).plus(Expr::text(after));
                    validation["messageExpression"] = Value::from(text.to_string());
                }
                validation
            })
            .collect();
        validations.push(json!({
            "expression": injected.or(conditions::has_status().not()).to_string(),
            "message": format!("the pod has the annotation {}, but no sidecar; remove the annotation", annotations::STATUS),
        }));
        validations.push(json!({
            "expression": Expr::Name("variables").field("injected").to_string(),
            "message": "the pod has no sidecar, although it is to have one: the policy that injects it did not run",
        }));
        json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "ValidatingAdmissionPolicy",
            "metadata": self.metadata(&self.name()),
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": constraints(),
                "matchConditions": self.decided(),
                "variables": [{"name": "injected", "expression": conditions::is_injected().to_string()}],
                "validations": validations,
            },
        })
    }

    fn decided(&self) -> Vec<Value> {
        self.decision
            .iter()
            .map(|decided| condition(decided.name, &decided.holds))
            .collect()
    }

    fn bindings(&self, kind: &str, version: ApiVersion) -> Vec<Value> {
        self.entries()
            .into_iter()
            .map(|(name, namespaces, pods)| {
                let mut spec = json!({
                    "policyName": self.name(),
                    "matchResources": {
                        "namespaceSelector": {"matchExpressions": namespaces},
                        "objectSelector": {"matchExpressions": pods},
                    },
                });
                if kind.starts_with("Validating") {
                    spec["validationActions"] = json!(["Deny"]);
                }
                json!({
                    "apiVersion": format!("{GROUP}/{}", version.name()),
                    "kind": kind,
                    "metadata": self.metadata(&format!("{}-{name}", self.name())),
                    "spec": spec,
                })
            })
            .collect()
    }

    /// What the chart's webhook matches, entry by entry.
    fn entries(&self) -> Vec<Entry> {
        let revision = || vec![self.shown_revision()];
        let label = labels::REVISION;
        let not_disabled = || vec![one(labels::INJECT, "NotIn", &["false"])];
        let mut entries: Vec<Entry> = Vec::new();
        if let Selection::Namespaces(key, value) = &self.settings.selection {
            entries.push(("selected", vec![one(key, "In", &[value])], not_disabled()));
        } else {
            entries.push((
                "rev-namespace",
                vec![one(label, "In", &revision()), none(labels::INJECTION)],
                not_disabled(),
            ));
            let mut pods = not_disabled();
            pods.push(one(label, "In", &revision()));
            entries.push((
                "rev-object",
                vec![none(label), none(labels::INJECTION)],
                pods,
            ));
            if self.shown_revision() == "default" {
                entries.extend(self.default_entries());
            }
        }
        let excluded: Vec<&str> = self
            .settings
            .excluded_namespaces
            .iter()
            .map(String::as_str)
            .collect();
        for (_, namespaces, _) in &mut entries {
            if !excluded.is_empty() {
                namespaces.push(one(NAMESPACE_NAME, "NotIn", &excluded));
            }
        }
        entries
    }

    /// What only the default revision matches.
    fn default_entries(&self) -> Vec<Entry> {
        let unlabelled = || vec![none(labels::INJECTION), none(labels::REVISION)];
        let mut entries: Vec<Entry> = vec![
            (
                "namespace",
                vec![one(labels::INJECTION, "In", &["enabled"])],
                vec![one(labels::INJECT, "NotIn", &["false"])],
            ),
            (
                "object",
                unlabelled(),
                vec![one(labels::INJECT, "In", &["true"]), none(labels::REVISION)],
            ),
        ];
        if self.settings.selection == Selection::WebhookAndUnlabelled {
            let pods = vec![none(labels::INJECT), none(labels::REVISION)];
            entries.push(("auto", unlabelled(), pods));
        }
        entries
    }
}

fn is_used(variable: &str, mutation: &str) -> bool {
    // The second variable of each pair is the only one that needs the first.
    let needed_by = match variable {
        facts::CONTROLLER => facts::OWNER,
        probes::HANDLERS => probes::REWRITTEN,
        other => other,
    };
    mutation.contains(&format!("variables.{needed_by}"))
}

fn condition(name: &str, holds: &Expr) -> Value {
    json!({"name": name, "expression": holds.to_string()})
}

fn constraints() -> Value {
    json!({
        "matchPolicy": "Equivalent",
        "resourceRules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }],
    })
}

fn one(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": operator, "values": values})
}

fn none(key: &str) -> Value {
    json!({"key": key, "operator": "DoesNotExist"})
}

//! Which injector the API server asks about a pod, if any.
//!
//! Evaluates the selectors of the mesh's MutatingWebhookConfigurations as the API server does, and finds out why none of them matches.
//! Other webhooks are left out by the names of their entries. Pure but for the file.

use std::{fmt, path::Path};

use anyhow::{Context, ensure};
use contract::{control_plane::WEBHOOK_SUFFIX, labels};
use serde::Serialize;
use serde_json::{Map, Value};
use template::{Namespace, selector::Selector, yaml};

use super::cause::Cause;
use crate::{input, workload::MAX_LISTS};

/// The entries of the mesh, of all revisions.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    entries: Vec<Entry>,
    /// The revisions and tags that they serve.
    served: Vec<String>,
}

/// One entry.
#[derive(Debug)]
struct Entry {
    served: Served,
    /// `None` matches everything.
    namespaces: Option<Selector>,
    pods: Option<Selector>,
}

/// Who serves a pod.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Served {
    /// The entry's name.
    pub(super) name: String,
    /// The object that it is in.
    pub(super) configuration: String,
    /// The control plane's.
    pub(crate) revision: String,
}

/// What comes of asking the API server.
pub(crate) enum Selection {
    /// It asks this injector.
    Chosen(Served),
    /// It asks none.
    Passed(Passed),
}

/// Why no injector is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The cluster has no webhook of a mesh.
    WebhookMissing,
    /// The namespace says no.
    NamespaceDisabled,
    /// The pod says no.
    PodDisabled,
    /// A revision is asked for that no control plane has.
    RevisionUnknown,
    /// The webhooks leave the namespace out by name.
    NamespaceExcluded,
    /// Neither namespace nor pod asks.
    NotAsked,
    /// The selectors are other ones than the chart's.
    NoMatch,
}

/// The label that the API server gives each namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

// === impl Webhooks ===

impl Webhooks {
    /// Reads the file that --webhookConfigFile names.
    ///
    /// # Errors
    /// It cannot be read, or what it holds is no webhook configuration.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let origin = input::shown(path);
        let text = input::read("--webhookConfigFile", path)?;
        let mut found = Vec::new();
        for document in yaml::documents(&text) {
            collect(document.parse(&origin)?, &mut found, MAX_LISTS);
        }
        ensure!(
            !found.is_empty(),
            "--webhookConfigFile {origin} holds no MutatingWebhookConfiguration"
        );
        Self::of(&found)
    }

    /// The entries of `configurations` that are a mesh's.
    ///
    /// # Errors
    /// A selector is none.
    pub(crate) fn of(configurations: &[Value]) -> anyhow::Result<Self> {
        let mut webhooks = Self::default();
        for configuration in configurations {
            let metadata = |field: &str| configuration.pointer("/metadata")?.get(field);
            let label = |key: &str| metadata("labels")?.get(key)?.as_str();
            let name = metadata("name").and_then(Value::as_str).unwrap_or_default();
            let revision = label(labels::REVISION).unwrap_or("default");
            let entries = configuration.get("webhooks").and_then(Value::as_array);
            let before = webhooks.entries.len();
            for entry in entries.into_iter().flatten() {
                let shown = entry
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if !shown.ends_with(WEBHOOK_SUFFIX) || !is_for_new_pods(entry) {
                    continue;
                }
                let selector = |field: &str| {
                    selector(entry.get(field)).with_context(|| {
                        format!("{field} of webhook {shown} in {name} is no label selector")
                    })
                };
                webhooks.entries.push(Entry {
                    namespaces: selector("namespaceSelector")?,
                    pods: selector("objectSelector")?,
                    served: Served {
                        name: shown.to_owned(),
                        configuration: name.to_owned(),
                        revision: revision.to_owned(),
                    },
                });
            }
            if webhooks.entries.len() > before {
                let names = [Some(revision), label(labels::TAG)];
                webhooks
                    .served
                    .extend(names.into_iter().flatten().map(str::to_owned));
            }
        }
        Ok(webhooks)
    }

    /// Whom the API server asks about `pod`, or why nobody.
    pub(crate) fn select(&self, pod: &Value, namespace: &Namespace) -> Selection {
        let of_pod = pod.pointer("/metadata/labels").and_then(Value::as_object);
        let object = namespace.object.as_ref();
        let given = object.and_then(|object| object.pointer("/metadata/labels"));
        let mut of_namespace = given
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        // Left out, because then a selector that matches shows that the name alone is in the way.
        of_namespace.remove(NAME_LABEL);
        let nameless = self.matching(&of_namespace, of_pod).is_some();
        let asks = asks(&of_namespace, of_pod);
        let revision = revision(&of_namespace, of_pod).map(str::to_owned);
        let disabled = text(Some(&of_namespace), labels::INJECTION) == Some("disabled");
        of_namespace.insert(NAME_LABEL.to_owned(), namespace.name.as_str().into());
        if let Some(entry) = self.matching(&of_namespace, of_pod) {
            return Selection::Chosen(entry.served.clone());
        }
        Selection::Passed(if self.entries.is_empty() {
            Passed::WebhookMissing
        } else if text(of_pod, labels::INJECT) == Some("false") {
            Passed::PodDisabled
        } else if disabled {
            Passed::NamespaceDisabled
        } else if nameless {
            Passed::NamespaceExcluded
        } else if revision.is_some_and(|revision| !self.served.contains(&revision)) {
            Passed::RevisionUnknown
        } else if asks {
            Passed::NoMatch
        } else {
            Passed::NotAsked
        })
    }

    fn matching(
        &self,
        of_namespace: &Map<String, Value>,
        of_pod: Option<&Map<String, Value>>,
    ) -> Option<&Entry> {
        let matches = |selector: &Option<Selector>, labels| {
            selector
                .as_ref()
                .is_none_or(|selector| selector.matches(labels))
        };
        self.entries.iter().find(|entry| {
            matches(&entry.namespaces, Some(of_namespace)) && matches(&entry.pods, of_pod)
        })
    }
}

/// The webhook configurations in a document, lists included.
fn collect(document: Value, found: &mut Vec<Value>, max_lists: usize) {
    match document.get("kind").and_then(Value::as_str) {
        Some("MutatingWebhookConfiguration") => found.push(document),
        Some("List" | "MutatingWebhookConfigurationList") if max_lists > 0 => {
            let items = document.get("items").and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                collect(item.clone(), found, max_lists - 1);
            }
        }
        _ => {}
    }
}

/// An empty selector matches everything here, as Kubernetes has it.
fn selector(value: Option<&Value>) -> anyhow::Result<Option<Selector>> {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) if fields.values().all(is_empty) => Ok(None),
        Some(other) => Ok(Some(Selector::parse(other)?)),
    }
}

fn is_for_new_pods(entry: &Value) -> bool {
    let rules = entry.get("rules").and_then(Value::as_array);
    rules.into_iter().flatten().any(|rule| {
        let names = |field: &str, wanted: &[&str]| {
            let list = rule.get(field).and_then(Value::as_array);
            let mut texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.any(|text| wanted.contains(&text))
        };
        names("operations", &["CREATE", "*"])
            && names("apiGroups", &["", "*"])
            && names("resources", &["pods", "*", "*/*"])
    })
}

fn text<'a>(labels: Option<&'a Map<String, Value>>, key: &str) -> Option<&'a str> {
    labels?.get(key)?.as_str()
}

/// The namespace's revision wins over the pod's.
fn revision<'a>(
    of_namespace: &'a Map<String, Value>,
    of_pod: Option<&'a Map<String, Value>>,
) -> Option<&'a str> {
    text(Some(of_namespace), labels::REVISION).or_else(|| text(of_pod, labels::REVISION))
}

fn asks(of_namespace: &Map<String, Value>, of_pod: Option<&Map<String, Value>>) -> bool {
    text(Some(of_namespace), labels::INJECTION) == Some("enabled")
        || text(of_pod, labels::INJECT) == Some("true")
        || revision(of_namespace, of_pod).is_some()
}

// === impl Passed ===

impl Passed {
    pub(super) const ALL: [Self; 7] = [
        Self::WebhookMissing,
        Self::PodDisabled,
        Self::NamespaceDisabled,
        Self::NamespaceExcluded,
        Self::RevisionUnknown,
        Self::NoMatch,
        Self::NotAsked,
    ];

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::WebhookMissing => "webhook-missing",
            Self::NamespaceDisabled => "namespace-disabled",
            // The injector says the same of a pod that does reach it.
            Self::PodDisabled => "opted-out-by-label",
            Self::RevisionUnknown => "revision-unknown",
            Self::NamespaceExcluded => "namespace-excluded",
            Self::NotAsked => "not-labelled",
            Self::NoMatch => "no-webhook-matches",
        }
    }

    pub(super) fn fix(self) -> &'static str {
        match self {
            Self::WebhookMissing => {
                "install the control plane, or restore its MutatingWebhookConfiguration with helm upgrade"
            }
            Self::NamespaceDisabled => "label the namespace istio-injection=enabled",
            Self::PodDisabled => template::Reason::OptedOutByLabel.fix(),
            Self::RevisionUnknown => {
                "correct the label istio.io/rev, or install a control plane with that revision or tag"
            }
            Self::NamespaceExcluded => "run the pod in a namespace of its own",
            Self::NotAsked => {
                "label the namespace istio-injection=enabled, or the pod template sidecar.istio.io/inject: \"true\""
            }
            Self::NoMatch => {
                "compare the labels with the selectors: kubectl get mutatingwebhookconfigurations -o yaml"
            }
        }
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebhookMissing => "the cluster has no injection webhook",
            Self::NamespaceDisabled => {
                "the namespace's label istio-injection is disabled, which no pod can override"
            }
            Self::PodDisabled => "the pod's label sidecar.istio.io/inject is \"false\"",
            Self::RevisionUnknown => {
                "the label istio.io/rev names a revision that no injection webhook serves"
            }
            Self::NamespaceExcluded => "the injection webhooks leave this namespace out",
            Self::NotAsked => "neither the namespace nor the pod asks for injection",
            Self::NoMatch => "no injection webhook matches the labels of namespace and pod",
        })
    }
}

impl From<Passed> for Cause {
    fn from(passed: Passed) -> Self {
        Self {
            code: passed.code(),
            message: passed.to_string(),
            fix: passed.fix(),
        }
    }
}

#[cfg(test)]
mod tests;

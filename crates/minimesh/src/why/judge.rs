//! What the injector makes of a pod, and how a pod that exists compares with that.
//!
//! Asked once it is known which injector it would be. The decision is the crate `template`'s, by a dry injection; a pod that bears
//! a sidecar is injected again, which changes nothing unless the configuration is another one. Pure.

use std::collections::BTreeMap;

use contract::{
    annotations,
    labels::{INJECT, REVISION},
    pod::{INIT_CONTAINER, PROXY_CONTAINER},
};
use serde_json::Value;
use template::{Config, Namespace, Outcome, Request};

use super::{
    cause::{Cause, Finding},
    report::{Report, Verdict},
};
use crate::workload;

/// What is asked about one pod.
pub(super) struct Question<'a> {
    pub(super) pod: &'a Value,
    pub(super) namespace: &'a Namespace,
    /// The workload around a pod template.
    pub(super) workload: Option<&'a Value>,
    /// Whether the API server asks the injector, as far as is known.
    pub(super) is_chosen: bool,
}

/// Prefixes of annotations that only pods have.
const POD_ANNOTATIONS: [&str; 5] = [
    "sidecar.istio.io/",
    "traffic.sidecar.istio.io/",
    "status.sidecar.istio.io/",
    "proxy.istio.io/",
    "inject.istio.io/",
];

// === impl Question ===

impl Question<'_> {
    /// Writes verdict, reasons and surprises into `report`.
    pub(super) fn answer(&self, config: &Config, report: &mut Report) {
        report.surprises.extend(self.misplaced());
        let request = Request {
            pod: self.pod,
            namespace: self.namespace,
            owner: self.workload.map(workload::owner),
            environment: &BTreeMap::new(),
        };
        let outcome = match template::inject(config, &request) {
            Ok(outcome) => outcome,
            Err(error) => {
                let error = anyhow::Error::new(error);
                report
                    .reasons
                    .push(Finding::Refused.of(format!("{error:#}")));
                // Nobody refuses a pod that nobody is asked about.
                report.verdict = if self.is_chosen {
                    Verdict::Refused
                } else {
                    Verdict::NotInjected
                };
                return;
            }
        };
        let (Outcome::Injected { warnings, .. } | Outcome::Skipped { warnings, .. }) = &outcome;
        report.surprises.extend(warnings.iter().map(Cause::from));
        let surprises = template::surprises(self.pod, &outcome);
        report
            .surprises
            .extend(surprises.into_iter().map(Cause::from));
        if let Outcome::Skipped { reason, .. } = &outcome {
            let cause = Cause::from(reason);
            if report.reasons.iter().all(|known| known.code != cause.code) {
                report.reasons.push(cause);
            }
        }
        report.verdict = self.verdict(&outcome, config, report);
    }

    fn verdict(&self, outcome: &Outcome, config: &Config, report: &mut Report) -> Verdict {
        let fresh = match outcome {
            Outcome::Injected { pod, .. } if self.is_chosen => Some(pod),
            _ => None,
        };
        match (self.has_sidecar(), fresh) {
            (true, Some(fresh)) => {
                report.surprises.extend(self.stale(fresh, config));
                Verdict::Injected
            }
            (true, None) => {
                let why = report.reasons.drain(..).map(|cause| cause.message);
                let why = why.collect::<Vec<_>>().join(", and ");
                let message = format!("a new pod like this would have no sidecar: {why}");
                report.surprises.push(Finding::NoLongerInjected.of(message));
                Verdict::Injected
            }
            (false, Some(_)) if self.exists() => {
                let message =
                    "the pod runs without a sidecar, though a new one like it would have one";
                report
                    .reasons
                    .push(Finding::OlderThanConfiguration.of(message));
                Verdict::NotInjected
            }
            (false, Some(_)) => Verdict::WouldBeInjected,
            (false, None) => Verdict::NotInjected,
        }
    }

    /// Whether an injection has been here before.
    fn has_sidecar(&self) -> bool {
        let annotations = self.pod.pointer("/metadata/annotations");
        annotations.is_some_and(|map| map.get(annotations::STATUS).is_some())
    }

    /// A pod that the API server has, not one that is to be.
    fn exists(&self) -> bool {
        self.workload.is_none() && self.pod.pointer("/metadata/uid").is_some()
    }

    fn stale(&self, fresh: &Value, config: &Config) -> Option<Cause> {
        let revision = revision(self.pod)?;
        let current = match config.options().revision.as_str() {
            "" => "default",
            other => other,
        };
        if revision != current {
            return Some(Finding::StaleSidecar.of(format!(
                "the sidecar is of revision {revision:?}, a new one would be of {current:?}"
            )));
        }
        [PROXY_CONTAINER, INIT_CONTAINER]
            .into_iter()
            .find_map(|name| {
                let (running, wanted) = (image(self.pod, name)?, image(fresh, name)?);
                (running != wanted).then(|| {
                    Finding::StaleSidecar.of(format!(
                        "the image of {name} is {running:?}, a new one would have {wanted:?}"
                    ))
                })
            })
    }

    /// Labels and annotations that do nothing where they are.
    fn misplaced(&self) -> Vec<Cause> {
        let mut found = Vec::new();
        if let Some(workload) = self.workload {
            let metadata = |field: &str| keys(workload, field);
            let labels = metadata("labels").filter(|key| [INJECT, REVISION].contains(key));
            let annotations = metadata("annotations")
                .filter(|key| POD_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix)));
            let has = |field: &str, key: &str| keys(self.pod, field).any(|known| known == key);
            let misplaced = labels
                .filter(|key| !has("labels", key))
                .chain(annotations.filter(|key| !has("annotations", key)));
            if let Some(key) = misplaced.min() {
                found.push(
                    Finding::MisplacedOnOwner
                        .of(format!("{key} is on the workload, where nothing reads it")),
                );
            }
        }
        let namespace = self.namespace.object.as_ref();
        if namespace.is_some_and(|object| keys(object, "labels").any(|key| key == INJECT)) {
            found.push(Finding::PodLabelOnNamespace.of(format!(
                "the namespace has the label {INJECT}, which is read on pods only"
            )));
        }
        found
    }
}

fn keys<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let map = object
        .pointer("/metadata")
        .and_then(|metadata| metadata.get(field));
    let map = map.and_then(Value::as_object).into_iter().flatten();
    map.map(|(key, _)| key.as_str())
}

/// The revision that injected the pod, by its own word.
fn revision(pod: &Value) -> Option<String> {
    let status = pod
        .pointer("/metadata/annotations")?
        .get(annotations::STATUS)?;
    let status: Value = serde_json::from_str(status.as_str()?).ok()?;
    Some(status.get("revision")?.as_str()?.to_owned())
}

fn image<'a>(pod: &'a Value, container: &str) -> Option<&'a str> {
    let spec = pod.get("spec")?;
    let lists = ["containers", "initContainers"].into_iter();
    let mut all = lists
        .filter_map(|list| spec.get(list)?.as_array())
        .flatten();
    let found = all.find(|item| item.get("name").and_then(Value::as_str) == Some(container))?;
    found.get("image")?.as_str()
}

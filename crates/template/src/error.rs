//! Why a pod cannot be injected.
//!
//! Returned by `inject`; the webhook denies the pod with it, the command line prints it and stops.
//! Each message names the field, annotation or template, and says what to do where that is not obvious.

use crate::{
    bypass::CaptureBypass, gotemplate::ExecError, merge, validate::InvalidAnnotation, yaml,
};

/// Ways around the capture that a message lists.
const MAX_WAYS: usize = 5;

/// A pod that was to be injected and cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the pod is not of its type.
    #[error(
        "field {field} of the pod must be {expected}, but is {found}{}",
        quote(expected, found)
    )]
    Shape {
        /// Such as `spec.containers[0].name`.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Annotations have values that they cannot have.
    #[error("{}", list(annotations))]
    Annotations {
        /// All of them, in the order of their keys.
        annotations: Vec<InvalidAnnotation>,
    },
    /// The pod asks for a template that there is not.
    #[error(
        "template {name:?} is not in the configuration, which has {known}; correct annotation inject.istio.io/templates or `defaultTemplates`"
    )]
    UnknownTemplate {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// A value of the pod would be more than data in what a template gives.
    #[error(
        "{place} would change the structure of what template {template:?} gives{}{}; write nothing there that YAML could read as more than one plain text",
        at_path(at), its_value(value.as_deref())
    )]
    Structure {
        /// The template.
        template: String,
        /// Where the value stands, such as `annotation sidecar.istio.io/logLevel`.
        place: String,
        /// The value, shortened if it is long; none where it takes several together.
        value: Option<String>,
        /// Such as `spec.containers[0].args`; empty where the result is no part of a pod at all.
        at: String,
    },
    /// The pod could step around the capture, and the configuration refuses that.
    #[error(
        "{}; the mesh refuses pods that can step around the capture (values: sidecarInjectorWebhook.refuseCaptureBypass), so change that, or run the pod outside of the mesh",
        ways(found)
    )]
    CaptureBypass {
        /// All ways, those of the whole pod first.
        found: Vec<CaptureBypass>,
    },
    /// A template fails for this pod.
    #[error("failed to render template {name:?}")]
    Render {
        /// The template.
        name: String,
        /// Where and why.
        source: ExecError,
    },
    /// What a template gave is not YAML.
    #[error("template {name:?} rendered to something that is not YAML")]
    RenderedYaml {
        /// The template.
        name: String,
        /// Where in the rendered text, and why.
        source: yaml::Error,
    },
    /// What a template gave is not a part of a pod.
    #[error("template {name:?} rendered to something that is no pod")]
    RenderedShape {
        /// The template.
        name: String,
        /// The field that is wrong.
        source: Box<Self>,
    },
    /// What a template gave cannot be laid over the pod.
    #[error("template {name:?} cannot be merged into the pod")]
    Merge {
        /// The template.
        name: String,
        /// The directive that is wrong.
        source: merge::Error,
    },
    /// The record of the user's own containers was damaged.
    #[error(
        "annotation proxy.istio.io/overrides is damaged; remove it, and state your own containers in the pod"
    )]
    Overrides {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Metrics are to be collected from a port that cannot be.
    #[error(
        "metrics cannot be collected from port {port:?}, {reason}; correct annotation {annotation}"
    )]
    ScrapePort {
        /// As annotated.
        port: String,
        /// Which annotation.
        annotation: String,
        /// Why not.
        reason: &'static str,
    },
}

/// YAML takes `n` for a boolean and `1.0` for a number, which few expect.
fn quote(expected: &str, found: &str) -> &'static str {
    match (expected, found) {
        ("a string" | "a name", "a boolean" | "a number") => "; quote it",
        _ => "",
    }
}

fn at_path(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!(" at {path}"),
    }
}

fn its_value(value: Option<&str>) -> String {
    value
        .map(|value| format!(" by its value {value:?}"))
        .unwrap_or_default()
}

/// The first few, and how many more.
fn ways(found: &[CaptureBypass]) -> String {
    let shown: Vec<_> = found
        .iter()
        .take(MAX_WAYS)
        .map(CaptureBypass::to_string)
        .collect();
    match found.len().saturating_sub(MAX_WAYS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn list(annotations: &[InvalidAnnotation]) -> String {
    annotations
        .iter()
        .map(InvalidAnnotation::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

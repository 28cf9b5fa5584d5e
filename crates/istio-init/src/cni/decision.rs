//! Whether a pod is to be captured, and how: its annotations in, a [`Capture`] or nothing out.
//!
//! Called by [`cni`](super) with the request; pure. Flags go through the very parser of the init container, so what this plugin sets is what
//! `istio-validation`, which has the same flags, expects.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ffi::OsString};

use contract::{annotations, cni, ids::PROXY_UID, pod, ports};
use serde_json::{Map, Value};

use super::{error::CniError, request::Request};
use crate::{
    accounts::Accounts,
    args::{self, Invocation, Problem, UsageError},
    capture::{Capture, Dns},
};

/// What to do with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Set these rules.
    Capture(Box<Capture>),
    /// It is not of the mesh, or somebody else sets its rules.
    Pass,
}

/// A command line and its variables.
struct Flags {
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// Names mean users of the pod's image, which is not here.
struct NoAccounts;

/// Flags of a container that only checks, taken back: the last of a repeated flag counts. The pod's resolver is not known here, so
/// where DNS is captured, all of it is, as with Istio's plugin.
const OVERRIDES: [&str; 5] = [
    "--run-validation=false",
    "--skip-rule-apply=false",
    "--dry-run=false",
    "--cleanup-only=false",
    "--capture-all-dns=true",
];

/// Decides by the annotations of the request's pod.
///
/// # Errors
/// They are not there and the pod could be of the mesh, or they ask for something that cannot be done.
pub(super) fn decide(request: &Request) -> Result<Decision, CniError> {
    let annotations = match request.annotations() {
        Some(annotations) => annotations?,
        None if request.is_excluded()? => return Ok(Decision::Pass),
        None => return Err(CniError::NoAnnotations { pod: request.pod() }),
    };
    let annotation = |name: &str| annotations.get(name).and_then(Value::as_str);
    let Some(status) = annotation(annotations::STATUS) else {
        return Ok(Decision::Pass);
    };
    let wrong = |problem: &str| CniError::Annotation {
        pod: request.pod(),
        name: annotations::STATUS,
        problem: problem.to_owned(),
    };
    let Ok(Value::Object(status)) = serde_json::from_str(status) else {
        return Err(wrong("no JSON object"));
    };
    if !is_captured_here(&status, &annotation) {
        return Ok(Decision::Pass);
    }
    let flags = match status.get(cni::CAPTURE) {
        Some(recorded) => Flags::recorded(recorded).ok_or_else(|| {
            wrong("without a list of texts in capture.args, or with an odd capture.env")
        })?,
        None => Flags::annotated(&annotation),
    };
    match flags.capture() {
        Ok(capture) => Ok(Decision::Capture(Box::new(capture))),
        Err(source) => Err(CniError::Capture {
            pod: request.pod(),
            source,
        }),
    }
}

/// Whether the pod has a sidecar, and no other way to get its rules.
fn is_captured_here<'a>(
    status: &Map<String, Value>,
    annotation: &dyn Fn(&str) -> Option<&'a str>,
) -> bool {
    let lists = ["initContainers", "containers"].map(|list| status.get(list));
    let has = |name: &str| {
        let names = lists.iter().flatten().filter_map(|list| list.as_array());
        names.flatten().any(|given| given.as_str() == Some(name))
    };
    let is_checked = has(pod::VALIDATION_CONTAINER);
    // Templates that an author chose, such as those of a gateway or of gRPC without a proxy, capture nothing unless they say that they do.
    let is_special = annotation(annotations::TEMPLATES).is_some_and(|names| !names.is_empty());
    has(pod::PROXY_CONTAINER)
        && !has(pod::INIT_CONTAINER)
        && annotation(annotations::INTERCEPTION_MODE) != Some("NONE")
        && (is_checked || !is_special)
}

// === impl Flags ===

impl Flags {
    /// What the injector recorded: the command line and the variables of the container that checks.
    fn recorded(record: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let arguments = record.get(cni::ARGS)?.as_array()?.iter().map(text);
        let variables = match record.get(cni::ENV) {
            None => BTreeMap::new(),
            Some(Value::Object(variables)) => {
                let pairs = variables.iter();
                let pairs = pairs.map(|(name, value)| Some((name.clone(), text(value)?)));
                pairs.collect::<Option<_>>()?
            }
            Some(_) => return None,
        };
        Some(Self {
            arguments: arguments.collect::<Option<_>>()?,
            variables,
        })
    }

    /// What the annotations say that every injector for Istio's plugin writes, with Istio's defaults.
    fn annotated<'a>(annotation: &dyn Fn(&str) -> Option<&'a str>) -> Self {
        let or = |name, default: &str| annotation(name).unwrap_or(default).to_owned();
        let excluded = ports::INBOUND_EXCLUDED
            .map(|port| port.to_string())
            .join(",");
        let excluded = match annotation(annotations::EXCLUDE_INBOUND_PORTS) {
            None | Some("") => excluded,
            Some(more) => format!("{excluded},{more}"),
        };
        let interfaces = annotation(annotations::REROUTE_VIRTUAL_INTERFACES)
            .or(annotation(annotations::KUBEVIRT_INTERFACES));
        let arguments = [
            ("-u", PROXY_UID.to_string()),
            ("-m", or(annotations::INTERCEPTION_MODE, "REDIRECT")),
            ("-i", or(annotations::INCLUDE_OUTBOUND_IP_RANGES, "*")),
            ("-x", or(annotations::EXCLUDE_OUTBOUND_IP_RANGES, "")),
            ("-b", or(annotations::INCLUDE_INBOUND_PORTS, "*")),
            ("-d", excluded),
            ("-q", or(annotations::INCLUDE_OUTBOUND_PORTS, "")),
            ("-o", or(annotations::EXCLUDE_OUTBOUND_PORTS, "")),
            ("-k", interfaces.unwrap_or_default().to_owned()),
            ("-c", or(annotations::EXCLUDE_INTERFACES, "")),
        ];
        Self {
            arguments: arguments
                .into_iter()
                .flat_map(|(flag, value)| [flag.to_owned(), value])
                .collect(),
            variables: BTreeMap::new(),
        }
    }

    fn capture(self) -> Result<Capture, UsageError> {
        let overrides = OVERRIDES.map(str::to_owned);
        let arguments = self.arguments.into_iter().chain(overrides);
        let arguments = arguments.map(OsString::from).collect();
        let variable = |name: &str| self.variables.get(name).map(OsString::from);
        match args::parse(arguments, &variable, &NoAccounts).1? {
            Invocation::Run(config) => Ok(for_a_node(config.capture)),
            Invocation::Help | Invocation::Version => Err(UsageError {
                problems: vec![Problem::UnexpectedArgument {
                    given: "--help or --version".to_owned(),
                }],
            }),
        }
    }
}

/// The pod's DNS servers are not known on its node, so questions to any are captured, as Istio's plugin does it.
fn for_a_node(mut capture: Capture) -> Capture {
    if matches!(capture.dns, Dns::Servers(_)) {
        capture.dns = Dns::All;
    }
    capture
}

// === impl NoAccounts ===

impl Accounts for NoAccounts {
    fn user(&self, _name: &str) -> Option<u32> {
        None
    }

    fn group(&self, _name: &str) -> Option<u32> {
        None
    }
}

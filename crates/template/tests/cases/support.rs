//! Running a case through the library.

use std::{error::Error, iter};

use serde_json::Value;
use template::{Config, Namespace, Node, Options, Outcome, Owner, Request, Sources, Text};
use template::{environment, inject, patch, surprises, uninject, yaml};
use testkit::cases::{Case, End, Expected, Remark, Switches, workload};

/// What came of a case.
pub(crate) struct Seen {
    pub(crate) expected: Expected,
    injection: Option<Injection>,
}

/// A pod that was injected, and how.
struct Injection {
    config: Config,
    owner: Option<Owner>,
    before: Value,
    after: Value,
}

/// Injects the case's pod, or the pod template of its workload.
pub(crate) fn run(case: &Case) -> Seen {
    let config = match load(case) {
        Ok(config) => config,
        Err(error) => return Seen::of(End::BadConfiguration(chain(&error))),
    };
    let manifest = match yaml::parse(&case.file(), &case.input()) {
        Ok(manifest) => manifest,
        Err(error) => return Seen::of(End::Refused(error.to_string())),
    };
    let (pod, owner) = match workload(&manifest) {
        Some(workload) => (workload.template(&manifest), Some(owner(&manifest))),
        None => (manifest.clone(), None),
    };
    let outcome = match inject_pod(case, &config, &pod, owner.clone()) {
        Ok(outcome) => outcome,
        Err(error) => return Seen::of(End::Refused(chain(&error))),
    };
    let remarks = remarks(&pod, &outcome);
    let mut injection = None;
    let end = match outcome {
        Outcome::Injected { pod: after, .. } => {
            let whole = match workload(&manifest) {
                Some(workload) => workload.with_template(&manifest, after.clone()),
                None => after.clone(),
            };
            injection = Some(Injection {
                config,
                owner,
                before: pod,
                after,
            });
            End::Injected(yaml::to_string(&whole))
        }
        Outcome::Skipped { reason, .. } => End::Skipped {
            code: reason.code().to_owned(),
            reason: reason.to_string(),
            fix: reason.fix().to_owned(),
        },
    };
    Seen {
        expected: Expected { remarks, end },
        injection,
    }
}

/// Injects the result again and takes the injection back, and checks that these and the patch are what they should be.
pub(crate) fn check_laws(case: &Case, seen: &Seen) -> Result<(), String> {
    let Some(injection) = &seen.injection else {
        return Ok(());
    };
    let (before, once) = (&injection.before, &injection.after);
    let mut patched = before.clone();
    let operations = patch::diff(before, once);
    patch::apply(&mut patched, &operations).map_err(|error| format!("{}: {error}", case.name))?;
    if patched != *once {
        return Err(format!("{}: the patch gives another pod", case.name));
    }
    // A case may be about a pod that was injected before; that one's origin is meant then. A record that cannot be read is none.
    let origin = |pod: &Value| match uninject(pod) {
        Ok(Some(restored)) => restored.pod,
        Ok(None) | Err(_) => pod.clone(),
    };
    let (author, restored) = (origin(before), origin(once));
    let changes = patch::diff(&author, &restored);
    if !changes.is_empty() {
        let changes = serde_json::to_string_pretty(&changes).expect("plain data");
        return Err(format!(
            "{}: taking it back gives another pod:\n{changes}",
            case.name
        ));
    }
    match inject_pod(case, &injection.config, once, injection.owner.clone()) {
        Ok(Outcome::Injected { pod: twice, .. }) if twice == *once => Ok(()),
        Ok(Outcome::Injected { pod: twice, .. }) => {
            let changes =
                serde_json::to_string_pretty(&patch::diff(once, &twice)).expect("plain data");
            Err(format!(
                "{}: injecting again changes the pod:\n{changes}",
                case.name
            ))
        }
        _ => Err(format!("{}: injecting again fails", case.name)),
    }
}

fn inject_pod(
    case: &Case,
    config: &Config,
    pod: &Value,
    owner: Option<Owner>,
) -> Result<Outcome, template::Error> {
    let request = Request {
        pod,
        namespace: &Namespace::of(case.namespace_object()),
        owner,
        environment: &environment::from_path(case.path),
    };
    inject(config, &request)
}

fn owner(manifest: &Value) -> Owner {
    let field = |pointer| {
        let value = manifest.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Owner {
        api_version: field("/apiVersion"),
        kind: field("/kind"),
        name: field("/metadata/name"),
        namespace: field("/metadata/namespace"),
    }
}

/// The case's configuration, compiled.
pub(crate) fn load(case: &Case) -> Result<Config, template::ConfigError> {
    let texts = case.texts(|text| yaml::parse("overlay", text).expect("YAML"));
    let text = |name, text| Text { name, text };
    let sources = Sources {
        config: text("config", &texts.config),
        values: text("values", &texts.values),
        mesh: text("mesh", &texts.mesh),
    };
    Config::load(&sources, options(&case.switches))
}

fn options(switches: &Switches) -> Options {
    let nodes = switches.nodes.iter().map(|(name, version)| Node {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
    });
    Options {
        revision: switches.revision.to_owned(),
        native_sidecars: switches.native_sidecars.parse().expect("a mode"),
        nodes: Some(nodes.collect()).filter(|nodes: &Vec<_>| !nodes.is_empty()),
        compliance_policy: switches.compliance_policy.to_owned(),
        platform: switches.platform.parse().expect("a platform"),
    }
}

fn remarks(pod: &Value, outcome: &Outcome) -> Vec<Remark> {
    let (Outcome::Injected { warnings, .. } | Outcome::Skipped { warnings, .. }) = outcome;
    let warnings = warnings
        .iter()
        .map(|warning| (warning.code(), warning.to_string()));
    let surprises = surprises(pod, outcome);
    let surprises = surprises
        .iter()
        .map(|surprise| (surprise.code.as_str(), surprise.to_string()));
    let remark = |(code, text): (&str, String)| Remark {
        code: code.to_owned(),
        text,
    };
    warnings.chain(surprises).map(remark).collect()
}

fn chain(error: &dyn Error) -> String {
    iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

// === impl Seen ===

impl Seen {
    fn of(end: End) -> Self {
        Self {
            expected: Expected {
                remarks: Vec::new(),
                end,
            },
            injection: None,
        }
    }
}

//! Whether pods can be injected by a configuration at all.
//!
//! Asked before a new configuration is used: that templates parse does not mean that they render, or to a part of a pod. The trial pod is as plain as
//! a pod can be, so what fails for it fails for nearly every other. A template that refuses it on purpose, by `fail` or `required`, is
//! within its rights: it may ask for a label that plain pods lack.

use std::collections::BTreeMap;

use contract::labels;
use serde_json::{Value, json};
use template::{Config, Error, Namespace, Request, gotemplate::ExecReason};

/// Functions by which templates refuse pods.
const REFUSALS: [&str; 2] = ["fail", "required"];

/// Injects the trial pod.
///
/// # Errors
/// What any author of a plain pod would be told.
pub(super) fn run(config: &Config) -> Result<(), Error> {
    let pod = pod();
    let namespace = Namespace::named("default");
    let request = Request {
        pod: &pod,
        namespace: &namespace,
        owner: None,
        environment: &BTreeMap::new(),
    };
    match template::inject(config, &request) {
        Err(error) if !is_deliberate(&error) => Err(error),
        _ => Ok(()),
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", "labels": {labels::INJECT: "true"}},
        "spec": {"containers": [{"name": "application", "image": "application"}]},
    })
}

fn is_deliberate(error: &Error) -> bool {
    let Error::Render { source, .. } = error else {
        return false;
    };
    matches!(&source.reason, ExecReason::Call { function, .. } if REFUSALS.contains(function))
}

#[cfg(test)]
mod tests {
    use template::{Options, Sources, Text};

    use super::*;

    fn trial(template: &str) -> Result<(), String> {
        let text = |text| Text { name: "x", text };
        let config =
            format!("templates:\n  sidecar: |\n    {template}\ndefaultTemplates: [sidecar]\n");
        let sources = Sources {
            config: text(&config),
            values: text(""),
            mesh: text(""),
        };
        let config = Config::load(&sources, Options::default()).expect("it compiles");
        run(&config).map_err(|error| runtime::error::chain(&error).to_string())
    }

    #[test]
    fn what_renders_to_a_part_of_a_pod_passes() {
        assert_eq!(trial("spec: {dnsPolicy: Default}"), Ok(()));
        assert_eq!(trial(r#"{{ fail "label your pods" }}"#), Ok(()));
    }

    #[test]
    fn what_cannot_be_rendered_or_merged_is_told() {
        for (template, expected) in [
            ("spec: {{ index .Values 7 }}", "index"),
            ("spec: [", "not YAML"),
            ("spec: {containers: 7}", "containers"),
        ] {
            let error = trial(template).expect_err(template);
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}

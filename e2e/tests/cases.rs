//! The goldens of the table of injection cases as an API server sees them.
//!
//! Each injected manifest is created for show (`--dry-run=server`), so that it passes decoding with strict fields, defaulting, validation and admission, and nothing
//! is left behind. What is refused has to be on a list with the reason, and what is on the list has to be refused.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use contract::labels;
use e2e::{Injection, Namespace, scenario};
use serde_json::{Value, json};
use template::yaml;
use testkit::cases::{self, Case, End, workload};

/// What no API server takes, because its author wrote it so.
const REFUSED: [(&str, &str); 2] = [
    ("unknown-fields", "fields of a later version of Kubernetes"),
    ("wrong-twice", "two containers of one name"),
];

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn every_injected_pod_is_taken_by_the_api_server() {
    scenario("cases", |scene| {
        let namespace = scene.namespace(Injection::Unlabelled)?;
        // Nobody is to inject a second time, and nobody to refuse what a cluster of another policy takes.
        namespace.label(labels::INJECTION, Some("disabled"))?;
        namespace.label("pod-security.kubernetes.io/enforce", Some("privileged"))?;
        let objects = injected()?;
        create_accounts(&namespace, objects.values())?;
        let documents: Vec<_> = objects.values().map(Value::to_string).collect();
        let args = ["create", "--dry-run=server", "-f", "-"];
        let outcome = namespace.try_run(&args, Some(&documents.join("\n---\n")))?;
        let taken: BTreeSet<&str> = outcome.stdout.lines().filter_map(created_name).collect();
        let refused: Vec<&str> = objects
            .keys()
            .copied()
            .filter(|name| !taken.contains(name))
            .collect();
        let expected: Vec<&str> = REFUSED.iter().map(|(name, _)| *name).collect();
        ensure!(
            refused == expected,
            "{refused:?} were refused instead of {expected:?}: {}",
            outcome.stderr
        );
        Ok(())
    });
}

/// The manifests of all cases that are injected, each named after its case.
fn injected() -> anyhow::Result<BTreeMap<&'static str, Value>> {
    let manifest = |case: &Case| match case.expected().end {
        End::Injected(text) => Some((case.name, text)),
        End::Skipped { .. } | End::Refused(_) | End::BadConfiguration(_) => None,
    };
    let named = |(name, text): (&'static str, String)| {
        let mut object = yaml::parse(name, &text)?;
        let metadata = object
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .with_context(|| format!("{name} has no metadata"))?;
        metadata.remove("namespace");
        metadata.insert("name".to_owned(), json!(name));
        Ok((name, object))
    };
    cases::all()
        .iter()
        .filter_map(manifest)
        .map(named)
        .collect()
}

/// Pods are refused where their service account is missing.
fn create_accounts<'a>(
    namespace: &Namespace,
    objects: impl Iterator<Item = &'a Value>,
) -> anyhow::Result<()> {
    let account = |object: &Value| {
        let spec = match workload(object) {
            Some(workload) => workload.template(object)["spec"].take(),
            None => object["spec"].clone(),
        };
        spec["serviceAccountName"].as_str().map(str::to_owned)
    };
    let names: BTreeSet<String> = objects.filter_map(account).collect();
    for name in names.iter().filter(|name| *name != "default") {
        namespace.run(&["create", "serviceaccount", name])?;
    }
    Ok(())
}

/// The name in `pod/NAME created (server dry run)`.
fn created_name(line: &str) -> Option<&str> {
    let (object, rest) = line.split_once(' ')?;
    let (_, name) = object.rsplit_once('/')?;
    rest.starts_with("created").then_some(name)
}

//! `minimesh template policy`: the configuration as admission policies, for clusters that inject without a webhook.
//!
//! Called by the group's `run`. The crate `template` makes the policies; here they are printed, with what they do not say as comments before them.
//! Nothing is applied: the output goes to `kubectl apply -f -` or to a repository.

use std::fmt::Write as _;

use anyhow::Context;
use serde_json::json;
use template::{
    policy::{self, Policy, Selection, Settings},
    yaml,
};

use crate::{
    args::{ConfigurationArgs, PolicyArgs, PolicyFormat},
    configuration::Files,
    output,
};

/// Namespaces in which nothing may depend on a policy that is being changed.
const ALWAYS_EXCLUDED: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Prints the policies.
///
/// # Errors
/// The configuration cannot be read, or does something for every pod that CEL cannot say.
pub(super) fn run(args: &PolicyArgs) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let files = Files::read(&args.configuration)?;
    let cluster = files.connect(&args.configuration)?;
    let config = files.load(&args.configuration, cluster.as_ref())?;
    let policy = policy::compile(&config, &settings)?;
    for unsaid in &policy.unsaid {
        eprintln!("{unsaid}");
    }
    let text = match args.output {
        PolicyFormat::Yaml => as_yaml(&policy)?,
        PolicyFormat::Json => format!("{:#}\n", as_json(&policy)),
    };
    output::write(None, &text)
}

fn settings(args: &PolicyArgs) -> anyhow::Result<Settings> {
    let selection = match (&args.namespace_selector, args.unlabelled_namespaces) {
        (Some(label), _) => {
            let label = label.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = label.context("--namespace-selector must be KEY=VALUE")?;
            Selection::Namespaces(key.to_owned(), value.to_owned())
        }
        (None, true) => Selection::WebhookAndUnlabelled,
        (None, false) => Selection::Webhook,
    };
    Ok(Settings {
        api_version: args.api_version.parse().context("--api-version")?,
        selection,
        excluded_namespaces: excluded(&args.configuration),
        allows_unsupported: args.allow_unsupported,
    })
}

fn excluded(configuration: &ConfigurationArgs) -> Vec<String> {
    let mut names: Vec<String> = ALWAYS_EXCLUDED.map(str::to_owned).to_vec();
    let own = &configuration.cluster.istio_namespace;
    if !names.contains(own) {
        names.push(own.clone());
    }
    names
}

fn as_yaml(policy: &Policy) -> anyhow::Result<String> {
    let mut text = String::from("# What these policies do not say, and why:\n");
    for unsaid in &policy.unsaid {
        writeln!(text, "# - {unsaid}")?;
    }
    for object in &policy.manifests {
        write!(text, "---\n{}", yaml::to_string(object))?;
    }
    Ok(text)
}

/// The objects, and what they do not say.
fn as_json(policy: &Policy) -> serde_json::Value {
    let unsaid: Vec<_> = policy
        .unsaid
        .iter()
        .map(|unsaid| {
            json!({
                "code": unsaid.code,
                "what": unsaid.what,
                "why": unsaid.why,
                "excludes": unsaid.excludes,
            })
        })
        .collect();
    json!({"manifests": policy.manifests, "unsupported": unsaid})
}

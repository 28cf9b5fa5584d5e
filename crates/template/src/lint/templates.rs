//! What is wrong with the templates as texts of their language.
//!
//! Called for a configuration that parses. The analysis is [`crate::gotemplate::analyse`]'s, under the configuration's values; here its problems get
//! codes and words, and the names of templates are compared with each other.

use std::collections::BTreeSet;

use super::{Code, Findings, Origin, Severity};
use crate::{
    config::{Compiled, Config, Format, KEYS, is_for_gateways},
    decide::Policy,
    gotemplate::analyse::{Analysis, Known, Problem, What, analyse},
    schema,
};

/// What the templates do.
pub(super) struct Templates {
    /// Paths of values that some template reads.
    pub(super) reads: BTreeSet<Vec<String>>,
    /// Templates that no pod can use.
    pub(super) of_gateways: BTreeSet<String>,
}

/// Finds what is wrong in the templates.
pub(super) fn check(findings: &mut Findings<'_>, config: &Config) -> Templates {
    let compiled = config.compiled();
    let defaults = compiled.default_names();
    let mut templates = Templates {
        reads: BTreeSet::new(),
        of_gateways: BTreeSet::new(),
    };
    for (name, template) in &compiled.templates {
        let Analysis {
            problems, reads, ..
        } = {
            let analysis = analyse(template, &Known::data(&compiled.values));
            if is_for_gateways(&analysis) && !defaults.contains(name.as_str()) {
                templates.of_gateways.insert(name.clone());
            }
            analysis
        };
        templates.reads.extend(reads);
        let key = compiled.template_key(name);
        if templates.of_gateways.contains(name) {
            let message = format!("template {name:?} reads data of gateways");
            findings.at_key(Code::GatewayTemplate, Origin::Config, &key, message);
            continue;
        }
        for problem in &problems {
            tell(findings, &key, problem, compiled.format);
        }
    }
    reachable(findings, compiled, &templates);
    settings(findings, compiled);
    templates
}

fn tell(findings: &mut Findings<'_>, key: &str, problem: &Problem, format: Format) {
    let did_you_mean = |nearest: Option<&str>| {
        nearest.map_or_else(String::new, |nearest| {
            format!("; did you mean {nearest:?}?")
        })
    };
    let (code, message) = match &problem.what {
        What::Fails(reason) => (Code::TypeClash, reason.to_string()),
        What::UnknownField {
            field,
            type_name,
            nearest,
        } => (
            Code::UnknownField,
            format!(
                "{type_name} has no field {field:?}{}",
                did_you_mean(*nearest)
            ),
        ),
        What::MissingValue { path, nearest } => (
            Code::MissingValue,
            format!(
                "the values have no {path}{}",
                did_you_mean(nearest.as_deref())
            ),
        ),
        What::TextDecides { path, text } => (
            Code::TextAsBoolean,
            format!("{path} is the text {text:?}, which counts as true"),
        ),
    };
    let place = (problem.place.line, problem.place.column, problem.length);
    findings.in_template(code, key, place, message);
    // The types had other fields when the first format was in use.
    let is_old = format == Format::Spec && code == Code::UnknownField;
    if let Some(last) = findings.found.last_mut().filter(|_| is_old) {
        last.severity = Severity::Warning;
    }
}

/// Templates that neither the defaults nor an alias name.
fn reachable(findings: &mut Findings<'_>, compiled: &Compiled, templates: &Templates) {
    let defaults = compiled.default_names();
    for name in compiled.templates.keys() {
        let is_aliased = compiled
            .aliases
            .values()
            .flatten()
            .any(|alias| alias == name);
        if !is_aliased && !defaults.contains(name.as_str()) && !templates.of_gateways.contains(name)
        {
            let key = compiled.template_key(name);
            let message = format!("pods get template {name:?} only if they ask for it");
            findings.at_key(Code::OnDemandTemplate, Origin::Config, &key, message);
        }
    }
    if !compiled.templates.contains_key("sidecar")
        && defaults
            .iter()
            .any(|name| !compiled.templates.contains_key(*name))
    {
        let message = "defaultTemplates is not set, and there is no template \"sidecar\" to stand in: every pod that names no template is refused";
        findings.at_key(
            Code::UnknownTemplate,
            Origin::Config,
            "templates",
            message.to_owned(),
        );
    }
}

/// Policy and unknown keys.
fn settings(findings: &mut Findings<'_>, compiled: &Compiled) {
    if let Policy::Unknown(policy) = &compiled.rules.policy {
        let message = format!("policy {policy:?} is unknown, so no pod at all is injected");
        findings.at_key(Code::UnknownPolicy, Origin::Config, "policy", message);
    }
    let source = findings.sources.config;
    let Ok(map) = crate::yaml::parse(source.name, source.text) else {
        // A bare template has no keys.
        return;
    };
    let keys = map.as_object().into_iter().flatten().map(|(key, _)| key);
    let is_configuration = keys.clone().any(|key| KEYS.contains(&key.as_str()));
    for key in keys.filter(|key| is_configuration && !KEYS.contains(&key.as_str())) {
        let nearest = schema::nearest(key, KEYS.iter().copied());
        let hint = nearest.map_or_else(String::new, |nearest| {
            format!("; did you mean {nearest:?}?")
        });
        let message = format!("nothing reads {key:?}{hint}");
        findings.at_key(Code::UnknownKey, Origin::Config, key, message);
    }
}

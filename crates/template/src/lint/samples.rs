//! What becomes of sample pods under a configuration.
//!
//! Called last, for a configuration that loads. Every template that pods can use is tried on every sample, and what comes out is compared with the type of
//! a pod and with what the API server refuses for plain reasons; then it is injected again.

mod pod;

use std::collections::BTreeSet;

use contract::annotations;
use serde_json::{Map, Value};

use super::{Code, Findings, Origin};
use crate::{
    config::{Compiled, Config},
    decide::Policy,
    error::Error,
    gotemplate::ExecError,
    trial,
};

/// Tries all templates but those of gateways on all samples.
pub(super) fn check(findings: &mut Findings<'_>, config: &Config, of_gateways: &BTreeSet<String>) {
    let compiled = config.compiled();
    if matches!(compiled.rules.policy, Policy::Unknown(_)) {
        return;
    }
    let usable = compiled.templates.keys();
    let usable = usable.filter(|name| !of_gateways.contains(*name));
    let defaults = compiled.default_names();
    let mut choices: Vec<Option<&str>> = vec![None];
    choices.extend(
        usable
            .map(String::as_str)
            .filter(|name| defaults.len() != 1 || !defaults.contains(name))
            .map(Some),
    );
    let mut told = BTreeSet::new();
    for choice in choices {
        for (name, mut sample) in trial::samples() {
            if let Some(template) = choice {
                annotate(&mut sample, annotations::TEMPLATES, template);
            }
            let mut try_one = Trial {
                findings,
                config,
                sample: name,
                key: match choice {
                    Some(template) => compiled.template_key(template),
                    None => key_of_defaults(compiled),
                },
                told: &mut told,
            };
            try_one.run(&sample);
        }
    }
}

/// One sample under one choice of templates.
struct Trial<'t, 'a> {
    findings: &'t mut Findings<'a>,
    config: &'t Config,
    sample: &'static str,
    key: String,
    /// What has been said, without the sample that it was said of.
    told: &'t mut BTreeSet<(Code, String, String)>,
}

// === impl Trial ===

impl Trial<'_, '_> {
    fn run(&mut self, sample: &Value) {
        let injected = match trial::injected(self.config, sample) {
            Ok(injected) => injected,
            Err(error) => return self.failed(&error),
        };
        let faults = pod::faults(&injected);
        let is_sound = faults.is_empty();
        for fault in faults {
            let code = if fault.is_unknown {
                Code::UnknownPodField
            } else {
                Code::WouldBeRefused
            };
            self.tell(code, &fault.message);
        }
        if !is_sound {
            return;
        }
        match trial::injected(self.config, &injected) {
            Ok(again) => {
                if let Some(path) = difference(&injected, &again, "") {
                    let message = format!("injecting the pod again changes {path}");
                    self.tell(Code::NotIdempotent, &message);
                }
            }
            Err(error) => {
                let message = format!("the pod cannot be injected again: {error}");
                self.tell(Code::NotIdempotent, &message);
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        match error {
            _ if trial::is_deliberate(error) => {}
            // Told of the names.
            Error::UnknownTemplate { .. } => {}
            Error::Render { name, source } => self.fails(name, source),
            Error::RenderedYaml { name, source } => {
                self.key = self.config.compiled().template_key(name);
                let (line, problem) = (source.line, &source.problem);
                let message = format!("the result is not YAML: line {line} of it: {problem}");
                self.tell(Code::RenderedNotYaml, &message);
            }
            Error::RenderedShape { name, source } => {
                self.key = self.config.compiled().template_key(name);
                self.tell(Code::RenderedNoPod, &source.to_string());
            }
            Error::Merge { name, source } => {
                self.key = self.config.compiled().template_key(name);
                self.tell(Code::RenderedNoPod, &source.to_string());
            }
            other => {
                let mut message = other.to_string();
                let mut cause = std::error::Error::source(other);
                while let Some(source) = cause {
                    message = format!("{message}: {source}");
                    cause = source.source();
                }
                self.tell(Code::Fails, &message);
            }
        }
    }

    fn fails(&mut self, template: &str, error: &ExecError) {
        let key = self.config.compiled().template_key(template);
        let place = &error.place;
        let said = self.findings.found.iter().any(|finding| {
            finding.key == key && finding.in_template == Some((place.line, place.column))
        });
        let message = format!("fails for {}: {}", self.sample, error.reason);
        let reason = error.reason.to_string();
        if said || !self.told.insert((Code::Fails, key.clone(), reason)) {
            return;
        }
        let length = place.snippet.trim_end_matches("...").chars().count();
        let place = (place.line, place.column, length);
        self.findings.in_template(Code::Fails, &key, place, message);
    }

    fn tell(&mut self, code: Code, message: &str) {
        let said = (code, self.key.clone(), message.to_owned());
        if self.told.insert(said) {
            let message = format!("for {}: {message}", self.sample);
            let key = self.key.clone();
            self.findings.at_key(code, Origin::Config, &key, message);
        }
    }
}

/// What findings about the default templates point to.
fn key_of_defaults(compiled: &Compiled) -> String {
    let defaults = compiled.default_names();
    let mut names = defaults.iter();
    match (names.next(), names.next()) {
        (Some(name), None) => compiled.template_key(name),
        _ => "defaultTemplates".to_owned(),
    }
}

fn annotate(pod: &mut Value, key: &str, value: &str) {
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        let map = metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(map) = map.as_object_mut() {
            map.insert(key.to_owned(), Value::from(value));
        }
    }
}

/// The first path at which two values differ.
fn difference(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        _ if a == b => None,
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            let mut keys = keys.filter_map(|key| {
                let (a, b) = (a.get(key), b.get(key));
                let null = Value::Null;
                difference(a.unwrap_or(&null), b.unwrap_or(&null), &below(path, key))
            });
            keys.next().or_else(|| Some(path.to_owned()))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut items = a.iter().zip(b).enumerate();
            items.find_map(|(index, (a, b))| difference(a, b, &format!("{path}[{index}]")))
        }
        _ => Some(path.to_owned()),
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

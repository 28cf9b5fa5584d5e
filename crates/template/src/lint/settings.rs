//! What is wrong with the settings around the templates: values, selectors, annotations, ports.
//!
//! Called after the templates, because what they read decides which values are dead. The values of a chart are many; only those in trees that
//! templates own are looked at, and what this crate or the chart itself reads is not counted as dead.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Code, Findings, Origin, Severity};
use crate::{config::Config, schema, selector, yaml};

/// Trees of values that are there for templates.
const TREES: &[&[&str]] = &[
    &["global", "proxy"],
    &["global", "proxy_init"],
    &["global", "sds"],
    &["sidecarInjectorWebhook"],
    &["pilot", "cni"],
];

/// Values in those trees that injection or a chart reads.
const READ_ELSEWHERE: &[&[&str]] = &[
    &["global", "proxy", "autoInject"],
    &["global", "proxy", "holdApplicationUntilProxyStarts"],
    &["global", "proxy", "image"],
    &["global", "proxy", "statusPort"],
    &["global", "proxy", "tracer"],
    &["global", "proxy_init", "image"],
    &["sidecarInjectorWebhook", "alwaysInjectSelector"],
    &["sidecarInjectorWebhook", "defaultTemplates"],
    &["sidecarInjectorWebhook", "enableNamespacesByDefault"],
    &["sidecarInjectorWebhook", "injectedAnnotations"],
    &["sidecarInjectorWebhook", "injectionURL"],
    &["sidecarInjectorWebhook", "neverInjectSelector"],
    &["sidecarInjectorWebhook", "reinvocationPolicy"],
    &["sidecarInjectorWebhook", "refuseCaptureBypass"],
    &["sidecarInjectorWebhook", "rewriteAppHTTPProbe"],
    &["sidecarInjectorWebhook", "templates"],
];

/// Finds what is wrong in values and settings; `reads` is what templates read.
pub(super) fn check(findings: &mut Findings<'_>, config: &Config, reads: &BTreeSet<Vec<String>>) {
    unread(findings, &config.compiled().values, reads);
    selectors(findings);
    annotations(findings, config);
    ports(findings, &config.compiled().values);
}

fn unread(findings: &mut Findings<'_>, values: &Value, reads: &BTreeSet<Vec<String>>) {
    for tree in TREES {
        let subtree = tree.iter().try_fold(values, |value, key| value.get(*key));
        let mut path: Vec<String> = tree.iter().map(|key| (*key).to_owned()).collect();
        if let Some(subtree) = subtree {
            visit(findings, subtree, &mut path, reads);
        }
    }
}

fn visit(
    findings: &mut Findings<'_>,
    value: &Value,
    path: &mut Vec<String>,
    reads: &BTreeSet<Vec<String>>,
) {
    let is_read = |read: &[String]| path.starts_with(read);
    let elsewhere = READ_ELSEWHERE
        .iter()
        .any(|read| path.len() >= read.len() && path.iter().zip(read.iter()).all(|(a, b)| a == b));
    if elsewhere || reads.iter().any(|read| is_read(read)) {
        return;
    }
    // Something below it is read, so what else is below it may be dead.
    let is_on_the_way = reads.iter().any(|read| read.starts_with(path));
    let is_tree = TREES.iter().any(|tree| tree.len() == path.len());
    if let (Value::Object(map), true) = (value, is_on_the_way || is_tree) {
        for (key, value) in map {
            path.push(key.clone());
            visit(findings, value, path, reads);
            path.pop();
        }
        return;
    }
    if matches!(value, Value::Null) || is_tree {
        return;
    }
    let siblings = reads.iter().filter_map(|read| {
        let (last, before) = path.split_last()?;
        let sibling = read.strip_prefix(before)?.first()?;
        (sibling != last).then_some(sibling.as_str())
    });
    let name = path.last().map_or("", String::as_str);
    let nearest = schema::nearest(name, siblings);
    let shown = path.join(".");
    let hint = nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean {nearest:?}?")
    });
    let message = format!("no template reads {shown}{hint}");
    findings.at_key(Code::UnreadValue, Origin::Values, &shown, message);
    // With a near name it is not dead weight but a mistake.
    if let (Some(_), Some(last)) = (nearest, findings.found.last_mut()) {
        last.severity = Severity::Warning;
    }
}

fn selectors(findings: &mut Findings<'_>) {
    let source = findings.sources.config;
    let map = yaml::parse(source.name, source.text).unwrap_or_default();
    for list in ["alwaysInjectSelector", "neverInjectSelector"] {
        let selectors = map.get(list).and_then(Value::as_array);
        for (selector_idx, selector) in selectors.into_iter().flatten().enumerate() {
            let Ok(parsed) = selector::Selector::parse(selector) else {
                continue;
            };
            if let Some(why) = parsed.never_matches() {
                let key = format!("{list}[{selector_idx}]");
                let message = format!("the selector matches no pod: {why}");
                findings.at_key(Code::SelectorNeverMatches, Origin::Config, &key, message);
            }
        }
    }
}

fn annotations(findings: &mut Findings<'_>, config: &Config) {
    for key in config.compiled().injected_annotations.keys() {
        if let Some(why) = selector::bad_key(key) {
            let path = format!("injectedAnnotations.{key}");
            let message = format!("{key:?} cannot be the key of an annotation: {why}");
            findings.at_key(Code::BadAnnotationKey, Origin::Config, &path, message);
        }
    }
}

fn ports(findings: &mut Findings<'_>, values: &Value) {
    let mesh = findings.sources.mesh;
    let mesh = yaml::parse(mesh.name, mesh.text).unwrap_or_default();
    let of_values = values.pointer("/global/proxy/statusPort");
    let of_mesh = mesh.pointer("/defaultConfig/statusPort");
    if let (Some(of_values), Some(of_mesh)) = (of_values, of_mesh)
        && of_values.to_string().trim_matches('"') != of_mesh.to_string().trim_matches('"')
    {
        let message = format!(
            "global.proxy.statusPort is {of_values} and defaultConfig.statusPort of the mesh is {of_mesh}: rules, probes and agent would use different ports"
        );
        findings.at_key(
            Code::PortsDisagree,
            Origin::Values,
            "global.proxy.statusPort",
            message,
        );
    }
}

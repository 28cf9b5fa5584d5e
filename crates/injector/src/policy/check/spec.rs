//! The spec, field by field.
//!
//! Read by [`check`](super::check). Nothing here knows where the object is or what else there is.

use std::{collections::BTreeMap, num::NonZeroU16};

use serde_json::{Map, Value};
use wire::peer_authentication::Mode;

use super::Finding;

/// The most characters of a value that a message repeats: who wrote it will know it again.
const MAX_SHOWN: usize = 40;
/// The longest name of a label, and the longest value (Kubernetes' `metav1`).
const MAX_LABEL: usize = 63;
/// The longest prefix of a label's key.
const MAX_PREFIX: usize = 253;

/// What the spec says.
pub(super) struct Spec {
    pub(super) selector: BTreeMap<String, String>,
    pub(super) mode: Option<Mode>,
    pub(super) port_modes: BTreeMap<NonZeroU16, Option<Mode>>,
    pub(super) remarks: Vec<Finding>,
}

/// Collects what is found on the way.
#[derive(Default)]
struct Reader {
    problems: Vec<Finding>,
    remarks: Vec<Finding>,
}

// === impl Spec ===

impl Spec {
    /// Reads the spec; one that is absent says nothing, which is allowed.
    pub(super) fn read(spec: &Value) -> Result<Self, Vec<Finding>> {
        let mut reader = Reader::default();
        let empty = Map::new();
        let fields = reader.map("spec", spec).unwrap_or(&empty);
        let field = |name| fields.get(name).unwrap_or(&Value::Null);
        let selector = reader.selector(field("selector"));
        let mode = reader.mtls("spec.mtls", field("mtls"));
        let port_modes = reader.ports(field("portLevelMtls"), selector.is_empty());
        for name in fields.keys() {
            match name.as_str() {
                "selector" | "mtls" | "portLevelMtls" => {}
                "targetRef" | "targetRefs" => reader.problem(
                    format!("spec.{name}"),
                    "is not supported, and without it the policy would be for other pods than meant; use spec.selector.matchLabels",
                ),
                _ => reader.unknown("spec", name),
            }
        }
        if reader.problems.is_empty() {
            Ok(Self {
                selector,
                mode,
                port_modes,
                remarks: reader.remarks,
            })
        } else {
            Err(reader.problems)
        }
    }
}

// === impl Reader ===

impl Reader {
    fn problem(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Finding::new(field, text));
    }

    fn unknown(&mut self, parent: &str, name: &str) {
        let field = format!("{parent}.{}", shown(name));
        let text = "is not known and not acted on; take it out, or see whether its name is right";
        self.remarks.push(Finding::new(field, text));
    }

    /// The map `value`; null is as good as absent.
    fn map<'v>(&mut self, field: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        match value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            _ => {
                self.problem(field, "is no map of fields; write them indented under it");
                None
            }
        }
    }

    fn selector(&mut self, value: &Value) -> BTreeMap<String, String> {
        const FIELD: &str = "spec.selector";
        let mut selector = BTreeMap::new();
        let Some(fields) = self.map(FIELD, value) else {
            return selector;
        };
        for name in fields.keys().filter(|name| *name != "matchLabels") {
            let field = format!("{FIELD}.{}", shown(name));
            self.problem(
                field,
                "is not supported, and without it the policy would be for other pods than meant; use spec.selector.matchLabels",
            );
        }
        let labels = fields.get("matchLabels").unwrap_or(&Value::Null);
        for (key, value) in self
            .map("spec.selector.matchLabels", labels)
            .into_iter()
            .flatten()
        {
            let field = format!("spec.selector.matchLabels[{}]", shown(key));
            match value.as_str() {
                _ if !is_label_key(key) => self.problem(
                    field,
                    "is no label; a label is at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends, after a DNS name and `/` if it has a prefix",
                ),
                Some(text) if is_label_value(text) => {
                    selector.insert(key.clone(), text.to_owned());
                }
                Some(text) if text.contains('*') => self.problem(
                    field,
                    format!("`{}` holds `*`, but values are compared as they are; write the whole value", shown(text)),
                ),
                Some(text) => self.problem(
                    field,
                    format!("`{}` is no value of a label; a value is at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends", shown(text)),
                ),
                None => self.problem(field, "is no text; put the value in quotation marks"),
            }
        }
        selector
    }

    /// The mode in `{mode: …}`.
    fn mtls(&mut self, field: &str, value: &Value) -> Option<Mode> {
        let fields = self.map(field, value)?;
        for name in fields.keys().filter(|name| *name != "mode") {
            self.unknown(field, name);
        }
        let mode = fields.get("mode").unwrap_or(&Value::Null);
        match mode.as_str() {
            Some("UNSET") => None,
            Some("DISABLE") => Some(Mode::Disable),
            Some("PERMISSIVE") => Some(Mode::Permissive),
            Some("STRICT") => Some(Mode::Strict),
            None if mode.is_null() => None,
            text => {
                let written = text.map_or_else(|| mode.to_string(), str::to_owned);
                self.problem(
                    format!("{field}.mode"),
                    format!(
                        "`{}` is no mode; write STRICT, PERMISSIVE, DISABLE or UNSET",
                        shown(&written)
                    ),
                );
                None
            }
        }
    }

    fn ports(&mut self, value: &Value, selects_all: bool) -> BTreeMap<NonZeroU16, Option<Mode>> {
        const FIELD: &str = "spec.portLevelMtls";
        let mut ports = BTreeMap::new();
        let Some(fields) = self.map(FIELD, value) else {
            return ports;
        };
        if fields.is_empty() {
            self.problem(FIELD, "names no port; name one, or leave the field out");
        } else if selects_all {
            self.problem(
                FIELD,
                "needs spec.selector.matchLabels, because ports are those of a workload; say which, or use spec.mtls.mode",
            );
        }
        for (key, value) in fields {
            let field = format!("{FIELD}[{}]", shown(key));
            let mode = self.mtls(&field, value);
            match port(key) {
                Some(port) => drop(ports.insert(port, mode)),
                None => self.problem(field, "is no port; a port is a number from 1 to 65535"),
            }
        }
        ports
    }
}

/// A port as the API server writes it: digits alone, so no port has two names.
fn port(text: &str) -> Option<NonZeroU16> {
    let port: NonZeroU16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_dns_name) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL
        && bytes.iter().all(|byte| inner(*byte))
        && is_end(bytes.first())
        && is_end(bytes.last())
}

fn is_dns_name(text: &str) -> bool {
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        bytes.len() <= MAX_LABEL
            && bytes.iter().all(inner)
            && is_end(bytes.first())
            && is_end(bytes.last())
    };
    text.len() <= MAX_PREFIX && text.split('.').all(is_part)
}

/// The beginning of `text`, on one line.
fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_SHOWN + 1)
        .collect();
    if shown.chars().count() > MAX_SHOWN {
        shown.pop();
        shown.push('…');
    }
    shown
}

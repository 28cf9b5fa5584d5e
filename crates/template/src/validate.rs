//! Checking annotations before anything is rendered.
//!
//! Called first for each pod that is to be injected; the values of these annotations become arguments and fields of privileged containers.
//! Whatever has a type is checked by it ([`rule`]): Istio's table, and more keys beside it. All that is wrong is reported at once, and no value that
//! passes can be anything but what it says. Values without a type, such as labels, are left to the structure check.

mod rule;

use serde_json::Value;

use self::rule::RULES;
use crate::pod;

/// An annotation with a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} for annotation {annotation}: expected {expected}{}", detail.as_deref().map(|detail| format!(", but {detail}")).unwrap_or_default())]
pub struct InvalidAnnotation {
    /// Its key.
    pub annotation: String,
    /// Its value, shortened if it is very long.
    pub value: String,
    /// What it could be.
    pub expected: &'static str,
    /// What exactly is wrong, where that is not plain to see.
    pub detail: Option<String>,
}

/// Characters of a value that messages show.
const MAX_SHOWN: usize = 120;

/// The keys of the annotations that are checked.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(key, _)| *key)
}

/// Checks the annotations of `pod`; what is wrong comes in the order of the keys.
pub(crate) fn annotations(pod: &Value) -> Vec<InvalidAnnotation> {
    let Some(annotations) = pod::metadata_map(pod, "annotations") else {
        return Vec::new();
    };
    RULES
        .iter()
        .filter_map(|(key, rule)| {
            let value = annotations.get(*key)?.as_str()?;
            let detail = rule.check(value).err()?;
            Some(InvalidAnnotation {
                annotation: (*key).to_owned(),
                value: shortened(value),
                expected: rule.expected(),
                detail,
            })
        })
        .collect()
}

/// The value as messages show it.
pub(crate) fn shortened(value: &str) -> String {
    match value.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", value.get(..at).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// A boolean in each of Go's spellings (`strconv.ParseBool`).
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

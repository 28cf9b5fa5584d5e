//! Label selectors, as Kubernetes writes and matches them.
//!
//! Called by the configuration, which parses them once, and by `decide`, which asks them for each pod.
//! Unlike Kubernetes', an empty selector here matches nothing: in a list of exceptions it can only be a mistake.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A label selector; all of its requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// Why a selector is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no object with `matchLabels` and `matchExpressions`.
    #[error("not a label selector: {message}")]
    Shape {
        /// What does not fit.
        message: String,
    },
    /// `In` and `NotIn` need values.
    #[error("operator {operator} of label {key} needs values")]
    NoValues {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
    },
    /// `Exists` and `DoesNotExist` take no values.
    #[error("operator {operator} of label {key} takes no values")]
    Values {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
    },
    /// The operator is not one of the four.
    #[error(
        "operator {operator} of label {key} is unknown; In, NotIn, Exists and DoesNotExist are known"
    )]
    Operator {
        /// The label.
        key: String,
        /// What stands there.
        operator: String,
    },
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<RawExpression>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpression {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

// === impl Selector ===

impl Selector {
    /// Reads `{matchLabels: {…}, matchExpressions: […]}`.
    ///
    /// # Errors
    /// What does not fit, by label.
    pub fn parse(value: &Value) -> Result<Self, Error> {
        let raw = Raw::deserialize(value).map_err(|error| Error::Shape {
            message: error.to_string(),
        })?;
        let labels = raw.match_labels.unwrap_or_default().into_iter();
        let mut requirements: Vec<_> = labels
            .map(|(key, value)| Requirement::In(key, vec![value]))
            .collect();
        for expression in raw.match_expressions.unwrap_or_default() {
            requirements.push(Requirement::parse(expression)?);
        }
        Ok(Self { requirements })
    }

    pub(crate) fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether `labels` fulfil every requirement; values that are no strings count as empty.
    #[must_use]
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let label = |key: &str| {
            let value = labels?.get(key)?;
            Some(value.as_str().unwrap_or_default())
        };
        let holds = |requirement: &Requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|value| values.iter().any(|known| known == value))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|known| known != value))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::DoesNotExist(key) => label(key).is_none(),
        };
        !self.requirements.is_empty() && self.requirements.iter().all(holds)
    }

    /// Why no pod at all can match, if that is so.
    pub(crate) fn never_matches(&self) -> Option<String> {
        if self.requirements.is_empty() {
            return Some("it has no requirements".to_owned());
        }
        let clash = |requirement: &Requirement| {
            let (key, values) = match requirement {
                Requirement::In(key, values) => (key, Some(values)),
                Requirement::Exists(key) => (key, None),
                Requirement::NotIn(..) | Requirement::DoesNotExist(_) => return None,
            };
            let fits = |value: &String| {
                let mut others = self.requirements.iter();
                others.all(|other| match other {
                    Requirement::In(known, values) => known != key || values.contains(value),
                    Requirement::NotIn(known, values) => known != key || !values.contains(value),
                    Requirement::Exists(_) | Requirement::DoesNotExist(_) => true,
                })
            };
            let excluded = Requirement::DoesNotExist(key.clone());
            let is_clash = self.requirements.contains(&excluded)
                || values.is_some_and(|values| !values.iter().any(fits));
            is_clash.then(|| format!("its requirements of label {key} exclude each other"))
        };
        if let Some(why) = self.requirements.iter().find_map(clash) {
            return Some(why);
        }
        let mut keys = self.requirements.iter().map(Requirement::key);
        keys.find_map(|key| Some(format!("label {key:?} cannot be: {}", bad_key(key)?)))
    }
}

// === impl Requirement ===

impl Requirement {
    fn key(&self) -> &str {
        match self {
            Self::In(key, _)
            | Self::NotIn(key, _)
            | Self::Exists(key)
            | Self::DoesNotExist(key) => key,
        }
    }

    fn parse(raw: RawExpression) -> Result<Self, Error> {
        let RawExpression {
            key,
            operator,
            values,
        } = raw;
        let values = values.unwrap_or_default();
        match (operator.as_str(), values.is_empty()) {
            ("In", false) => Ok(Self::In(key, values)),
            ("NotIn", false) => Ok(Self::NotIn(key, values)),
            ("Exists", true) => Ok(Self::Exists(key)),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist(key)),
            ("In" | "NotIn", true) => Err(Error::NoValues { key, operator }),
            ("Exists" | "DoesNotExist", false) => Err(Error::Values { key, operator }),
            _ => Err(Error::Operator { key, operator }),
        }
    }
}

/// Why no label and no annotation can have this key, if that is so.
pub(crate) fn bad_key(key: &str) -> Option<&'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_end = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    let is_name = |name: &str, most: usize, inner: &[char]| {
        let mut letters = name.chars();
        name.len() <= most
            && is_end(name.chars().next())
            && is_end(name.chars().next_back())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || inner.contains(&letter))
    };
    if !is_name(name, 63, &['-', '_', '.']) {
        return Some(
            "a name is 1 to 63 letters, digits, -, _ and ., and begins and ends with a letter or digit",
        );
    }
    let is_domain = |prefix: &str| {
        prefix.len() <= 253
            && prefix
                .split('.')
                .all(|part| is_name(part, 63, &['-']) && part == part.to_lowercase())
    };
    (!prefix.is_none_or(is_domain)).then_some("its prefix is no DNS name in lower case")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(selector: &Value, labels: &Value, expected: bool) {
        let matches = Selector::parse(selector)
            .unwrap()
            .matches(labels.as_object());
        assert_eq!(matches, expected, "{selector} on {labels}");
    }

    #[test]
    fn every_operator_matches_as_in_kubernetes() {
        let expression = |operator: &str, values: &Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        let (web, db, none) = (json!({"app": "web"}), json!({"app": "db"}), json!({}));
        for (operator, values, expected) in [
            ("In", json!(["web", "api"]), [true, false, false]),
            ("NotIn", json!(["web", "api"]), [false, true, true]),
            ("Exists", json!([]), [true, true, false]),
            ("DoesNotExist", json!([]), [false, false, true]),
        ] {
            for (labels, expected) in [&web, &db, &none].into_iter().zip(expected) {
                check(&expression(operator, &values), labels, expected);
            }
        }
        check(
            &json!({"matchLabels": {"app": "web", "tier": "x"}}),
            &web,
            false,
        );
        check(&json!({"matchLabels": {"app": "web"}}), &web, true);
    }

    #[test]
    fn an_empty_selector_matches_nothing() {
        check(&json!({}), &json!({"app": "web"}), false);
        check(&json!({"matchLabels": {}}), &json!({}), false);
    }

    #[test]
    fn a_bad_selector_is_refused_with_its_label() {
        for (selector, part) in [
            (json!({"matchLabel": {}}), "matchLabel"),
            (json!("app=web"), "selector"),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "Is"}]}),
                "app",
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In"}]}),
                "needs values",
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}),
                "takes no values",
            ),
        ] {
            let error = Selector::parse(&selector).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

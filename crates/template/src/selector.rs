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
}

// === impl Requirement ===

impl Requirement {
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

//! Where two partial pods differ in structure.
//!
//! Called with what a template gave for the pod and what it gave for the pod in disguise.
//! Structure is everything but the content of scalars: keys, lengths of lists, and whether something is a map, a list, nothing or a scalar.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::disguise::reveal;

/// The path of the first difference; empty for the whole.
pub(super) fn find(real: &Value, disguised: &Value) -> Option<String> {
    let mut path = String::new();
    differs(real, disguised, &mut path).then_some(path)
}

fn differs(real: &Value, disguised: &Value, path: &mut String) -> bool {
    match (real, disguised) {
        (Value::Object(real), Value::Object(disguised)) => maps_differ(real, disguised, path),
        (Value::Array(real), Value::Array(disguised)) => {
            real.len() != disguised.len()
                || real
                    .iter()
                    .zip(disguised)
                    .enumerate()
                    .any(|(index, (real, disguised))| {
                        within(path, format_args!("[{index}]"), |path| {
                            differs(real, disguised, path)
                        })
                    })
        }
        (Value::Null, Value::Null) => false,
        (real, disguised) => !is_scalar(real) || !is_scalar(disguised),
    }
}

fn maps_differ(
    real: &Map<String, Value>,
    disguised: &Map<String, Value>,
    path: &mut String,
) -> bool {
    real.len() != disguised.len()
        || disguised.iter().any(|(key, value)| {
            // A key in disguise is its author's, who may name things but not give orders to the merge.
            let plain = reveal(key).filter(|plain| !plain.starts_with('$'));
            let name = plain.as_ref().unwrap_or(key);
            match real.get(name) {
                Some(real) => within(path, format_args!(".{name}"), |path| {
                    differs(real, value, path)
                }),
                None => true,
            }
        })
}

/// Leaves the path longer where there is a difference.
fn within(
    path: &mut String,
    step: std::fmt::Arguments<'_>,
    differs: impl FnOnce(&mut String) -> bool,
) -> bool {
    let length = path.len();
    // Writing to a text does not fail.
    let _ = path.write_fmt(step);
    let found = differs(path);
    if !found {
        path.truncate(length);
    }
    found
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_content_of_scalars_does_not_count_and_everything_else_does() {
        let base = json!({"spec": {"containers": [{"name": "a", "args": ["x"]}]}});
        assert_eq!(
            find(
                &base,
                &json!({"spec": {"containers": [{"name": "b", "args": [1]}]}})
            ),
            None
        );
        for (other, path) in [
            (
                json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}}),
                ".spec.containers[0].args",
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "args": "x"}]}}),
                ".spec.containers[0].args",
            ),
            (
                json!({"spec": {"containers": [{"name": null, "args": ["x"]}]}}),
                ".spec.containers[0].name",
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "command": ["x"]}]}}),
                ".spec.containers[0]",
            ),
            (json!({"spec": {"containers": []}}), ".spec.containers"),
            (json!(null), ""),
        ] {
            assert_eq!(find(&base, &other).as_deref(), Some(path), "{other}");
        }
    }

    #[test]
    fn a_key_of_the_authors_may_be_odd_but_no_directive() {
        let disguised = |key: &str| json!({super::super::disguise::disguise(key): "x"});
        assert_eq!(find(&json!({"a b": "x"}), &disguised("a b")), None);
        assert!(find(&json!({"$patch": "x"}), &disguised("$patch")).is_some());
    }
}

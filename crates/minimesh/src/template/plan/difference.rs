//! What differs between two pods, one line for each field.
//!
//! Called for each workload. Items of lists are told by their names, so that a container that moved is not a container that changed; an item without a name is
//! told by its position. Pure.

use serde::Serialize;
use serde_json::Value;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    /// Such as `spec.containers[istio-proxy].image`.
    pub(super) path: String,
    /// What it is now; none where it is new.
    pub(super) from: Option<Value>,
    /// What it would be; none where it would be gone.
    pub(super) to: Option<Value>,
}

/// By what items of lists are known; the first that an item has.
const KEYS: [&str; 3] = ["name", "mountPath", "containerPort"];

/// The fields that differ, in the order of `before`, then those that are new.
pub(super) fn fields(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(Some(before), Some(after), String::new(), &mut changes);
    changes
}

fn compare(before: Option<&Value>, after: Option<&Value>, path: String, changes: &mut Vec<Change>) {
    match (before, after) {
        _ if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let new = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(new) {
                let path = match (path.is_empty(), key.contains(['.', '/'])) {
                    (true, _) => key.clone(),
                    (false, true) => format!("{path}[{key}]"),
                    (false, false) => format!("{path}.{key}"),
                };
                compare(before.get(key), after.get(key), path, changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            items(before, after, &path, changes);
        }
        _ => changes.push(Change {
            path,
            from: before.cloned(),
            to: after.cloned(),
        }),
    }
}

fn items(before: &[Value], after: &[Value], path: &str, changes: &mut Vec<Change>) {
    let count = changes.len();
    let (old, new) = (named(before), named(after));
    let find = |list: &[(String, &Value)], name: &str| {
        let found = list.iter().position(|known| known.0 == name)?;
        Some(found)
    };
    for (name, item) in &old {
        let other = find(&new, name).and_then(|position| new.get(position));
        let path = format!("{path}[{name}]");
        compare(Some(item), other.map(|(_, item)| *item), path, changes);
    }
    for (name, item) in new.iter().filter(|(name, _)| find(&old, name).is_none()) {
        compare(None, Some(item), format!("{path}[{name}]"), changes);
    }
    // The same items in another order, which counts for containers and variables.
    if changes.len() == count {
        let order =
            |list: &[(String, &Value)]| list.iter().map(|(name, _)| name.as_str()).collect();
        changes.push(Change {
            path: format!("{path} (order)"),
            from: Some(order(&old)),
            to: Some(order(&new)),
        });
    }
}

/// Each item with its name, which is unique.
fn named(items: &[Value]) -> Vec<(String, &Value)> {
    let name = |item: &Value| {
        let key = KEYS.iter().find_map(|key| item.get(*key))?;
        Some(match key {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let mut named: Vec<(String, &Value)> = Vec::with_capacity(items.len());
    let mut seen = std::collections::BTreeSet::new();
    for (position, item) in items.iter().enumerate() {
        let name = name(item).filter(|name| !seen.contains(name));
        let name = name.unwrap_or_else(|| position.to_string());
        seen.insert(name.clone());
        named.push((name, item));
    }
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(before: &Value, after: &Value) -> Vec<String> {
        let text = |value: Option<Value>| value.map_or_else(String::new, |value| value.to_string());
        let changes = fields(before, after).into_iter();
        // Maps may or may not keep the order in which they were written.
        let mut shown: Vec<_> = changes
            .map(|change| {
                format!(
                    "{}: {} -> {}",
                    change.path,
                    text(change.from),
                    text(change.to)
                )
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn each_field_that_differs_is_one_line() {
        let before = json!({"metadata": {"annotations": {"a.b/c": "1"}}, "spec": {"containers": [{"name": "a", "image": "x", "args": ["1", "2"]}, {"name": "b"}]}});
        let after = json!({"metadata": {"annotations": {"a.b/c": "2"}}, "spec": {"containers": [{"name": "a", "image": "y", "args": ["1", "3", "4"]}, {"name": "c"}]}});
        assert_eq!(
            shown(&before, &after),
            [
                "metadata.annotations[a.b/c]: \"1\" -> \"2\"",
                "spec.containers[a].args[1]: \"2\" -> \"3\"",
                "spec.containers[a].args[2]:  -> \"4\"",
                "spec.containers[a].image: \"x\" -> \"y\"",
                "spec.containers[b]: {\"name\":\"b\"} -> ",
                "spec.containers[c]:  -> {\"name\":\"c\"}",
            ]
        );
        assert_eq!(shown(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn another_order_is_a_change() {
        assert_eq!(
            shown(
                &json!([{"name": "a"}, {"name": "b"}]),
                &json!([{"name": "b"}, {"name": "a"}])
            ),
            ["[] (order): [\"a\",\"b\"] -> [\"b\",\"a\"]".replace("[] ", " ")]
        );
    }

    #[test]
    fn names_that_occur_twice_hide_nothing() {
        let before = json!([{"name": "a", "x": 1}, {"name": "a", "x": 2}]);
        let after = json!([{"name": "a", "x": 1}, {"name": "a", "x": 3}]);
        assert_eq!(shown(&before, &after), ["[1].x: 2 -> 3"]);
    }
}

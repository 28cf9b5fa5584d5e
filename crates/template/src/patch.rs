//! The difference of two JSON values as an RFC 6902 patch.
//!
//! Called by the webhook to tell the API server what injection changed; `apply` is the receiving side, for tests and for whoever checks an answer.
//! Every operation names a path that is there at its turn, so the patch applies strictly, and applying it to `before` gives `after`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One operation of a patch, in JSON as the API server expects it: `{"op": "add", "path": "/spec/volumes/0", "value": {…}}`.
///
/// Borrows the new values from what [`diff`] was given, and owns them where it was read from JSON.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation<'v> {
    /// Puts a value where there is none; within a list, before the item at that index, or at its end.
    Add {
        /// JSON pointer (RFC 6901).
        path: String,
        /// What is put there.
        value: Cow<'v, Value>,
    },
    /// Takes a value away.
    Remove {
        /// JSON pointer to what is there.
        path: String,
    },
    /// Puts a value in the place of another.
    Replace {
        /// JSON pointer to what is there.
        path: String,
        /// What is put there.
        value: Cow<'v, Value>,
    },
}

/// A patch that does not fit the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("patch names {path}, which is not there")]
pub struct Mismatch {
    /// The pointer of the operation.
    pub path: String,
}

/// The operations that turn `before` into `after`.
///
/// Items of a list that only moved aside for others stay, so a container that is put first costs one operation; lists of several thousand items
/// that have little in common are replaced as a whole where comparing each pair would take longer than sending it.
#[must_use]
pub fn diff<'v>(before: &Value, after: &'v Value) -> Vec<Operation<'v>> {
    let mut differ = Differ {
        path: Vec::new(),
        operations: Vec::new(),
    };
    differ.value(before, after);
    differ.operations
}

/// Applies `operations` to `value`, strictly: nothing is removed or replaced that is not there.
///
/// # Errors
/// The first operation that does not fit; `value` is then half changed and of no use.
pub fn apply(value: &mut Value, operations: &[Operation<'_>]) -> Result<(), Mismatch> {
    operations.iter().try_for_each(|operation| {
        let (path, new) = match operation {
            Operation::Add { path, value } => (path, Some((&**value, true))),
            Operation::Replace { path, value } => (path, Some((&**value, false))),
            Operation::Remove { path } => (path, None),
        };
        apply_one(value, path, new).ok_or_else(|| Mismatch { path: path.clone() })
    })
}

/// Table cells above which the longest common subsequence is not sought.
const MAX_CELLS: usize = 1 << 20;

struct Differ<'k, 'v> {
    /// Only written out for an operation.
    path: Vec<Step<'k>>,
    operations: Vec<Operation<'v>>,
}

#[derive(Clone, Copy)]
enum Step<'k> {
    Key(&'k str),
    Index(usize),
}

// === impl Differ ===

impl<'k, 'v: 'k> Differ<'k, 'v> {
    /// Goes down to where both differ without comparing on the way, which would be done again at each level.
    fn value(&mut self, before: &'k Value, after: &'v Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.map(before, after),
            (Value::Array(before), Value::Array(after)) => self.list(before, after),
            (before, after) if before == after => {}
            (_, after) => self.replace(after),
        }
    }

    fn map(&mut self, before: &'k Map<String, Value>, after: &'v Map<String, Value>) {
        if before.keys().eq(after.keys()) {
            for ((key, old), new) in before.iter().zip(after.values()) {
                self.at(Step::Key(key), |differ| differ.value(old, new));
            }
            return;
        }
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            self.at(Step::Key(key), Self::remove);
        }
        for (key, new) in after {
            self.at(Step::Key(key), |differ| match before.get(key) {
                Some(old) => differ.value(old, new),
                None => differ.add(new),
            });
        }
    }

    /// Walks both lists along the items that they have in common; what lies between two of those is changed in place, removed or added.
    fn list(&mut self, before: &'k [Value], after: &'v [Value]) {
        let same = |(old, new): &(&Value, &Value)| is_counterpart(old, new);
        let head = before.iter().zip(after).take_while(same).count();
        let n_left = before.len().min(after.len()) - head;
        let backwards = before.iter().rev().zip(after.iter().rev()).take(n_left);
        let tail = backwards.take_while(same).count();
        let (before_mid, after_mid) = (middle(before, head, tail), middle(after, head, tail));
        let common = common(before_mid, after_mid)
            .into_iter()
            .map(|(old, new)| (old + head, new + head));
        let tail_pairs = (0..tail).map(|idx| (before.len() - tail + idx, after.len() - tail + idx));
        let pairs = (0..head)
            .map(|idx| (idx, idx))
            .chain(common)
            .chain(tail_pairs);
        let (mut old_idx, mut new_idx) = (0, 0);
        for (old_common, new_common) in pairs.chain([(before.len(), after.len())]) {
            while old_idx < old_common && new_idx < new_common {
                self.item(before, old_idx, after, new_idx);
                old_idx += 1;
                new_idx += 1;
            }
            while old_idx < old_common {
                self.at(Step::Index(new_idx), Self::remove);
                old_idx += 1;
            }
            while let Some(new) = after.get(new_idx).filter(|_| new_idx < new_common) {
                self.at(Step::Index(new_idx), |differ| differ.add(new));
                new_idx += 1;
            }
            if let Some(old) = before.get(old_common) {
                // Without names they are counterparts only because they are equal.
                if old.get("name").is_some() {
                    self.item(before, old_idx, after, new_idx);
                }
                old_idx += 1;
                new_idx += 1;
            }
        }
    }

    fn item(&mut self, before: &'k [Value], old_idx: usize, after: &'v [Value], new_idx: usize) {
        if let (Some(old), Some(new)) = (before.get(old_idx), after.get(new_idx)) {
            self.at(Step::Index(new_idx), |differ| differ.value(old, new));
        }
    }

    fn at(&mut self, step: Step<'k>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }

    fn add(&mut self, value: &'v Value) {
        self.operations.push(Operation::Add {
            path: self.pointer(),
            value: Cow::Borrowed(value),
        });
    }

    fn remove(&mut self) {
        self.operations.push(Operation::Remove {
            path: self.pointer(),
        });
    }

    fn replace(&mut self, value: &'v Value) {
        self.operations.push(Operation::Replace {
            path: self.pointer(),
            value: Cow::Borrowed(value),
        });
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Index(index) => pointer.push_str(&index.to_string()),
                Step::Key(key) if key.contains(['~', '/']) => {
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                }
                Step::Key(key) => pointer.push_str(key),
            }
        }
        pointer
    }
}

/// Whether two items are versions of the same thing: equal, or named alike.
fn is_counterpart(old: &Value, new: &Value) -> bool {
    match (old.get("name"), new.get("name")) {
        (Some(old), Some(new)) => old == new,
        _ => old == new,
    }
}

fn middle(list: &[Value], head: usize, tail: usize) -> &[Value] {
    list.get(head..list.len() - tail).unwrap_or_default()
}

/// The longest run of counterparts, in order: pairs of indices that rise on both sides.
fn common(before: &[Value], after: &[Value]) -> Vec<(usize, usize)> {
    let (rows, columns) = (before.len(), after.len());
    if rows == 0 || columns == 0 || rows.saturating_mul(columns) > MAX_CELLS {
        return Vec::new();
    }
    // lengths[row * (columns + 1) + column]: how many counterparts before[row..] and after[column..] share.
    let stride = columns + 1;
    let mut lengths = vec![0_u32; (rows + 1) * stride];
    let at = |row: usize, column: usize| row * stride + column;
    for (row, old) in before.iter().enumerate().rev() {
        for (column, new) in after.iter().enumerate().rev() {
            lengths[at(row, column)] = if is_counterpart(old, new) {
                lengths[at(row + 1, column + 1)] + 1
            } else {
                lengths[at(row + 1, column)].max(lengths[at(row, column + 1)])
            };
        }
    }
    let mut pairs = Vec::new();
    let (mut row, mut column) = (0, 0);
    while let (Some(old), Some(new)) = (before.get(row), after.get(column)) {
        if is_counterpart(old, new) {
            pairs.push((row, column));
            row += 1;
            column += 1;
        } else if lengths[at(row + 1, column)] >= lengths[at(row, column + 1)] {
            row += 1;
        } else {
            column += 1;
        }
    }
    pairs
}

/// Adds or replaces (`new`: the value, and whether it is added) or removes what `path` points to.
fn apply_one(root: &mut Value, path: &str, new: Option<(&Value, bool)>) -> Option<()> {
    let Some((parent, last)) = path.rsplit_once('/') else {
        let (value, _) = new.filter(|_| path.is_empty())?;
        *root = value.clone();
        return Some(());
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match root.pointer_mut(parent)? {
        Value::Object(map) => {
            if !matches!(new, Some((_, true))) && !map.contains_key(&last) {
                return None;
            }
            match new {
                Some((value, _)) => map.insert(last, value.clone()),
                None => map.remove(&last),
            };
        }
        Value::Array(list) => {
            let index = if last == "-" {
                list.len()
            } else {
                last.parse().ok()?
            };
            match new {
                Some((value, true)) if index <= list.len() => list.insert(index, value.clone()),
                Some((value, false)) => *list.get_mut(index)? = value.clone(),
                None if index < list.len() => drop(list.remove(index)),
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(before: &Value, after: &Value, operations: &Value) {
        assert_eq!(
            &serde_json::to_value(diff(before, after)).expect("plain data"),
            operations
        );
    }

    #[test]
    fn keys_are_added_removed_and_replaced_with_their_pointers_escaped() {
        check(
            &json!({"a/b": 1, "c~d": 1, "gone": null, "same": {"x": []}}),
            &json!({"a/b": 2, "e": {}, "c~d": "1", "same": {"x": []}}),
            &json!([
                {"op": "remove", "path": "/gone"},
                {"op": "replace", "path": "/a~1b", "value": 2},
                {"op": "replace", "path": "/c~0d", "value": "1"},
                {"op": "add", "path": "/e", "value": {}},
            ]),
        );
        check(&json!(1), &json!(1), &json!([]));
        check(
            &json!(1),
            &json!([]),
            &json!([{"op": "replace", "path": "", "value": []}]),
        );
    }

    #[test]
    fn a_container_put_first_or_last_costs_one_operation() {
        let app = json!({"name": "app", "env": [{"name": "A"}]});
        let proxy = json!({"name": "istio-proxy"});
        check(
            &json!([app]),
            &json!([proxy, app]),
            &json!([{"op": "add", "path": "/0", "value": proxy}]),
        );
        check(
            &json!([app]),
            &json!([app, proxy]),
            &json!([{"op": "add", "path": "/1", "value": proxy}]),
        );
        check(
            &json!([proxy, app]),
            &json!([app]),
            &json!([{"op": "remove", "path": "/0"}]),
        );
    }

    #[test]
    fn a_named_item_that_moved_aside_and_changed_is_changed_in_place() {
        check(
            &json!([{"name": "app", "image": "a"}]),
            &json!([{"name": "istio-proxy"}, {"name": "app", "image": "b"}]),
            &json!([
                {"op": "add", "path": "/0", "value": {"name": "istio-proxy"}},
                {"op": "replace", "path": "/1/image", "value": "b"},
            ]),
        );
    }

    #[test]
    fn a_patch_that_does_not_fit_is_refused() {
        for (value, operations) in [
            (json!({}), json!([{"op": "remove", "path": "/a"}])),
            (
                json!({}),
                json!([{"op": "replace", "path": "/a", "value": 1}]),
            ),
            (
                json!({}),
                json!([{"op": "add", "path": "/a/b", "value": 1}]),
            ),
            (json!([]), json!([{"op": "add", "path": "/1", "value": 1}])),
            (json!([]), json!([{"op": "remove", "path": "/0"}])),
            (json!({}), json!([{"op": "remove", "path": ""}])),
        ] {
            let operations: Vec<Operation<'_>> =
                serde_json::from_value(operations).expect("operations");
            assert!(
                apply(&mut value.clone(), &operations).is_err(),
                "{value} {operations:?}"
            );
        }
    }

    #[test]
    fn very_long_lists_without_anything_in_common_are_still_right() {
        let before = Value::from((0..3000).collect::<Vec<_>>());
        let after = Value::from((3000..6000).collect::<Vec<_>>());
        let mut patched = before.clone();
        apply(&mut patched, &diff(&before, &after)).expect("fits");
        assert_eq!(patched, after);
    }

    fn values() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec!["name", "a", "b/~", ""]);
        let leaf = prop_oneof![
            Just(Value::Null),
            (0..3).prop_map(Value::from),
            "[ab]".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_other_value(before in values(), after in values()) {
            let operations = diff(&before, &after);
            let mut patched = before;
            prop_assert_eq!(apply(&mut patched, &operations), Ok(()));
            prop_assert_eq!(patched, after);
        }

        #[test]
        fn equal_values_have_no_difference(value in values()) {
            prop_assert_eq!(diff(&value, &value), []);
        }
    }
}

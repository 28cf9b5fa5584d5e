//! What a record does not say: the difference between what is read from it and the pod as its author wrote it.
//!
//! Taken by the pipeline at the end of an injection, kept in the status annotation where there is any, applied last when the injection is undone.
//! Paths name items of lists by their name instead of their place, so that they still hold when containers or volumes were added since.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    order,
    pod::{self, List},
};

/// Steps that lead from one pod to another, by JSON pointer: `/spec/containers/web/readinessProbe/httpGet/port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Rest {
    /// What stands there instead, or where there is nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, Value>,
    /// What is not to be there.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    remove: BTreeSet<String>,
    /// Lists whose items stand in another order: their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    order: BTreeMap<String, Vec<String>>,
}

/// Maps and lists that others add to, and that are there as long as there is something in them.
const SHARED: &[&str] = &[
    "/metadata",
    "/metadata/annotations",
    "/metadata/labels",
    "/spec/imagePullSecrets",
    "/spec/initContainers",
    "/spec/volumes",
];

struct Difference {
    path: String,
    rest: Rest,
}

// === impl Rest ===

impl Rest {
    /// The steps from `before` to `after`.
    pub(crate) fn between(before: &Value, after: &Value) -> Self {
        let mut difference = Difference {
            path: String::new(),
            rest: Self::default(),
        };
        difference.value(before, after);
        difference.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.order.is_empty()
    }

    /// Takes the steps; gives the paths of those that have no place in `pod` any more.
    ///
    /// A container is only taken away if `is_given` knows its name: the record is an annotation, in which anything may stand.
    pub(crate) fn apply(&self, pod: &mut Value, is_given: impl Fn(&str) -> bool) -> Vec<String> {
        for path in &self.remove {
            if container(path).is_none_or(|name| is_given(&name)) {
                remove(pod, path);
            }
        }
        let mut lost = Vec::new();
        for (path, value) in &self.set {
            if set(pod, path, value).is_none() {
                lost.push(path.clone());
            }
        }
        for (path, names) in &self.order {
            match find(pod, path) {
                Some(Value::Array(list)) => order::by_name(list, names.iter().map(String::as_str)),
                _ => lost.push(path.clone()),
            }
        }
        lost
    }
}

// === impl Difference ===

impl Difference {
    fn value(&mut self, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.map(before, after),
            (before, after) if before == after => {}
            (Value::Array(old), Value::Array(new)) => match (names(old), names(new)) {
                (Some(names), Some(wanted)) => self.list((old, &names), (new, &wanted)),
                _ => self.set(after),
            },
            (_, after) => self.set(after),
        }
    }

    fn map(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        for (key, old) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
            self.at(key, |difference| {
                if !difference.empty(old) {
                    difference.remove();
                }
            });
        }
        for (key, new) in after {
            self.at(key, |difference| difference.entry(before.get(key), new));
        }
    }

    fn entry(&mut self, old: Option<&Value>, new: &Value) {
        match (old, new) {
            (Some(old), new) if self.is_shared() && is_nothing(new) && !is_nothing(old) => {
                if !self.empty(old) {
                    self.remove();
                }
                self.set(new);
            }
            (Some(old), new) => self.value(old, new),
            (None, Value::Object(new)) if self.is_shared() && !new.is_empty() => {
                self.map(&Map::new(), new);
            }
            (None, Value::Array(list)) if self.is_shared() && !list.is_empty() => {
                match names(list) {
                    Some(names) => self.list((&[], &[]), (list, &names)),
                    None => self.set(new),
                }
            }
            (None, new) => self.set(new),
        }
    }

    /// Removes what is in a shared map or list, which then goes by itself; tells whether it did.
    fn empty(&mut self, value: &Value) -> bool {
        match value {
            Value::Object(map) if self.is_shared() => self.map(map, &Map::new()),
            Value::Array(list) if self.is_shared() => match names(list) {
                Some(names) => self.list((list, &names), (&[], &[])),
                None => return false,
            },
            _ => return false,
        }
        !is_nothing(value)
    }

    /// Whether others add to the value after an injection, so that it is not ours to set or remove as a whole.
    fn is_shared(&self) -> bool {
        SHARED.contains(&self.path.as_str())
    }

    /// Both lists have names that occur once.
    fn list(&mut self, before: (&[Value], &[&str]), after: (&[Value], &[&str])) {
        let old: BTreeMap<_, _> = before.1.iter().copied().zip(before.0).collect();
        let wanted: HashSet<_> = after.1.iter().copied().collect();
        for name in before.1.iter().filter(|name| !wanted.contains(*name)) {
            self.at(name, Self::remove);
        }
        for (name, new) in after.1.iter().zip(after.0) {
            self.at(name, |difference| match old.get(name) {
                Some(old) => difference.value(old, new),
                None => difference.set(new),
            });
        }
        let kept = before.1.iter().filter(|name| wanted.contains(*name));
        let added = after.1.iter().filter(|name| !old.contains_key(*name));
        // Steps are taken in the order of their paths.
        let mut added: Vec<_> = added.collect();
        added.sort_by_key(|name| escaped(name));
        if !kept.chain(added).eq(after.1) {
            let order = after.1.iter().map(|name| (*name).to_owned()).collect();
            self.rest.order.insert(self.path.clone(), order);
        }
    }

    fn set(&mut self, value: &Value) {
        self.rest.set.insert(self.path.clone(), value.clone());
    }

    fn remove(&mut self) {
        self.rest.remove.insert(self.path.clone());
    }

    fn at(&mut self, segment: &str, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&escaped(segment));
        then(self);
        self.path.truncate(length);
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    }
}

/// The names of a list's items, if each has one of its own.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<_> = list.iter().map(pod::name).collect();
    let unique: HashSet<_> = names.iter().copied().collect();
    (unique.len() == names.len() && !unique.contains("")).then_some(names)
}

/// The container that a path leads to, if it leads to a whole one.
fn container(path: &str) -> Option<String> {
    let (list, name) = path.strip_prefix("/spec/")?.split_once('/')?;
    let is_list = List::BOTH.iter().any(|known| known.field() == list);
    (is_list && !name.contains('/')).then(|| plain(name))
}

fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn plain(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn find<'v>(root: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    path.split('/').skip(1).try_fold(root, |value, segment| {
        let segment = plain(segment);
        match value {
            Value::Object(map) => map.get_mut(&segment),
            Value::Array(list) => list.iter_mut().find(|item| pod::name(item) == segment),
            _ => None,
        }
    })
}

fn remove(root: &mut Value, path: &str) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    let last = plain(last);
    match find(root, parent)? {
        Value::Object(map) => {
            map.remove(&last);
            if map.is_empty() && SHARED.contains(&parent) {
                remove(root, parent);
            }
        }
        Value::Array(list) => {
            list.retain(|item| pod::name(item) != last);
            if list.is_empty() && SHARED.contains(&parent) {
                remove(root, parent);
            }
        }
        _ => {}
    }
    Some(())
}

fn set(root: &mut Value, path: &str, value: &Value) -> Option<()> {
    let Some((parent, last)) = path.rsplit_once('/') else {
        value.clone_into(root);
        return Some(());
    };
    let last = plain(last);
    if SHARED.contains(&path)
        && is_nothing(value)
        && find(root, path).is_some_and(|old| !is_nothing(old))
    {
        // Something was added since.
        return Some(());
    }
    if SHARED.contains(&parent) && find(root, parent).is_none() {
        let empty = if parent.starts_with("/metadata") {
            Value::Object(Map::new())
        } else {
            Value::Array(Vec::new())
        };
        set(root, parent, &empty)?;
    }
    match find(root, parent)? {
        Value::Object(map) => {
            map.insert(last, value.clone());
        }
        Value::Array(list) => match list.iter_mut().find(|item| pod::name(item) == last) {
            Some(item) => value.clone_into(item),
            None => list.push(value.clone()),
        },
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_name_items_and_so_survive_what_was_added_since() {
        let before = json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "x/y": 1}]}});
        let after = json!({"spec": {"containers": [{"name": "a", "x/y": 2}, {"name": "b"}]}});
        let rest = Rest::between(&before, &after);
        assert_eq!(
            serde_json::to_value(&rest).expect("plain data"),
            json!({"set": {"/spec/containers/a/x~1y": 2}, "order": {"/spec/containers": ["a", "b"]}})
        );
        let mut pod = json!({"spec": {"containers": [{"name": "new"}, {"name": "b"}, {"name": "a"}, {"name": "late"}]}});
        assert!(rest.apply(&mut pod, |_| true).is_empty());
        assert_eq!(
            pod,
            json!({"spec": {"containers": [{"name": "new"}, {"name": "a", "x/y": 2}, {"name": "late"}, {"name": "b"}]}})
        );
    }

    #[test]
    fn a_step_without_a_place_is_told_and_a_container_that_was_not_given_stays() {
        let rest: Rest = serde_json::from_value(json!({
            "set": {"/spec/gone/x": 1},
            "remove": ["/spec/containers/web", "/metadata/labels/x"],
            "order": {"/spec/volumes": []},
        }))
        .expect("a record");
        let pod = json!({"spec": {"containers": [{"name": "web"}]}});
        let mut applied = pod.clone();
        assert_eq!(
            rest.apply(&mut applied, |_| false),
            ["/spec/gone/x", "/spec/volumes"]
        );
        assert_eq!(applied, pod);
    }

    #[test]
    fn labels_and_annotations_that_were_added_since_stay() {
        let many = json!({"metadata": {"labels": {"a": "1"}, "annotations": {"b": "2"}}});
        let none = json!({"metadata": {}});
        let empty = json!({"metadata": {"labels": {}, "annotations": {}}});
        let null = json!({"metadata": {"labels": null, "annotations": null}});
        let added = json!({"metadata": {"labels": {"a": "1", "new": ""}, "annotations": {"b": "2", "new": ""}}});
        let stripped = json!({"metadata": {"labels": {"new": ""}, "annotations": {"new": ""}}});
        for (before, after, pod, expected) in [
            (&many, &none, &added, &stripped),
            (&none, &many, &stripped, &added),
            (&many, &none, &many, &none),
            (&none, &many, &none, &many),
            (&many, &empty, &added, &stripped),
            (&many, &empty, &many, &empty),
            (&many, &null, &added, &stripped),
            (&many, &null, &many, &null),
            (&empty, &null, &empty, &null),
        ] {
            let mut pod = pod.clone();
            assert!(
                Rest::between(before, after)
                    .apply(&mut pod, |_| true)
                    .is_empty()
            );
            assert_eq!(&pod, expected);
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec![
            "name", "a", "b/~", "", "metadata", "labels", "spec", "volumes",
        ]);
        let leaf = prop_oneof![Just(Value::Null), "[ab/~]".prop_map(Value::from)];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_steps_lead_from_one_value_to_the_other(before in values(), after in values()) {
            let text = serde_json::to_string(&Rest::between(&before, &after)).expect("plain data");
            let rest: Rest = serde_json::from_str(&text).expect("what was written");
            prop_assert_eq!(rest.is_empty(), before == after);
            let mut moved = before;
            prop_assert!(rest.apply(&mut moved, |_| true).is_empty());
            prop_assert_eq!(moved, after);
        }
    }
}

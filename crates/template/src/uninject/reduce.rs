//! What an injection can have changed of a pod.
//!
//! Called for each injection, where comparing whole pods would take as long as the injection itself: containers that no template names are the author's but
//! for their probes, and most of the other fields are equal at a glance.
//! Names and places of all that is left out stay, so that the steps between two reduced pods are those between the whole ones.

use std::collections::{HashMap, HashSet};

use contract::pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER};
use serde_json::{Map, Value};

use super::strip::GIVEN;
use crate::{
    pod::{self, List},
    record::{Overrides, Status},
};

/// Fields of a container that injection may change or look at, though no template names it.
const CONTAINER_FIELDS: &[&str] = &[
    "name",
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// The author's part, and what became of it.
type Pair = (Value, Value);

/// As [`Pair`], of something that one of them may lack.
type MaybePair = (Option<Value>, Option<Value>);

/// The parts of both pods that may differ.
pub(super) fn reduce(
    author: &Value,
    merged: &Value,
    (status, saved): (&Status, &Overrides),
    touched: &HashSet<String>,
) -> Pair {
    let container = |author: Option<&Value>, merged: Option<&Value>| {
        container((status, saved), touched, author, merged)
    };
    fields(author, merged, |key, author, merged| match key {
        "metadata" => fields(author, merged, |key, author, merged| match key {
            "labels" | "annotations" => whole(author, merged),
            _ => differing(author, merged),
        }),
        "spec" => fields(author, merged, |key, author, merged| match key {
            "containers" | "initContainers" => items(author, merged, &container),
            "volumes" => items(author, merged, &|author, merged| {
                volume(status, author, merged)
            }),
            "imagePullSecrets" | "securityContext" => whole(author, merged),
            _ => differing(author, merged),
        }),
        _ => differing(author, merged),
    })
}

/// Containers that a template names, in whatever way, and those that the pipeline knows by name.
pub(crate) fn touched(patches: &[(String, Value)]) -> HashSet<String> {
    patches
        .iter()
        .flat_map(|(_, patch)| List::BOTH.map(|list| pod::containers(patch, list)))
        .flatten()
        .map(pod::name)
        .chain([PROXY_CONTAINER, INIT_CONTAINER, VALIDATION_CONTAINER])
        .map(str::to_owned)
        .collect()
}

fn container(
    (status, saved): (&Status, &Overrides),
    touched: &HashSet<String>,
    author: Option<&Value>,
    merged: Option<&Value>,
) -> MaybePair {
    let name = author.or(merged).map(pod::name).unwrap_or_default();
    if status.names(name) && (author.is_none() || saved.get(name).is_some()) {
        // It goes, or its record takes its place.
        let left = |merged| {
            if GIVEN.contains(&name) {
                part(merged, &["name"])
            } else {
                // It may also stay, with what it mounts.
                part(merged, &["name", "volumeMounts"])
            }
        };
        return (author.cloned(), merged.map(left));
    }
    match (author, merged) {
        (Some(author), Some(merged)) if !touched.contains(name) => {
            let reduced = |container| {
                let mut reduced = part(container, CONTAINER_FIELDS);
                pod::as_map(&mut reduced)
                    .insert("volumeMounts".to_owned(), mounts(container, status));
                reduced
            };
            (Some(reduced(author)), Some(reduced(merged)))
        }
        _ => (author.cloned(), merged.cloned()),
    }
}

/// Those mounts of a container whose volume a template gave.
fn mounts(container: &Value, status: &Status) -> Value {
    let mounts = container.get("volumeMounts").and_then(Value::as_array);
    let given = mounts.into_iter().flatten().filter(|mount| {
        let name = pod::name(mount);
        status.volumes().iter().any(|volume| volume == name)
    });
    given.cloned().collect()
}

fn volume(status: &Status, author: Option<&Value>, merged: Option<&Value>) -> MaybePair {
    let is_given = |volume| {
        status
            .volumes()
            .iter()
            .any(|given| given == pod::name(volume))
    };
    match (author, merged) {
        (Some(author), Some(merged)) if author == merged && !is_given(author) => {
            let name = part(author, &["name"]);
            (Some(name.clone()), Some(name))
        }
        // It goes, unless something mounts it that should not.
        (None, Some(merged)) if is_given(merged) => (None, Some(part(merged, &["name"]))),
        _ => (author.cloned(), merged.cloned()),
    }
}

/// Reduces each field that both have.
fn fields(author: &Value, merged: &Value, reduce: impl Fn(&str, &Value, &Value) -> Pair) -> Pair {
    let (Value::Object(author), Value::Object(merged)) = (author, merged) else {
        return whole(author, merged);
    };
    let mut parts = (Map::new(), Map::new());
    for (key, old) in author {
        let old = match merged.get(key) {
            Some(new) => {
                let (old, new) = reduce(key, old, new);
                parts.1.insert(key.clone(), new);
                old
            }
            None => old.clone(),
        };
        parts.0.insert(key.clone(), old);
    }
    for (key, new) in merged.iter().filter(|(key, _)| !author.contains_key(*key)) {
        let (_, new) = reduce(key, &Value::Array(Vec::new()), new);
        parts.1.insert(key.clone(), new);
    }
    (Value::Object(parts.0), Value::Object(parts.1))
}

/// Reduces each item of a list of named things, which one or both have.
fn items(
    author: &Value,
    merged: &Value,
    reduce: &dyn Fn(Option<&Value>, Option<&Value>) -> MaybePair,
) -> Pair {
    let (Value::Array(author), Value::Array(merged)) = (author, merged) else {
        return whole(author, merged);
    };
    let (Some(old), Some(new)) = (by_name(author), by_name(merged)) else {
        return (Value::Array(author.clone()), Value::Array(merged.clone()));
    };
    let author = author
        .iter()
        .filter_map(|item| reduce(Some(item), new.get(pod::name(item)).copied()).0);
    let merged = merged
        .iter()
        .filter_map(|item| reduce(old.get(pod::name(item)).copied(), Some(item)).1);
    (author.collect(), merged.collect())
}

/// The items by their names, if each has one of its own.
fn by_name(list: &[Value]) -> Option<HashMap<&str, &Value>> {
    let named: HashMap<_, _> = list.iter().map(|item| (pod::name(item), item)).collect();
    (named.len() == list.len() && !named.contains_key("")).then_some(named)
}

fn part(item: &Value, fields: &[&str]) -> Value {
    let fields = fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), item.get(*field)?.clone())));
    Value::Object(fields.collect())
}

fn whole(author: &Value, merged: &Value) -> Pair {
    (author.clone(), merged.clone())
}

/// Both values, or the same placeholder for both where they are equal.
fn differing(author: &Value, merged: &Value) -> Pair {
    if author == merged {
        (Value::Null, Value::Null)
    } else {
        whole(author, merged)
    }
}

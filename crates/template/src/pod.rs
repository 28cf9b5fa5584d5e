//! Reading and changing a pod that is plain JSON.
//!
//! Used by every step of the pipeline; `check` runs first, so that the others may rely on the shape of what they touch.
//! Only the fields that injection itself reads or writes are looked at, so whatever else a pod holds survives.

use std::fmt::Arguments;

use serde_json::{Map, Value};

use crate::error::Error;

/// The two lists that hold a pod's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Init,
    Main,
}

// === impl List ===

impl List {
    pub(crate) const BOTH: [Self; 2] = [Self::Main, Self::Init];

    /// The list's name in a pod's `spec`.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Main => "containers",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Init => Self::Main,
            Self::Main => Self::Init,
        }
    }
}

/// Refuses a pod in which a field that injection touches is not of its type; a null is as good as an absent field.
pub(crate) fn check(pod: &Value) -> Result<(), Error> {
    check_shape(pod, |_| false)
}

/// As [`check`] for a partial pod, whose containers may be directives of the merge.
pub(crate) fn check_patch(patch: &Value) -> Result<(), Error> {
    check_shape(patch, |container| container.get("$patch").is_some())
}

/// Paths are only written out for errors.
fn check_shape(pod: &Value, is_directive: fn(&Value) -> bool) -> Result<(), Error> {
    let root = object(format_args!("the pod"), Some(pod))?
        .ok_or_else(|| wrong(format_args!("the pod"), "an object", &Value::Null))?;
    if let Some(metadata) = object(format_args!("metadata"), root.get("metadata"))? {
        for field in ["labels", "annotations"] {
            strings(format_args!("metadata.{field}"), metadata.get(field))?;
        }
        for field in ["name", "generateName", "namespace"] {
            string(format_args!("metadata.{field}"), metadata.get(field))?;
        }
        list(
            format_args!("metadata.ownerReferences"),
            metadata.get("ownerReferences"),
        )?;
    }
    let Some(spec) = object(format_args!("spec"), root.get("spec"))? else {
        return Ok(());
    };
    if let Some(value) = spec
        .get("hostNetwork")
        .filter(|value| !value.is_boolean() && !value.is_null())
    {
        return Err(wrong(format_args!("spec.hostNetwork"), "a boolean", value));
    }
    for field in ["nodeName", "serviceAccountName", "dnsPolicy"] {
        string(format_args!("spec.{field}"), spec.get(field))?;
    }
    for containers in List::BOTH {
        let field = containers.field();
        let containers = list(format_args!("spec.{field}"), spec.get(field))?
            .iter()
            .enumerate();
        for (container_idx, container) in
            containers.filter(|(_, container)| !is_directive(container))
        {
            check_container(format_args!("spec.{field}[{container_idx}]"), container)?;
        }
    }
    for field in ["volumes", "imagePullSecrets"] {
        list(format_args!("spec.{field}"), spec.get(field))?;
    }
    Ok(())
}

fn check_container(path: Arguments<'_>, container: &Value) -> Result<(), Error> {
    let fields =
        object(path, Some(container))?.ok_or_else(|| wrong(path, "an object", container))?;
    match fields.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {}
        other => {
            return Err(wrong(
                format_args!("{path}.name"),
                "a name",
                other.unwrap_or(&Value::Null),
            ));
        }
    }
    string(format_args!("{path}.image"), fields.get("image"))?;
    for field in ["env", "ports", "volumeMounts", "args"] {
        list(format_args!("{path}.{field}"), fields.get(field))?;
    }
    for field in [
        "securityContext",
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        object(format_args!("{path}.{field}"), fields.get(field))?;
    }
    Ok(())
}

fn object<'a>(
    path: Arguments<'_>,
    value: Option<&'a Value>,
) -> Result<Option<&'a Map<String, Value>>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(other) => Err(wrong(path, "an object", other)),
    }
}

fn list<'a>(path: Arguments<'_>, value: Option<&'a Value>) -> Result<&'a [Value], Error> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(wrong(path, "a list", other)),
    }
}

fn string(path: Arguments<'_>, value: Option<&Value>) -> Result<(), Error> {
    match value {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(other) => Err(wrong(path, "a string", other)),
    }
}

fn strings(path: Arguments<'_>, value: Option<&Value>) -> Result<(), Error> {
    object(path, value)?
        .into_iter()
        .flatten()
        .try_for_each(|(key, value)| string(format_args!("{path}[{key:?}]"), Some(value)))
}

fn wrong(field: Arguments<'_>, expected: &'static str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::Shape {
        field: field.to_string(),
        expected,
        found,
    }
}

/// The text at a path of keys, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    path.iter()
        .try_fold(value, |value, key| value.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The pod's annotations, or labels.
pub(crate) fn metadata_map<'a>(pod: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    pod.get("metadata")?.get(field)?.as_object()
}

/// An annotation's value, if it is there.
pub(crate) fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    metadata_map(pod, "annotations")?.get(key)?.as_str()
}

/// A label's value, if it is there.
pub(crate) fn label<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    metadata_map(pod, "labels")?.get(key)?.as_str()
}

/// The map at `metadata.FIELD`, made if it is not there.
pub(crate) fn metadata_map_mut<'a>(pod: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    entry(entry(as_map(pod), "metadata"), field)
}

/// Sets an annotation.
pub(crate) fn annotate(pod: &mut Value, key: &str, value: impl Into<String>) {
    metadata_map_mut(pod, "annotations").insert(key.to_owned(), Value::String(value.into()));
}

/// A list of containers, empty where there is none.
pub(crate) fn containers(pod: &Value, list: List) -> &[Value] {
    pod.get("spec")
        .and_then(|spec| spec.get(list.field()))
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A list of containers to change, if there is one.
pub(crate) fn containers_mut(pod: &mut Value, list: List) -> Option<&mut Vec<Value>> {
    pod.get_mut("spec")?.get_mut(list.field())?.as_array_mut()
}

/// A list of containers to change, made if there is none.
pub(crate) fn containers_entry(pod: &mut Value, list: List) -> &mut Vec<Value> {
    let field = entry(as_map(pod), "spec")
        .entry(list.field())
        .or_insert(Value::Null);
    if !field.is_array() {
        *field = Value::Array(Vec::new());
    }
    field.as_array_mut().expect("it was made a list above")
}

/// The name of a container, volume or variable.
pub(crate) fn name(item: &Value) -> &str {
    text(item, &["name"])
}

/// Where a container of that name is.
pub(crate) fn position(pod: &Value, list: List, wanted: &str) -> Option<usize> {
    containers(pod, list)
        .iter()
        .position(|container| name(container) == wanted)
}

/// A container by name, wherever it is: ordinary ones first.
pub(crate) fn find<'a>(pod: &'a Value, wanted: &str) -> Option<&'a Value> {
    List::BOTH
        .iter()
        .flat_map(|list| containers(pod, *list))
        .find(|container| name(container) == wanted)
}

/// As [`find`], to change it.
pub(crate) fn find_mut<'a>(pod: &'a mut Value, wanted: &str) -> Option<&'a mut Value> {
    let (list, at) = List::BOTH
        .iter()
        .find_map(|list| Some((*list, position(pod, *list, wanted)?)))?;
    containers_mut(pod, list)?.get_mut(at)
}

/// Takes a container out of a list.
pub(crate) fn take(pod: &mut Value, list: List, wanted: &str) -> Option<Value> {
    let at = position(pod, list, wanted)?;
    Some(containers_mut(pod, list)?.remove(at))
}

/// The value of a container's variable, if it has one by that name with a value of its own.
pub(crate) fn variable<'a>(container: &'a Value, wanted: &str) -> Option<&'a str> {
    container
        .get("env")?
        .as_array()?
        .iter()
        .find(|variable| name(variable) == wanted)?
        .get("value")?
        .as_str()
}

/// Sets a container's variable and puts it last, so that the order does not depend on what was there before.
pub(crate) fn set_variable_last(container: &mut Value, wanted: &str, value: &str) {
    let env = as_map(container).entry("env").or_insert(Value::Null);
    if !env.is_array() {
        *env = Value::Array(Vec::new());
    }
    if let Some(env) = env.as_array_mut() {
        env.retain(|variable| name(variable) != wanted);
        env.push(serde_json::json!({"name": wanted, "value": value}));
    }
}

/// The value as a map, which it becomes if it is none.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object above")
}

fn entry<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_map(map.entry(key).or_insert(Value::Null))
}

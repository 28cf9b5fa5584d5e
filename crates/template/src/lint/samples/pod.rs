//! What a pod cannot be: fields that its type does not have, and what the API server refuses for plain reasons.
//!
//! Called for each injected sample. Plain reasons are those that need no more than the pod: types, names, duplicates and references within it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schema::{self, Kind};

/// Something wrong with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// A field that the type does not have; else something that is refused.
    pub(super) is_unknown: bool,
    pub(super) message: String,
}

/// More would not be read.
const MAX_FAULTS: usize = 20;

/// All faults of a pod, fields first.
pub(super) fn faults(pod: &Value) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    faults.check(pod, &Kind::Struct(schema::POD), "");
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    faults.containers(spec);
    faults.volumes(spec);
    faults.0.truncate(MAX_FAULTS);
    faults.0
}

struct Faults(Vec<Fault>);

// === impl Faults ===

impl Faults {
    fn refused(&mut self, message: String) {
        self.0.push(Fault {
            is_unknown: false,
            message,
        });
    }

    /// Compares a value with the kind of its field.
    fn check(&mut self, value: &Value, kind: &Kind, path: &str) {
        let expected = match (kind, value) {
            (_, Value::Null) | (Kind::Any, _) => return,
            (Kind::Struct(name), Value::Object(map)) => {
                for (key, value) in map {
                    let path = super::below(path, key);
                    match schema::json_field(name, key) {
                        Some(kind) => self.check(value, kind, &path),
                        None => self.unknown(name, key, &path),
                    }
                }
                return;
            }
            (Kind::List(item), Value::Array(items)) => {
                for (index, value) in items.iter().enumerate() {
                    let name = value.get("name").and_then(Value::as_str);
                    let shown = name.map_or_else(|| index.to_string(), str::to_owned);
                    self.check(value, item, &format!("{path}[{shown}]"));
                }
                return;
            }
            (Kind::Map(item), Value::Object(map)) => {
                for (key, value) in map {
                    self.check(value, item, &format!("{path}[{key}]"));
                }
                return;
            }
            (Kind::Text | Kind::Enum, Value::String(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Float, Value::Number(_))
            | (Kind::Quantity | Kind::Port, Value::String(_) | Value::Number(_)) => return,
            (Kind::Integer, Value::Number(number)) if !number.is_f64() => return,
            (Kind::Struct(_) | Kind::Map(_), _) => "an object",
            (Kind::List(_), _) => "a list",
            (Kind::Text | Kind::Enum, _) => "a string",
            (Kind::Boolean, _) => "a boolean",
            (Kind::Integer, _) => "a whole number",
            (Kind::Float, _) => "a number",
            (Kind::Quantity, _) => "a quantity",
            (Kind::Port, _) => "a port",
        };
        self.refused(format!("{path} must be {expected}, but is {value}"));
    }

    fn unknown(&mut self, type_name: &str, key: &str, path: &str) {
        let known = schema::fields(type_name).iter();
        let nearest = schema::nearest(key, known.filter_map(|field| field.json.as_deref()));
        let hint = nearest.map_or_else(String::new, |nearest| {
            format!("; did you mean {nearest:?}?")
        });
        self.0.push(Fault {
            is_unknown: true,
            message: format!("{path} is no field of a {type_name}{hint}"),
        });
    }

    fn containers(&mut self, spec: &Value) {
        let mut names = BTreeSet::new();
        for list in ["initContainers", "containers"] {
            for container in items(spec, list) {
                let name = text(container, "name");
                if !is_label(name) {
                    self.refused(format!(
                        "{list}: {name:?} cannot be the name of a container, which is a DNS label"
                    ));
                }
                if !names.insert(name) {
                    self.refused(format!("{list}: container {name:?} is there twice"));
                }
                if text(container, "image").trim().is_empty() {
                    self.refused(format!("{list}[{name}] has no image"));
                }
                self.lists_of(container, &format!("{list}[{name}]"));
            }
        }
    }

    /// What a container lists must be unique and named.
    fn lists_of(&mut self, container: &Value, path: &str) {
        for variable in items(container, "env") {
            let name = text(variable, "name");
            if name.is_empty() || name.contains('=') {
                self.refused(format!(
                    "{path}.env: {name:?} cannot be the name of a variable"
                ));
            }
            if !text(variable, "value").is_empty()
                && variable
                    .get("valueFrom")
                    .is_some_and(|from| !from.is_null())
            {
                self.refused(format!("{path}.env[{name}] has both value and valueFrom"));
            }
        }
        let mut mounts = BTreeSet::new();
        for mount in items(container, "volumeMounts") {
            let at = text(mount, "mountPath");
            if at.is_empty() || !mounts.insert(at) {
                self.refused(format!(
                    "{path}.volumeMounts: mountPath {at:?} is empty or there twice"
                ));
            }
        }
        for port in items(container, "ports") {
            let number = port.get("containerPort").and_then(Value::as_i64);
            if !number.is_some_and(|number| (1..=65535).contains(&number)) {
                self.refused(format!(
                    "{path}.ports: containerPort must be 1 to 65535, but is {}",
                    port.get("containerPort").unwrap_or(&Value::Null)
                ));
            }
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let port = container
                .get(probe)
                .and_then(|probe| probe.pointer("/httpGet/port"));
            if port.and_then(Value::as_i64) == Some(0) {
                self.refused(format!("{path}.{probe}.httpGet.port is 0"));
            }
        }
    }

    fn volumes(&mut self, spec: &Value) {
        let mut names = BTreeSet::new();
        for volume in items(spec, "volumes") {
            let name = text(volume, "name");
            if !is_label(name) || !names.insert(name) {
                self.refused(format!(
                    "volumes: name {name:?} is no DNS label or there twice"
                ));
            }
        }
        for list in ["initContainers", "containers"] {
            for container in items(spec, list) {
                for mount in items(container, "volumeMounts") {
                    let volume = text(mount, "name");
                    if !names.contains(volume) {
                        self.refused(format!(
                            "{list}[{}] mounts volume {volume:?}, which is not there",
                            text(container, "name")
                        ));
                    }
                }
            }
        }
    }
}

fn items<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = object.get(field).and_then(Value::as_array);
    items.into_iter().flatten()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    let text = object.get(field).and_then(Value::as_str);
    text.unwrap_or_default()
}

fn is_label(name: &str) -> bool {
    let is_inner =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_as_kubernetes_has_it_is_without_fault() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"a": "b"}},
            "spec": {
                "securityContext": {"sysctls": [{"name": "a", "value": "b"}]},
                "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
                "containers": [{
                    "name": "c", "image": "i",
                    "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
                }],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "a", "expirationSeconds": 1}}]}}],
            },
        });
        assert_eq!(faults(&pod), []);
    }

    /// A fault of a container, whether it is an unknown field, and a part of the message.
    const OF_CONTAINERS: [(&str, bool, &str); 10] = [
        (
            r#"{"imagePullPolcy": "Always"}"#,
            true,
            "spec.containers[c].imagePullPolcy is no field of a Container; did you mean \"imagePullPolicy\"?",
        ),
        (
            r#"{"args": "a"}"#,
            false,
            "spec.containers[c].args must be a list",
        ),
        (r#"{"args": [1]}"#, false, "args[0] must be a string"),
        (r#"{"image": ""}"#, false, "has no image"),
        (r#"{"name": "C"}"#, false, "DNS label"),
        (r#"{"env": [{"name": ""}]}"#, false, "name of a variable"),
        (
            r#"{"env": [{"name": "A", "value": "b", "valueFrom": {}}]}"#,
            false,
            "both",
        ),
        (r#"{"ports": [{"containerPort": 0}]}"#, false, "1 to 65535"),
        (
            r#"{"volumeMounts": [{"name": "v", "mountPath": "/"}]}"#,
            false,
            "mounts volume \"v\"",
        ),
        (
            r#"{"livenessProbe": {"httpGet": {"port": 0}}}"#,
            false,
            "port is 0",
        ),
    ];

    #[track_caller]
    fn check(pod: &Value, is_unknown: bool, part: &str) {
        let faults = faults(pod);
        let found = faults
            .iter()
            .any(|fault| fault.is_unknown == is_unknown && fault.message.contains(part));
        assert!(found, "{part:?} is not in {faults:?}");
    }

    #[test]
    fn each_fault_is_told_with_its_path() {
        for (fields, is_unknown, part) in OF_CONTAINERS {
            let mut container = json!({"name": "c", "image": "i"});
            let fields: Value = serde_json::from_str(fields).expect("JSON");
            for (key, value) in fields.as_object().expect("an object") {
                container[key] = value.clone();
            }
            check(
                &json!({"spec": {"containers": [container]}}),
                is_unknown,
                part,
            );
        }
        let container = json!({"name": "c", "image": "i"});
        let spec = json!({"spec": {"containers": [container, container]}});
        check(&spec, false, "there twice");
        let spec = json!({"spec": {"volumes": [{"name": "v"}, {"name": "v"}]}});
        check(&spec, false, "there twice");
    }
}

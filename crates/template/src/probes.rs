//! Probes and lifecycle handlers of the application, rewritten so that the sidecar answers for it.
//!
//! Called late in the pipeline, when every template has been merged. The kubelet's own connections would be captured like
//! everybody's and, later, refused for want of a certificate; so it asks the sidecar's status port instead, and the sidecar asks
//! the application as the original says, which travels in an environment variable.

use std::fmt::{self, Display, Formatter};

use contract::{env, paths, pod as names};
use serde_json::{Map, Value, json};

/// A probe or handler that was left as it is, although it may not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untouched {
    /// The container.
    pub container: String,
    /// `readinessProbe`, `lifecycle.preStop`, …
    pub field: &'static str,
    /// The port's name, which the container does not declare.
    pub port: String,
}

/// Where a check stands in a container, and which URL it becomes.
struct Place {
    field: &'static str,
    pointer: &'static str,
    prefix: &'static str,
    last: &'static str,
    /// Handlers are recorded without a timeout.
    has_timeout: bool,
}

/// What becomes of one check.
enum Rewritten {
    /// It is not of a kind that is rewritten, or already done.
    No,
    /// Its port has a name that nothing bears.
    UnknownPort(String),
    /// The entry for the sidecar, and what stands in the pod instead.
    Yes { record: Value, replacement: Value },
}

const PLACES: [Place; 5] = [
    probe("readinessProbe", "/readinessProbe", "readyz"),
    probe("livenessProbe", "/livenessProbe", "livez"),
    probe("startupProbe", "/startupProbe", "startupz"),
    handler("lifecycle.preStop", "/lifecycle/preStop", "prestopz"),
    handler("lifecycle.postStart", "/lifecycle/postStart", "poststartz"),
];

/// Rewrites the checks of all containers but the sidecar's and tells the sidecar of the originals.
///
/// A pod without sidecar, or with a `status_port` of 0, is left as it is. Doing it twice changes nothing.
pub fn rewrite(pod: &mut Value, status_port: u16) -> Vec<Untouched> {
    let mut untouched = Vec::new();
    if status_port == 0 || sidecar(pod).is_none() {
        return untouched;
    }
    let mut records = Map::new();
    for list in ["/spec/initContainers", "/spec/containers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            rewrite_container(container, status_port, &mut records, &mut untouched);
        }
    }
    if let Some(sidecar) = sidecar(pod)
        && !records.is_empty()
    {
        tell(sidecar, records);
    }
    untouched
}

fn rewrite_container(
    container: &mut Value,
    status_port: u16,
    records: &mut Map<String, Value>,
    untouched: &mut Vec<Untouched>,
) {
    let Some(name) = container
        .get("name")
        .and_then(Value::as_str)
        .map(str::to_owned)
    else {
        return;
    };
    if name == names::PROXY_CONTAINER {
        return;
    }
    for place in &PLACES {
        let path = format!("{}/{name}/{}", place.prefix, place.last);
        let Some(check) = container.pointer(place.pointer) else {
            continue;
        };
        match rewritten(check, container, &path, status_port, place) {
            Rewritten::No => {}
            Rewritten::UnknownPort(port) => untouched.push(Untouched {
                container: name.clone(),
                field: place.field,
                port,
            }),
            Rewritten::Yes {
                record,
                replacement,
            } => {
                records.insert(path, record);
                if let Some(check) = container.pointer_mut(place.pointer) {
                    *check = replacement;
                }
            }
        }
    }
}

fn rewritten(
    check: &Value,
    container: &Value,
    path: &str,
    status_port: u16,
    place: &Place,
) -> Rewritten {
    const KINDS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];
    let Some(kind) = KINDS
        .into_iter()
        .find(|kind| check.get(kind).is_some_and(Value::is_object))
    else {
        return Rewritten::No;
    };
    let mut original = check.get(kind).cloned().unwrap_or_default();
    if original.get("port").and_then(Value::as_u64) == Some(status_port.into()) {
        return Rewritten::No;
    }
    match port(&original, container) {
        Ok(port) => original["port"] = port.into(),
        Err(name) => return Rewritten::UnknownPort(name),
    }
    let mut http_get = if kind == "httpGet" {
        original.clone()
    } else {
        json!({})
    };
    http_get["path"] = path.into();
    http_get["port"] = status_port.into();
    if http_get.get("scheme").is_some() {
        http_get["scheme"] = "HTTP".into();
    }
    let mut record = json!({kind: original});
    if let Some(timeout) = check.get("timeoutSeconds").filter(|_| place.has_timeout) {
        record["timeoutSeconds"] = timeout.clone();
    }
    let mut replacement = check.clone();
    if let Some(replacement) = replacement.as_object_mut() {
        replacement.remove(kind);
        replacement.insert("httpGet".to_owned(), http_get);
    }
    Rewritten::Yes {
        record,
        replacement,
    }
}

/// The number of the port that `action` names, directly or by the name that the container gives it.
fn port(action: &Value, container: &Value) -> Result<u64, String> {
    let port = action.get("port").unwrap_or(&Value::Null);
    if let Some(number) = port.as_u64() {
        return Ok(number);
    }
    let name = port.as_str().unwrap_or_default();
    if let Ok(number) = name.parse::<u16>() {
        return Ok(number.into());
    }
    let ports = container.get("ports").and_then(Value::as_array);
    ports
        .into_iter()
        .flatten()
        .find(|declared| declared.get("name").and_then(Value::as_str) == Some(name))
        .and_then(|declared| declared.get("containerPort")?.as_u64())
        .ok_or_else(|| name.to_owned())
}

/// Writes the records into the sidecar's environment; what an earlier injection recorded stays, for it saw the originals.
fn tell(sidecar: &mut Value, mut records: Map<String, Value>) {
    let Some(sidecar) = sidecar.as_object_mut() else {
        return;
    };
    let Some(variables) = sidecar
        .entry("env")
        .or_insert_with(|| json!([]))
        .as_array_mut()
    else {
        return;
    };
    let known = variables.iter_mut().find(|variable| {
        variable.get("name").and_then(Value::as_str) == Some(env::KUBE_APP_PROBERS)
    });
    let earlier = known
        .as_ref()
        .and_then(|variable| variable.get("value")?.as_str())
        .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    records.extend(earlier.into_iter().flatten());
    let variable =
        json!({"name": env::KUBE_APP_PROBERS, "value": Value::Object(records).to_string()});
    match known {
        Some(known) => *known = variable,
        None => variables.push(variable),
    }
}

fn sidecar(pod: &mut Value) -> Option<&mut Value> {
    let is_sidecar = |container: &&mut Value| {
        container.get("name").and_then(Value::as_str) == Some(names::PROXY_CONTAINER)
    };
    let spec = pod.get_mut("spec")?.as_object_mut()?;
    spec.iter_mut()
        .filter(|(key, _)| matches!(key.as_str(), "initContainers" | "containers"))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .find(is_sidecar)
}

const fn probe(field: &'static str, pointer: &'static str, last: &'static str) -> Place {
    Place {
        field,
        pointer,
        prefix: paths::APP_HEALTH,
        last,
        has_timeout: true,
    }
}

const fn handler(field: &'static str, pointer: &'static str, last: &'static str) -> Place {
    Place {
        field,
        pointer,
        prefix: paths::APP_LIFECYCLE,
        last,
        has_timeout: false,
    }
}

// === impl Untouched ===

impl Display for Untouched {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of container {} is not rewritten: the container declares no port named {:?}",
            self.field, self.container, self.port
        )
    }
}

#[cfg(test)]
mod tests;

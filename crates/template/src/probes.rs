//! Probes and lifecycle calls that go to the agent first.
//!
//! Called on the merged pod: the kubelet has no identity in the mesh, so it asks the agent, and the agent asks the application from inside the pod.
//! The original action is kept in a variable of the sidecar, keyed by the URL path that the kubelet is given.

use std::collections::HashMap;

use contract::{paths, pod::PROXY_CONTAINER};
use serde_json::{Map, Value, json};

use crate::{
    pod::{self, List},
    warning::Warning,
};

/// The actions that the agent can take in the kubelet's place.
pub(crate) const ACTIONS: &[&str] = &["httpGet", "tcpSocket", "grpc"];

/// The handlers of a container that may be rewritten: field, and the last part of its path.
const PROBES: &[(&str, &str)] = &[
    ("livenessProbe", "livez"),
    ("readinessProbe", "readyz"),
    ("startupProbe", "startupz"),
];
const LIFECYCLE: &[(&str, &str)] = &[("postStart", "poststartz"), ("preStop", "prestopz")];

/// Rewrites what there is in all containers but the sidecar; returns the agent's instructions, if there are any.
///
/// `known` are the instructions of an earlier injection, which stay as long as their probe is rewritten.
pub(crate) fn rewrite(
    pod: &mut Value,
    status_port: u16,
    known: Option<&str>,
    warnings: &mut Vec<Warning>,
) -> Option<String> {
    let known = known
        .and_then(|known| serde_json::from_str(known).ok())
        .unwrap_or_default();
    let mut rewriter = Rewriter {
        status_port,
        instructions: known,
        warnings,
    };
    for list in List::BOTH {
        for container in pod::containers_mut(pod, list).into_iter().flatten() {
            if pod::name(container) != PROXY_CONTAINER {
                rewriter.container(container);
            }
        }
    }
    let instructions = rewriter.instructions;
    (!instructions.is_empty()).then(|| Value::Object(instructions).to_string())
}

/// The handlers that may be rewritten, each with the path that the kubelet is then given.
pub(crate) fn paths(container: &str) -> impl Iterator<Item = (&'static str, String)> {
    let below = move |(root, fields): (&'static str, &'static [(&'static str, &'static str)])| {
        fields
            .iter()
            .map(move |(field, last)| (*field, format!("{root}/{container}/{last}")))
    };
    [
        (paths::APP_HEALTH, PROBES),
        (paths::APP_LIFECYCLE, LIFECYCLE),
    ]
    .into_iter()
    .flat_map(below)
}

/// The handler in that field of a container.
pub(crate) fn handler_mut<'a>(container: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    if LIFECYCLE.iter().any(|(lifecycle, _)| *lifecycle == field) {
        container.get_mut("lifecycle")?.get_mut(field)
    } else {
        container.get_mut(field)
    }
}

struct Rewriter<'a> {
    status_port: u16,
    instructions: Map<String, Value>,
    warnings: &'a mut Vec<Warning>,
}

/// A container's ports by name.
type Ports = HashMap<String, u64>;

// === impl Rewriter ===

impl Rewriter<'_> {
    fn container(&mut self, container: &mut Value) {
        let name = pod::name(container).to_owned();
        let ports = ports(container);
        for (field, path) in PROBES {
            let path = format!("{}/{name}/{path}", paths::APP_HEALTH);
            if let Some(probe) = container.get_mut(*field).and_then(Value::as_object_mut) {
                let timeout = probe
                    .get("timeoutSeconds")
                    .filter(|timeout| timeout.as_i64() != Some(0))
                    .cloned();
                self.handler(&name, field, probe, path, &ports, timeout);
            }
        }
        for (field, path) in LIFECYCLE {
            let path = format!("{}/{name}/{path}", paths::APP_LIFECYCLE);
            let handler = container
                .get_mut("lifecycle")
                .and_then(|lifecycle| lifecycle.get_mut(*field));
            if let Some(handler) = handler.and_then(Value::as_object_mut) {
                // Lifecycle handlers have no timeout of their own, and none for gRPC.
                if !handler.contains_key("grpc") {
                    self.handler(&name, field, handler, path, &ports, None);
                }
            }
        }
    }

    fn handler(
        &mut self,
        container: &str,
        field: &'static str,
        handler: &mut Map<String, Value>,
        path: String,
        ports: &Ports,
        timeout: Option<Value>,
    ) {
        let action = ACTIONS
            .iter()
            .find(|action| handler.get(**action).is_some_and(Value::is_object));
        let Some((kind, Value::Object(mut action))) =
            action.and_then(|kind| Some((*kind, handler.get(*kind)?.clone())))
        else {
            return;
        };
        let is_rewritten =
            kind == "httpGet" && action.get("path").and_then(Value::as_str) == Some(&path);
        if is_rewritten && self.instructions.contains_key(&path) {
            self.redirect(handler, path);
            return;
        }
        match action.get("port") {
            // It asks the agent already.
            Some(port) if port.as_u64() == Some(self.status_port.into()) && kind != "grpc" => {
                return;
            }
            Some(Value::String(port)) => {
                match ports.get(port).copied().or_else(|| port.parse().ok()) {
                    Some(number) => {
                        action.insert("port".to_owned(), Value::from(number));
                    }
                    None => {
                        self.warnings.push(Warning::UnknownPort {
                            container: container.to_owned(),
                            field,
                            port: port.clone(),
                        });
                        return;
                    }
                }
            }
            _ => {}
        }
        if kind == "grpc" {
            // Istio's agents expect the field.
            action.entry("service").or_insert(Value::Null);
        }
        let mut instruction = Map::from_iter([(kind.to_owned(), Value::Object(action))]);
        instruction.extend(timeout.map(|timeout| ("timeoutSeconds".to_owned(), timeout)));
        self.instructions
            .insert(path.clone(), Value::Object(instruction));
        self.redirect(handler, path);
    }

    /// Sends the kubelet to the agent; headers and host of an HTTP probe stay, and the agent speaks plain HTTP.
    fn redirect(&self, handler: &mut Map<String, Value>, path: String) {
        handler.remove("tcpSocket");
        handler.remove("grpc");
        let get = pod::as_map(handler.entry("httpGet").or_insert(json!({})));
        get.insert("path".to_owned(), Value::String(path));
        get.insert("port".to_owned(), Value::from(self.status_port));
        if get.get("scheme").and_then(Value::as_str) == Some("HTTPS") {
            get.insert("scheme".to_owned(), Value::from("HTTP"));
        }
    }
}

fn ports(container: &Value) -> Ports {
    let ports = container.get("ports").and_then(Value::as_array);
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            Some((
                pod::name(port).to_owned(),
                port.get("containerPort")?.as_u64()?,
            ))
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;

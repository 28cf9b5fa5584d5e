//! Probes and lifecycle calls as they were before they went to the agent.
//!
//! Called for each container that the author wrote; what the agent was told to ask is what the kubelet asked before.
//! A handler that does not ask the agent for what it was told stays as it is.

use serde_json::{Map, Value};

use super::Doubt;
use crate::{pod, probes};

/// Puts the handlers of `container` back, by the instructions that the agent has.
pub(super) fn restore(
    container: &mut Value,
    probers: &Map<String, Value>,
    doubts: &mut Vec<Doubt>,
) {
    if probers.is_empty() {
        return;
    }
    let name = pod::name(container).to_owned();
    let ports = container.get("ports").cloned().unwrap_or_default();
    for (field, path) in probes::paths(&name) {
        let handler = probes::handler_mut(container, field);
        let Some(handler) = handler.and_then(Value::as_object_mut) else {
            continue;
        };
        let asks = handler.get("httpGet").map(|get| pod::text(get, &["path"]));
        if asks != Some(&path) {
            continue;
        }
        let recorded = probers.get(&path).and_then(|instruction| {
            probes::ACTIONS
                .iter()
                .find_map(|kind| Some((*kind, instruction.get(*kind)?.as_object()?.clone())))
        });
        let Some((kind, mut action)) = recorded else {
            continue;
        };
        if kind == "grpc" && action.get("service").is_some_and(Value::is_null) {
            action.remove("service");
        }
        if let Some(port) = declared(&ports, action.get("port")).filter(|_| kind != "grpc") {
            doubts.push(Doubt::Port {
                container: name.clone(),
                field,
                port: port.clone(),
            });
            action.insert("port".to_owned(), Value::String(port));
        }
        handler.remove("httpGet");
        handler.insert(kind.to_owned(), Value::Object(action));
    }
}

/// The name of the port with that number: who names ports mostly uses the names.
fn declared(ports: &Value, number: Option<&Value>) -> Option<String> {
    let number = number?.as_u64()?;
    let port = ports
        .as_array()?
        .iter()
        .find(|port| port.get("containerPort").and_then(Value::as_u64) == Some(number))?;
    Some(pod::name(port).to_owned()).filter(|name| !name.is_empty())
}

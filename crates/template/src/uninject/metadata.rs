//! Labels and annotations as they were.
//!
//! Called last, when the pod has its own containers again. The status has no list of them, so what Istio's templates write is taken away where it has the
//! very value that they give; what an author wrote differently stays.

use contract::{annotations, labels, paths, pod::PROXY_CONTAINER};
use serde_json::{Map, Value};

use super::strip::Notes;
use crate::{
    pod::{self, List},
    record::Status,
};

/// Templates write these where the pod's rules are set by the node's agent, from what its author annotated, else with these values.
const NODE_AGENT: &[(&str, &str)] = &[
    (annotations::INTERCEPTION_MODE, "REDIRECT"),
    (annotations::INCLUDE_OUTBOUND_IP_RANGES, "*"),
    (annotations::INCLUDE_INBOUND_PORTS, "*"),
    (annotations::EXCLUDE_INBOUND_PORTS, "15020"),
    (annotations::NETWORKS, NODE_AGENT_NETWORK),
];
const NODE_AGENT_NETWORK: &str = "default/istio-cni";

/// Volumes by which the templates for gRPC without a proxy are known; these switch the rewriting of probes off.
const GRPC_VOLUMES: &[&str] = &["istio-xds", "grpc-io-proxyless-bootstrap"];

/// Takes from `pod` the labels and annotations that an injection added.
pub(super) fn strip(pod: &mut Value, notes: &Notes, status: &Status) {
    let application = pod::containers(pod, List::Main)
        .iter()
        .map(pod::name)
        .find(|name| *name != PROXY_CONTAINER)
        .map(str::to_owned);
    let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(Value::Object(labels)) = metadata.get_mut("labels") {
        if !status.undo_labels(labels) {
            strip_labels(labels, notes);
        }
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove(annotations::STATUS);
        annotations.remove(annotations::OVERRIDES);
        if !status.undo_annotations(annotations) {
            strip_annotations(annotations, application.as_deref(), status);
            restore_scraping(annotations, notes);
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    if metadata.is_empty()
        && let Some(pod) = pod.as_object_mut()
    {
        pod.remove("metadata");
    }
}

fn strip_labels(labels: &mut Map<String, Value>, notes: &Notes) {
    let own = |keys: &[&str]| {
        let mut values = keys
            .iter()
            .filter_map(|key| labels.get(*key)?.as_str())
            .filter(|value| !value.is_empty());
        values.next().map(str::to_owned)
    };
    let name = own(&[labels::APP_NAME, labels::APP]);
    let name = name.map(|name| {
        let name: String = name.chars().take(63).collect();
        name.trim_matches(['-', '_', '.']).to_owned()
    });
    let revision = own(&[labels::APP_VERSION, labels::VERSION]);
    remove_if(labels, labels::TLS_MODE, |value| value == "istio");
    // Without a label of its own a workload is called by its owner's name, which is not known here.
    remove_if(labels, labels::CANONICAL_NAME, |value| {
        name.as_deref().is_none_or(|name| value == name)
    });
    remove_if(labels, labels::CANONICAL_REVISION, |value| {
        value == revision.as_deref().unwrap_or("latest")
    });
    remove_if(labels, labels::NETWORK, |value| {
        notes.network.as_deref() == Some(value)
    });
    remove_if(labels, labels::TUNNEL, |value| {
        notes.has_tunnel && value == "http"
    });
}

fn strip_annotations(
    annotations: &mut Map<String, Value>,
    application: Option<&str>,
    status: &Status,
) {
    remove_if(annotations, labels::REVISION, |value| {
        value == status.revision()
    });
    for key in [
        annotations::DEFAULT_CONTAINER,
        annotations::DEFAULT_LOGS_CONTAINER,
    ] {
        remove_if(annotations, key, |value| application == Some(value));
    }
    if status.names(contract::pod::VALIDATION_CONTAINER) {
        for (key, given) in NODE_AGENT {
            remove_if(annotations, key, |value| value == *given);
        }
        if let Some(Value::String(networks)) = annotations.get_mut(annotations::NETWORKS)
            && let Some(own) = networks.strip_suffix(NODE_AGENT_NETWORK)
        {
            *networks = own.trim_end_matches([',', ' ']).to_owned();
        }
    }
    let is_grpc = |volume: &String| GRPC_VOLUMES.contains(&volume.as_str());
    if status.volumes().iter().any(is_grpc) {
        remove_if(annotations, annotations::REWRITE_PROBES, |value| {
            value == "false"
        });
    }
}

/// Annotations that point to the agent give way to those that the agent was told of.
fn restore_scraping(annotations: &mut Map<String, Value>, notes: &Notes) {
    remove_if(annotations, annotations::PROMETHEUS_SECURE_PORT, |value| {
        notes.secure_port.as_deref() == Some(value)
    });
    let text = |key| annotations.get(key).and_then(Value::as_str);
    let points_to_agent = text(annotations::PROMETHEUS_PATH) == Some(paths::STATS_PROMETHEUS)
        && text(annotations::PROMETHEUS_SCRAPE) == Some("true")
        && text(annotations::PROMETHEUS_PORT).is_some();
    if !points_to_agent {
        return;
    }
    for key in [
        annotations::PROMETHEUS_PORT,
        annotations::PROMETHEUS_PATH,
        annotations::PROMETHEUS_SCRAPE,
    ] {
        annotations.remove(key);
    }
    let Some(scrape) = &notes.scrape else {
        return;
    };
    let targets: Vec<String> = scrape
        .get("targets")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|target| {
            let part = |key| pod::text(target, &[key]);
            format!("{}:{}", part("port"), part("path"))
        })
        .collect();
    let (port, path) = match targets.as_slice() {
        [] => (pod::text(scrape, &["port"]), pod::text(scrape, &["path"])),
        // What is said of one port is then the first target's.
        _ => ("", ""),
    };
    for (key, value) in [
        (annotations::PROMETHEUS_PORT, port),
        (annotations::PROMETHEUS_PATH, path),
        (
            annotations::PROMETHEUS_SCRAPE,
            pod::text(scrape, &["scrape"]),
        ),
        (annotations::PROMETHEUS_TARGETS, &targets.join(",")),
    ] {
        if !value.is_empty() {
            annotations.insert(key.to_owned(), Value::from(value));
        }
    }
}

fn remove_if(map: &mut Map<String, Value>, key: &str, is_given: impl FnOnce(&str) -> bool) {
    if map.get(key).and_then(Value::as_str).is_some_and(is_given) {
        map.remove(key);
    }
}

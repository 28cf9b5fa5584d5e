//! Undoing an injection by its record alone.
//!
//! Called when an injection is undone, and at the end of one, to find out what the record does not say.
//! Takes away what the record names, puts back what it keeps, and takes from the rest what Istio's templates would have written there; where that is
//! a guess, it is told as a doubt.

use std::collections::HashSet;

use contract::{
    env,
    pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER},
};
use serde_json::{Map, Value, json};

use super::{Doubt, metadata, probes};
use crate::{
    pod::{self, List},
    record::{Overrides, Status},
};

/// What the sidecar was told about the pod that it is in, beside the status and the overrides.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// The probes as they were, by the path that the kubelet is given.
    pub(super) probers: Map<String, Value>,
    /// The annotations for Prometheus as they were.
    pub(super) scrape: Option<Value>,
    pub(super) network: Option<String>,
    pub(super) secure_port: Option<String>,
    pub(super) has_tunnel: bool,
    /// The application's containers.
    applications: Option<HashSet<String>>,
}

/// Containers that Istio's templates give, past and present.
pub(super) const GIVEN: &[&str] = &[
    INIT_CONTAINER,
    VALIDATION_CONTAINER,
    PROXY_CONTAINER,
    "enable-core-dump",
    "grpc-bootstrap-init",
];

/// What a gateway's pod gets so that it may listen on low ports without a capability.
const LOW_PORTS: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");

// === impl Notes ===

impl Notes {
    pub(super) fn of(pod: &Value, status: &Status) -> Self {
        let sidecar = pod::find(pod, PROXY_CONTAINER).filter(|_| status.names(PROXY_CONTAINER));
        let Some(sidecar) = sidecar else {
            return Self::default();
        };
        let variable = |name| pod::variable(sidecar, name);
        let read = |name| variable(name).and_then(|text| serde_json::from_str(text).ok());
        let probers: Option<Value> = read(env::KUBE_APP_PROBERS);
        Self {
            probers: match probers {
                Some(Value::Object(probers)) => probers,
                _ => Map::new(),
            },
            scrape: read(env::PROMETHEUS_ANNOTATIONS),
            network: variable(env::META_NETWORK).map(str::to_owned),
            secure_port: variable(env::SECURE_METRICS_PORT).map(str::to_owned),
            has_tunnel: variable(env::META_ENABLE_HBONE) == Some("true"),
            applications: variable(env::META_APP_CONTAINERS)
                .map(|names| names.split(',').map(str::to_owned).collect()),
        }
    }

    /// Whether there is a sign beside the record that a template gave the container.
    fn show_given(&self, list: List, name: &str) -> bool {
        let is_application = |names: &HashSet<String>| names.contains(name);
        GIVEN.contains(&name)
            || list == List::Main
                && self
                    .applications
                    .as_ref()
                    .is_some_and(|names| !is_application(names))
    }
}

/// Undoes what can be undone in `pod`; gives what it guessed.
pub(super) fn strip(
    pod: &mut Value,
    notes: &Notes,
    status: &Status,
    overrides: &Overrides,
) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    containers(pod, notes, status, overrides, &mut doubts);
    volumes(pod, status, &mut doubts);
    pull_secrets(pod, status, &mut doubts);
    security_context(pod, status);
    metadata::strip(pod, notes, status);
    doubts
}

fn containers(
    pod: &mut Value,
    notes: &Notes,
    status: &Status,
    overrides: &Overrides,
    doubts: &mut Vec<Doubt>,
) {
    let mut missing: Vec<_> = overrides
        .saved()
        .filter(|(_, name, _)| status.names(name))
        .collect();
    let mut displaced = Vec::new();
    for list in List::BOTH {
        let Some(all) = pod::containers_mut(pod, list) else {
            continue;
        };
        let mut kept = Vec::with_capacity(all.len());
        for mut container in std::mem::take(all) {
            let name = pod::name(&container);
            if !status.names(name) {
                probes::restore(&mut container, &notes.probers, doubts);
                kept.push(container);
            } else if let Some(at) = missing.iter().position(|(_, saved, _)| *saved == name) {
                let (given_in, name, saved) = missing.remove(at);
                match home(overrides, given_in, name, saved) {
                    (home, None) if home == list => kept.push(written(saved)),
                    (home, index) => displaced.push((home, index, written(saved))),
                }
            } else if !notes.show_given(list, name) {
                doubts.push(Doubt::Container {
                    name: name.to_owned(),
                });
                probes::restore(&mut container, &notes.probers, doubts);
                kept.push(container);
            }
        }
        *all = kept;
    }
    displaced.extend(missing.into_iter().map(|(given_in, name, saved)| {
        let (home, index) = home(overrides, given_in, name, saved);
        (home, index, written(saved))
    }));
    displaced.sort_by_key(|(_, index, _)| index.unwrap_or(usize::MAX));
    for (home, index, container) in displaced {
        let containers = pod::containers_entry(pod, home);
        let index = index.unwrap_or(usize::MAX).min(containers.len());
        containers.insert(index, container);
    }
    drop_if_empty(pod, List::Init.field());
}

/// Where the author's container stood: its list, and its place if that was recorded.
///
/// Most authors write it among the others, even where the sidecar is native.
fn home(
    overrides: &Overrides,
    given_in: List,
    name: &str,
    saved: &Map<String, Value>,
) -> (List, Option<usize>) {
    match overrides.position(name) {
        Some((list, index)) => (list, Some(index)),
        None if name == PROXY_CONTAINER && !saved.contains_key("restartPolicy") => {
            (List::Main, None)
        }
        None => (given_in, None),
    }
}

/// A recorded container as it was before the record: an image is only missing there if it meant the template's.
fn written(saved: &Map<String, Value>) -> Value {
    let mut container = saved.clone();
    container.retain(|field, value| field != "resources" || *value != json!({}));
    container.entry("image").or_insert_with(|| "auto".into());
    Value::Object(container)
}

fn volumes(pod: &mut Value, status: &Status, doubts: &mut Vec<Doubt>) {
    let mounts: Vec<(String, String)> = List::BOTH
        .into_iter()
        .flat_map(|list| pod::containers(pod, list))
        .flat_map(|container| {
            let mounts = container.get("volumeMounts").and_then(Value::as_array);
            let mounts = mounts.into_iter().flatten();
            mounts.map(|mount| (pod::name(mount).to_owned(), pod::name(container).to_owned()))
        })
        .filter(|(volume, _)| status.volumes().contains(volume))
        .collect();
    if let Some(Value::Array(volumes)) = pod.pointer_mut("/spec/volumes") {
        volumes.retain(|volume| {
            let name = pod::name(volume);
            if !status.volumes().iter().any(|given| given == name) {
                return true;
            }
            let mount = mounts.iter().find(|(volume, _)| volume == name);
            if let Some((volume, container)) = mount {
                doubts.push(Doubt::Volume {
                    name: volume.clone(),
                    container: container.clone(),
                });
            }
            mount.is_some()
        });
    }
    drop_if_empty(pod, "volumes");
}

fn pull_secrets(pod: &mut Value, status: &Status, doubts: &mut Vec<Doubt>) {
    if let Some(Value::Array(secrets)) = pod.pointer_mut("/spec/imagePullSecrets") {
        secrets.retain(|secret| {
            let name = pod::name(secret);
            let is_given = status.pull_secrets().iter().any(|given| given == name);
            if is_given {
                doubts.push(Doubt::PullSecret {
                    name: name.to_owned(),
                });
            }
            !is_given
        });
    }
    drop_if_empty(pod, "imagePullSecrets");
}

/// A gateway's, which has no init container.
fn security_context(pod: &mut Value, status: &Status) {
    let (name, value) = LOW_PORTS;
    let given = json!({"sysctls": [{"name": name, "value": value}]});
    if status.names(PROXY_CONTAINER)
        && !status.has_init_containers()
        && pod.pointer("/spec/securityContext") == Some(&given)
        && let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("securityContext");
    }
}

fn drop_if_empty(pod: &mut Value, field: &str) {
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut)
        && spec
            .get(field)
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
    {
        spec.remove(field);
    }
}

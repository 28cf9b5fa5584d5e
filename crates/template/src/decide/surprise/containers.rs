//! Surprises in containers: what steps around the capture, collides with the sidecar, or runs at the wrong time.
//!
//! The application's containers are those that the author wrote and no template gave.

use contract::{
    ids,
    pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER},
    ports,
};
use serde_json::Value;

use super::{Code, Surprise, listed};
use crate::{
    bypass,
    pod::{self, List},
    record::Status,
};

/// Ports that the sidecar listens on, whatever its configuration.
const SIDECAR_PORTS: [u16; 8] = [
    ports::ADMIN,
    ports::OUTBOUND,
    ports::INBOUND,
    ports::HBONE,
    ports::STATUS,
    ports::READINESS,
    ports::DNS,
    ports::PROMETHEUS,
];

pub(super) fn surprises(pod: &Value, injected: &Value) -> impl Iterator<Item = Surprise> {
    [
        runs_as_proxy(pod),
        net_admin(pod),
        port_collision(pod),
        init_before_sidecar(injected),
        never_ends(injected),
    ]
    .into_iter()
    .flatten()
}

fn runs_as_proxy(pod: &Value) -> Option<Surprise> {
    let id = |context: Option<&Value>, field: &str| context?.get(field)?.as_u64();
    let shared = pod.pointer("/spec/securityContext");
    let is_proxy = |container: &Value, field: &str, proxy: u32| {
        let own = id(container.get("securityContext"), field);
        own.or_else(|| id(shared, field)) == Some(u64::from(proxy))
    };
    let names = named(pod, |container| {
        is_proxy(container, "runAsUser", ids::PROXY_UID)
            || is_proxy(container, "runAsGroup", ids::PROXY_GID)
    });
    (!names.is_empty()).then(|| {
        Code::RunsAsProxy.of(format!(
            "the sidecar's user or group {} also runs {}, whose traffic is therefore not captured",
            ids::PROXY_UID,
            listed(&names)
        ))
    })
}

fn net_admin(pod: &Value) -> Option<Surprise> {
    let names = named(pod, |container| {
        let mut added = bypass::added(container, &["NET_ADMIN"]);
        bypass::is_privileged(container) || added.next().is_some()
    });
    (!names.is_empty()).then(|| {
        Code::NetAdmin.of(format!(
            "NET_ADMIN is in the hands of {}, which can undo the capture",
            listed(&names)
        ))
    })
}

fn port_collision(pod: &Value) -> Option<Surprise> {
    let mut taken = Vec::new();
    for container in applications(pod, List::Main) {
        let declared = container.get("ports").and_then(Value::as_array);
        for port in declared.into_iter().flatten() {
            let number = port.get("containerPort").and_then(Value::as_u64);
            if let Some(number) = number
                && SIDECAR_PORTS.iter().any(|own| u64::from(*own) == number)
            {
                taken.push(format!("{number} of {}", pod::name(container)));
            }
        }
    }
    (!taken.is_empty()).then(|| {
        Code::PortCollision.of(format!(
            "the sidecar listens on the same port as the application: {}",
            listed(&taken)
        ))
    })
}

/// An ordinary sidecar starts after all init containers; those after ours have their traffic captured by nobody.
fn init_before_sidecar(injected: &Value) -> Option<Surprise> {
    pod::position(injected, List::Main, PROXY_CONTAINER)?;
    let inits = pod::containers(injected, List::Init);
    let ours =
        |container: &&Value| [INIT_CONTAINER, VALIDATION_CONTAINER].contains(&pod::name(container));
    let waiting: Vec<_> = inits
        .iter()
        .skip_while(|container| !ours(container))
        .filter(|container| !ours(container) && !passes(container))
        .map(pod::name)
        .collect();
    (!waiting.is_empty()).then(|| {
        Code::InitBeforeSidecar.of(format!(
            "the sidecar starts after init container {}, which therefore reaches nothing over the network",
            listed(&waiting)
        ))
    })
}

/// The way around the capture that is documented for init containers.
fn passes(container: &Value) -> bool {
    let user = container.pointer("/securityContext/runAsUser");
    user.and_then(Value::as_u64) == Some(u64::from(ids::PROXY_UID))
}

fn never_ends(injected: &Value) -> Option<Surprise> {
    pod::position(injected, List::Main, PROXY_CONTAINER)?;
    let is_only_sidecar = pod::containers(injected, List::Main).len() == 1;
    let policy = pod::text(injected, &["spec", "restartPolicy"]);
    (!is_only_sidecar && matches!(policy, "Never" | "OnFailure")).then(|| {
        Code::NeverEnds.of(format!(
            "restartPolicy is {policy} and the sidecar is an ordinary container, so the pod runs on when the application is done"
        ))
    })
}

/// Containers by what they may do. Here the record of an earlier injection does not count: whoever wrote the container can write that, too.
fn named(pod: &Value, is_meant: impl Fn(&Value) -> bool) -> Vec<&str> {
    let all = pod::containers(pod, List::Main).iter();
    let meant =
        all.filter(|container| !bypass::is_own(pod::name(container)) && is_meant(container));
    meant.map(pod::name).collect()
}

fn applications(pod: &Value, list: List) -> impl Iterator<Item = &Value> {
    let status = Status::of(pod);
    pod::containers(pod, list).iter().filter(move |container| {
        let name = pod::name(container);
        name != PROXY_CONTAINER && !status.as_ref().is_some_and(|status| status.names(name))
    })
}

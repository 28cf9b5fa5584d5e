//! Containers that can step around the capture, for configurations that refuse them.
//!
//! Asked by the pipeline about the finished pod, and by the surprises, which only warn, about what one container may do.
//! Traffic of the sidecar's user and group passes uncaptured, rules can be removed by whoever holds NET_ADMIN, raw packets never meet them, and the
//! namespaces of the node are out of their reach. What counts is what the pod says; a container whose image sets the user, or that becomes another
//! user as root, cannot be told here.

use contract::{
    ids,
    pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER},
};
use serde_json::Value;

use crate::pod::{self, List};

/// Something in a pod that makes stepping around the capture possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}field {field} is {value}", container.as_deref().map(|name| format!("of container {name:?} ")).unwrap_or_default())]
pub struct CaptureBypass {
    /// The container; none for the whole pod.
    pub container: Option<String>,
    /// Such as `securityContext.runAsUser` of a container, or `spec.hostPID` of a pod.
    pub field: String,
    /// What it is.
    pub value: String,
}

/// Containers of the mesh itself, whose rights are the configuration's affair.
const OWN: [&str; 3] = [INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER];

/// Namespaces of the node that a pod may share.
const HOST_NAMESPACES: [&str; 3] = ["hostNetwork", "hostPID", "hostIPC"];

/// Whether a container of that name belongs to the mesh.
pub(crate) fn is_own(container: &str) -> bool {
    OWN.contains(&container)
}

/// What in `pod` makes stepping around possible and does not come from the templates.
///
/// `users` are those whose traffic passes, beside the contract's and what the sidecar runs as in this pod.
pub(crate) fn find(pod: &Value, template_pod: &Value, users: (i64, i64)) -> Vec<CaptureBypass> {
    let mut found: Vec<_> = HOST_NAMESPACES
        .into_iter()
        .filter(|field| is_on(pod, field) && !is_on(template_pod, field))
        .map(|field| CaptureBypass {
            container: None,
            field: format!("spec.{field}"),
            value: "true".to_owned(),
        })
        .collect();
    let ids = Ids::of(pod, users);
    for list in List::BOTH {
        for container in pod::containers(pod, list) {
            let name = pod::name(container);
            if is_own(name) {
                continue;
            }
            let mut powers = ids.powers(container, pod);
            if let Some(given) = pod::find(template_pod, name) {
                let theirs = ids.powers(given, template_pod);
                powers.retain(|power| !theirs.contains(power));
            }
            found.extend(powers.into_iter().map(|(field, value)| CaptureBypass {
                container: Some(name.to_owned()),
                field,
                value,
            }));
        }
    }
    found
}

/// Whether the container may do everything to the node.
pub(crate) fn is_privileged(container: &Value) -> bool {
    container.pointer("/securityContext/privileged") == Some(&Value::Bool(true))
}

/// The capabilities that the container adds and that are among `wanted`, as they are written; `ALL` is each of them.
pub(crate) fn added<'a>(
    container: &'a Value,
    wanted: &'a [&str],
) -> impl Iterator<Item = &'a str> + 'a {
    let added = container.pointer("/securityContext/capabilities/add");
    let added = added.and_then(Value::as_array).into_iter().flatten();
    added.filter_map(Value::as_str).filter(|written| {
        // Container runtimes take them in any case, and with their prefix in the kernel.
        let name = written.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        name == "ALL" || wanted.contains(&name)
    })
}

fn is_on(pod: &Value, field: &str) -> bool {
    pod.get("spec").and_then(|spec| spec.get(field)) == Some(&Value::Bool(true))
}

/// Users and groups whose traffic passes uncaptured.
struct Ids {
    users: Vec<u64>,
    groups: Vec<u64>,
}

// === impl Ids ===

impl Ids {
    fn of(pod: &Value, (user, group): (i64, i64)) -> Self {
        let sidecar = pod::find(pod, PROXY_CONTAINER);
        let of_sidecar = |field: &str| number(sidecar?.get("securityContext")?.get(field)?);
        // Root never passes, whatever the sidecar runs as: the rules go by its group then.
        let known = |own: u32, configured: i64, field: &str| {
            [
                Some(u64::from(own)),
                u64::try_from(configured).ok(),
                of_sidecar(field),
            ]
            .into_iter()
            .flatten()
            .filter(|id| *id != 0)
            .collect()
        };
        Self {
            users: known(ids::PROXY_UID, user, "runAsUser"),
            groups: known(ids::PROXY_GID, group, "runAsGroup"),
        }
    }

    /// Fields and values that let the container step around.
    fn powers(&self, container: &Value, pod: &Value) -> Vec<(String, String)> {
        let mut powers = Vec::new();
        for (field, passing) in [("runAsUser", &self.users), ("runAsGroup", &self.groups)] {
            let own = container.pointer(&format!("/securityContext/{field}"));
            let shared = pod.pointer(&format!("/spec/securityContext/{field}"));
            let own = own.filter(|value| !value.is_null());
            let place = if own.is_some() { "" } else { "spec." };
            let id = own.or(shared).and_then(number);
            if let Some(id) = id.filter(|id| passing.contains(id)) {
                powers.push((format!("{place}securityContext.{field}"), id.to_string()));
            }
        }
        if is_privileged(container) {
            powers.push(("securityContext.privileged".to_owned(), "true".to_owned()));
        }
        for name in added(container, &["NET_ADMIN", "NET_RAW"]) {
            let field = "securityContext.capabilities.add".to_owned();
            powers.push((field, name.to_owned()));
        }
        powers
    }
}

/// A whole number, also in the form of a float.
fn number(value: &Value) -> Option<u64> {
    let whole = || {
        let number = value.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        is_whole.then(|| format!("{number:.0}").parse().ok())?
    };
    value.as_u64().or_else(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: &Value, template: &Value) -> Vec<String> {
        let found = find(
            &json!({"spec": spec}),
            &json!({"spec": template}),
            (1337, 1337),
        );
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_way_around_is_named_by_container_and_field() {
        let context =
            |context: Value| json!({"containers": [{"name": "web", "securityContext": context}]});
        for (spec, expected) in [
            (
                context(json!({"runAsUser": 1337})),
                "of container \"web\" field securityContext.runAsUser is 1337",
            ),
            (
                context(json!({"runAsGroup": 1337.0})),
                "of container \"web\" field securityContext.runAsGroup is 1337",
            ),
            (
                context(json!({"privileged": true})),
                "of container \"web\" field securityContext.privileged is true",
            ),
            (
                context(json!({"capabilities": {"add": ["net_raw", "CHOWN"]}})),
                "of container \"web\" field securityContext.capabilities.add is net_raw",
            ),
            (
                context(json!({"capabilities": {"add": ["CAP_NET_ADMIN"]}})),
                "of container \"web\" field securityContext.capabilities.add is CAP_NET_ADMIN",
            ),
            (
                context(json!({"capabilities": {"add": ["ALL"]}})),
                "of container \"web\" field securityContext.capabilities.add is ALL",
            ),
            (
                json!({"initContainers": [{"name": "setup"}], "securityContext": {"runAsUser": 1337}}),
                "of container \"setup\" field spec.securityContext.runAsUser is 1337",
            ),
            (json!({"hostPID": true}), "field spec.hostPID is true"),
            (
                json!({"containers": [{"name": "web", "securityContext": {"runAsUser": 5}}, {"name": "istio-proxy", "securityContext": {"runAsUser": 5}}]}),
                "of container \"web\" field securityContext.runAsUser is 5",
            ),
        ] {
            assert_eq!(found(&spec, &json!({})), [expected], "{spec}");
        }
    }

    #[test]
    fn ordinary_containers_and_those_of_the_mesh_and_its_templates_pass() {
        let strong =
            json!({"privileged": true, "runAsUser": 1337, "capabilities": {"add": ["NET_ADMIN"]}});
        for spec in [
            json!({"containers": [{"name": "web", "securityContext": {"runAsUser": 0, "privileged": false, "capabilities": {"add": ["NET_BIND_SERVICE"]}}}]}),
            json!({"containers": [{"name": "istio-proxy", "securityContext": {"runAsUser": 0, "runAsGroup": 1337}}, {"name": "web", "securityContext": {"runAsUser": 0}}]}),
            json!({"containers": [{"name": "web", "securityContext": {"runAsUser": 9}}], "securityContext": {"runAsUser": 1337}}),
            json!({"initContainers": [{"name": "istio-init", "securityContext": &strong}, {"name": "istio-validation", "securityContext": &strong}]}),
        ] {
            assert_eq!(found(&spec, &json!({})), Vec::<String>::new(), "{spec}");
        }
        let given = json!({"containers": [{"name": "helper", "securityContext": strong}]});
        assert_eq!(found(&given, &given), Vec::<String>::new());
        let more =
            json!({"containers": [{"name": "helper", "securityContext": {"privileged": true}}]});
        let less = json!({"containers": [{"name": "helper"}]});
        assert_eq!(found(&more, &less).len(), 1);
    }
}

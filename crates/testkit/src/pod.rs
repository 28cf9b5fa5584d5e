//! What an API server would refuse in a pod, as far as injection could be the cause.
//!
//! Asked by property tests of a pod before and after injection. The rules are those of Kubernetes' validation of names, references and handlers; it is no substitute
//! for an API server, which the cluster tests ask.

use std::collections::BTreeSet;

use serde_json::Value;

const HANDLERS: [&str; 5] = ["exec", "grpc", "httpGet", "sleep", "tcpSocket"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// What is wrong with `pod`, one sentence each.
#[must_use]
pub fn problems(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let spec = &pod["spec"];
    let volumes = names(&spec["volumes"], "name", "volume", &mut found);
    for field in ["annotations", "labels"] {
        let entries = pod["metadata"][field].as_object().into_iter().flatten();
        let odd = entries.filter(|(_, value)| !value.is_string());
        found.extend(odd.map(|(key, _)| format!("{field} {key} is no string")));
    }
    let mut containers = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in items(&spec[list]) {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            if list == "containers" && container.get("restartPolicy").is_some() {
                found.push(format!("container {name} has a restart policy"));
            }
            in_container(container, &name, &volumes, &mut found);
            containers.push(name);
        }
    }
    let distinct: BTreeSet<_> = containers.iter().collect();
    if distinct.len() != containers.len() || distinct.iter().any(|name| name.is_empty()) {
        found.push(format!(
            "names of containers are missing or there twice: {containers:?}"
        ));
    }
    found
}

fn in_container(
    container: &Value,
    name: &str,
    volumes: &BTreeSet<String>,
    found: &mut Vec<String>,
) {
    let mut own = Vec::new();
    names(&container["env"], "name", "variable", &mut own);
    names(&container["volumeMounts"], "mountPath", "mount", &mut own);
    for variable in items(&container["env"]) {
        if variable.get("value").is_some_and(|value| value != "")
            && variable.get("valueFrom").is_some()
        {
            own.push(format!("variable {} has two values", variable["name"]));
        }
    }
    for mount in items(&container["volumeMounts"]) {
        let volume = mount["name"].as_str().unwrap_or_default();
        if !volumes.contains(volume) {
            own.push(format!("volume {volume} is not there"));
        }
    }
    for probe in PROBES {
        own.extend(in_handler(&container[probe], probe));
    }
    for hook in ["postStart", "preStop"] {
        own.extend(in_handler(&container["lifecycle"][hook], hook));
    }
    found.extend(own.into_iter().map(|problem| format!("{name}: {problem}")));
}

fn in_handler(handler: &Value, field: &str) -> Option<String> {
    let fields = handler.as_object()?;
    let n_actions = HANDLERS
        .iter()
        .filter(|action| fields.get(**action).is_some_and(|value| !value.is_null()))
        .count();
    if n_actions != 1 {
        return Some(format!("{field} has {n_actions} actions"));
    }
    (handler["httpGet"]["port"] == 0).then(|| format!("{field} asks port 0"))
}

/// The items' keys, which have to be there and to differ.
fn names(list: &Value, key: &str, what: &str, found: &mut Vec<String>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in items(list) {
        let name = item[key].as_str().unwrap_or_default();
        if name.is_empty() || !names.insert(name.to_owned()) {
            found.push(format!("{what} {name:?} has no {key}, or is there twice"));
        }
    }
    names
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sound_pod_has_no_problem_and_each_offence_is_found() {
        let container = json!({"name": "a", "env": [{"name": "X", "value": "1"}], "volumeMounts": [{"name": "v", "mountPath": "/v"}], "readinessProbe": {"httpGet": {"port": 80}}});
        let pod = |container: &Value| json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [container], "volumes": [{"name": "v"}]}});
        assert_eq!(problems(&pod(&container)), Vec::<String>::new());
        for (pointer, value) in [
            ("/name", json!("")),
            ("/env", json!([{"name": "X"}, {"name": "X"}])),
            ("/env/0/valueFrom", json!({})),
            ("/volumeMounts/0/name", json!("w")),
            ("/readinessProbe/tcpSocket", json!({})),
            ("/readinessProbe/httpGet/port", json!(0)),
        ] {
            let mut wrong = container.clone();
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            wrong.pointer_mut(parent).expect("a field")[field] = value;
            assert_eq!(problems(&pod(&wrong)).len(), 1, "{pointer}");
        }
    }
}

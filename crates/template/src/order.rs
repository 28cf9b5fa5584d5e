//! Where the injected containers stand.
//!
//! Called at the end of the pipeline. A native sidecar starts before the author's init containers, so that they are part of the mesh already; without it, rules for
//! traffic come after them, or they would be cut off. Among the containers the sidecar is last, unless the others have to wait for it.

use std::collections::HashMap;

use contract::pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER};
use serde_json::Value;

use crate::pod::{self, List};

/// Prepares the node for core dumps, in templates that still have it.
const CORE_DUMP_CONTAINER: &str = "enable-core-dump";

/// Orders the pod's containers; `hold` is whether the application starts after the sidecar.
pub(crate) fn arrange(pod: &mut Value, hold: bool) {
    if hold {
        put(pod, List::Main, &[PROXY_CONTAINER], &[]);
    } else {
        put(pod, List::Main, &[], &[PROXY_CONTAINER]);
    }
    if pod::position(pod, List::Init, PROXY_CONTAINER).is_some() {
        put(
            pod,
            List::Init,
            &[
                INIT_CONTAINER,
                VALIDATION_CONTAINER,
                PROXY_CONTAINER,
                CORE_DUMP_CONTAINER,
            ],
            &[],
        );
    } else {
        put(
            pod,
            List::Init,
            &[VALIDATION_CONTAINER],
            &[INIT_CONTAINER, CORE_DUMP_CONTAINER],
        );
    }
}

fn put(pod: &mut Value, list: List, first: &[&str], last: &[&str]) {
    if let Some(containers) = pod::containers_mut(pod, list) {
        let rank = |container: &Value| {
            let at = |names: &[&str]| names.iter().position(|name| *name == pod::name(container));
            match (at(first), at(last)) {
                (Some(at), _) => (0, at),
                (None, None) => (1, 0),
                (None, Some(at)) => (2, at),
            }
        };
        // The sort is stable: the author's containers keep their order.
        containers.sort_by_key(rank);
    }
}

/// Gives the containers of an injected pod their old order back; where the mesh's own belong is decided after this.
///
/// A template that names author's containers would else move them each time.
pub(crate) fn keep_containers(original: &Value, merged: &mut Value) {
    for list in List::BOTH {
        if let Some(containers) = pod::containers_mut(merged, list) {
            by_name(
                containers,
                pod::containers(original, list).iter().map(pod::name),
            );
        }
    }
}

/// Sorts named items as `names` are; others stay behind those that they follow.
pub(crate) fn by_name<'a>(list: &mut [Value], names: impl Iterator<Item = &'a str>) {
    let ranks: HashMap<&str, usize> = names.zip(1..).collect();
    let mut last = 0;
    let mut wanted: HashMap<String, usize> = HashMap::with_capacity(list.len());
    for item in list.iter() {
        last = ranks.get(pod::name(item)).copied().unwrap_or(last);
        wanted.insert(pod::name(item).to_owned(), last);
    }
    list.sort_by_key(|item| wanted.get(pod::name(item)).copied());
}

/// Gives lists of an injected pod their old order back where a new injection changed nothing else in them.
///
/// Merging template and author's fields in turn may order variables in another way each time; a pod that stays the same must stay the same.
pub(crate) fn keep(original: &Value, merged: &mut Value) {
    for list in List::BOTH {
        for container in pod::containers_mut(merged, list).into_iter().flatten() {
            let name = pod::name(container).to_owned();
            let old = pod::containers(original, list)
                .iter()
                .find(|old| pod::name(old) == name);
            for field in ["env", "ports", "volumeMounts"] {
                keep_list(old.and_then(|old| old.get(field)), container.get_mut(field));
            }
        }
    }
    for pointer in ["/spec/volumes", "/spec/imagePullSecrets"] {
        keep_list(original.pointer(pointer), merged.pointer_mut(pointer));
    }
}

fn keep_list(old: Option<&Value>, new: Option<&mut Value>) {
    let (Some(Value::Array(old)), Some(Value::Array(new))) = (old, new) else {
        return;
    };
    if old == new || old.len() != new.len() {
        return;
    }
    let mut rest: Vec<&Value> = new.iter().collect();
    let is_same = old.iter().all(|item| {
        let at = rest.iter().position(|other| *other == item);
        at.map(|at| rest.swap_remove(at)).is_some()
    });
    if is_same {
        new.clone_from(old);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(
        init: &[&str],
        main: &[&str],
        hold: bool,
        expected_init: &[&str],
        expected_main: &[&str],
    ) {
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|name| json!({"name": name}))
                .collect::<Vec<_>>()
        };
        let mut pod = json!({"spec": {"initContainers": list(init), "containers": list(main)}});
        arrange(&mut pod, hold);
        assert_eq!(
            pod,
            json!({"spec": {"initContainers": list(expected_init), "containers": list(expected_main)}})
        );
    }

    #[test]
    fn a_native_sidecar_starts_before_the_authors_init_containers() {
        check(
            &["a", "enable-core-dump", "istio-proxy", "istio-init", "b"],
            &["app"],
            false,
            &["istio-init", "istio-proxy", "enable-core-dump", "a", "b"],
            &["app"],
        );
    }

    #[test]
    fn without_one_the_rules_come_last_and_the_sidecar_last_or_first() {
        check(
            &["istio-init", "a"],
            &["istio-proxy", "b", "a"],
            false,
            &["a", "istio-init"],
            &["b", "a", "istio-proxy"],
        );
        check(
            &["a", "istio-validation"],
            &["b", "istio-proxy"],
            true,
            &["istio-validation", "a"],
            &["istio-proxy", "b"],
        );
    }
}

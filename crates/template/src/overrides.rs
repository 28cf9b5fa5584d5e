//! What the author's own version of an injected container keeps.
//!
//! Called after the templates were laid over the pod: where the author defined `istio-proxy` (or any container that a template gives), the author's
//! fields win, lists with merge keys merge, and `image: auto` stands for the template's image.
//! The author's version is remembered in an annotation, because after this nobody can tell it from the template's.

use contract::pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER};
use serde_json::{Map, Value};

use crate::{
    kubernetes, merge,
    pod::{self, List},
    record::{Overrides, Status},
};

/// An image that means the injected one; the field is required, so an author has to write something.
const AUTO_IMAGE: &str = "auto";
const PULL_POLICY: &str = "imagePullPolicy";

/// The lists of a pod whose names are asked about.
const OUTLINED: &[&str] = &[
    "containers",
    "initContainers",
    "volumes",
    "imagePullSecrets",
];

/// The names of what a template gives, in a pod that has nothing else: all that is asked about it after it was merged.
///
/// The merge's directives are part of it, so merging outlines gives the outline of what merging the results gives.
pub(crate) fn outline(patch: &Value) -> Value {
    let is_directive = |key: &str| key.starts_with('$');
    let Some(fields) = patch.as_object() else {
        return Value::Null;
    };
    let outlined = fields.iter().filter_map(|(key, value)| match value {
        Value::Object(spec) if key == "spec" => Some((key.clone(), outline_of_spec(spec))),
        value => (is_directive(key) || key == "spec").then(|| (key.clone(), value.clone())),
    });
    Value::Object(outlined.collect())
}

fn outline_of_spec(spec: &Map<String, Value>) -> Value {
    let named = |item: &Value| match item {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(key, _)| *key == "name" || *key == "$patch");
            Value::Object(
                kept.map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            )
        }
        other => other.clone(),
    };
    let outlined = spec.iter().filter_map(|(key, value)| match value {
        Value::Array(items) if OUTLINED.contains(&key.as_str()) => {
            Some((key.clone(), items.iter().map(named).collect()))
        }
        value => (key.starts_with('$') || OUTLINED.contains(&key.as_str()))
            .then(|| (key.clone(), value.clone())),
    });
    Value::Object(outlined.collect())
}

/// Moves the containers of a template's result that an earlier template put into the other list there: one container is in one place.
///
/// A template that adds a volume mount to `istio-proxy` cannot know whether the sidecar's own template made that a native one.
pub(crate) fn follow(patch: &mut Value, template_pod: &Value) {
    for list in List::BOTH {
        let other = list.other();
        let misplaced: Vec<String> = pod::containers(patch, list)
            .iter()
            .map(pod::name)
            .filter(|name| {
                pod::position(template_pod, list, name).is_none()
                    && pod::position(template_pod, other, name).is_some()
            })
            .map(str::to_owned)
            .collect();
        for name in misplaced {
            if let Some(container) = pod::take(patch, list, &name) {
                pod::containers_entry(patch, other).push(container);
            }
        }
    }
}

/// Brings each container that a template gives into the list where the template has it, before the template is merged.
///
/// The author writes `istio-proxy` under `containers` even where the sidecar is native; and a pod that was injected in one form may be injected again
/// in the other, where the old sidecar must go.
pub(crate) fn relocate(pod: &mut Value, patch: &Value, status: Option<&Status>) {
    for list in List::BOTH {
        for container in pod::containers(patch, list) {
            let name = pod::name(container);
            let own = pod::find_mut(pod, name).and_then(Value::as_object_mut);
            if let Some(own) = own.filter(|own| has_default_pull_policy(own)) {
                own.remove(PULL_POLICY);
            }
            if pod::position(pod, list, name).is_some() {
                continue;
            }
            let Some(mut moved) = pod::take(pod, list.other(), name) else {
                continue;
            };
            if status.is_some_and(|status| status.names(name)) {
                continue;
            }
            if list == List::Main {
                // Only an init container may have one.
                pod::as_map(&mut moved).remove("restartPolicy");
            }
            pod::containers_entry(pod, list).push(moved);
        }
    }
}

/// Lays the author's containers over those that the templates gave; returns all that are to be remembered,
/// and whether there are new ones among them.
pub(crate) fn reapply(
    merged: &mut Value,
    original: &Value,
    template_pod: &Value,
    status: Option<&Status>,
    mut saved: Overrides,
) -> (Overrides, bool) {
    let mut is_new = false;
    for list in List::BOTH {
        for container in pod::containers(template_pod, list) {
            let name = pod::name(container);
            let mut overlay = match saved.get(name) {
                Some(overlay) => without_empty_resources(overlay),
                None if status.is_some_and(|status| status.names(name)) => continue,
                None => match pod::find(original, name).and_then(Value::as_object) {
                    Some(own) => {
                        let overlay = as_written_by_type(own);
                        saved.save(list, overlay.clone());
                        is_new = true;
                        overlay
                    }
                    None => continue,
                },
            };
            if list == List::Main && !restarts_itself(original, name) {
                // What makes an init container native; most versions of Kubernetes refuse it anywhere else.
                overlay.remove("restartPolicy");
            }
            if let Some(at) = pod::position(merged, list, name)
                && let Some(target) =
                    pod::containers_mut(merged, list).and_then(|containers| containers.get_mut(at))
            {
                merge::container(target, Value::Object(overlay));
            }
        }
    }
    (saved, is_new)
}

/// Whether `pod` has an ordinary container of that name with a restart policy of its own.
fn restarts_itself(pod: &Value, container: &str) -> bool {
    let own = pod::containers(pod, List::Main)
        .iter()
        .find(|own| pod::name(own) == container);
    own.is_some_and(|own| own.get("restartPolicy").is_some())
}

/// The author's container as Kubernetes' type writes it, without an image that stands for the template's.
///
/// A zero that its author wrote is not a wish: through the API server it would not be there either. Neither is the pull policy beside `auto`,
/// which the API server gives every image without a tag: it would have a node ask a registry for an image that it has.
fn as_written_by_type(container: &Map<String, Value>) -> Map<String, Value> {
    let mut overlay = Value::Object(container.clone());
    kubernetes::tidy(&mut overlay);
    let overlay = pod::as_map(&mut overlay);
    if overlay.get("image").and_then(Value::as_str) == Some(AUTO_IMAGE) {
        overlay.remove("image");
        if has_default_pull_policy(container) {
            overlay.remove(PULL_POLICY);
        }
    }
    std::mem::take(overlay)
}

/// Whether the container's pull policy is what the API server makes of `image: auto`.
fn has_default_pull_policy(container: &Map<String, Value>) -> bool {
    let text = |field: &str| container.get(field).and_then(Value::as_str);
    text("image") == Some(AUTO_IMAGE) && text(PULL_POLICY) == Some("Always")
}

/// A recorded container without `resources: {}`, which the record has whether the author wrote it or not.
fn without_empty_resources(container: &Map<String, Value>) -> Map<String, Value> {
    let mut overlay = container.clone();
    overlay.retain(|field, value| {
        field != "resources" || value.as_object().is_none_or(|fields| !fields.is_empty())
    });
    overlay
}

/// Writes the containers that the templates have a part in as Kubernetes' type does; the author's others are left as they are.
pub(crate) fn tidy(merged: &mut Value, template_pod: &Value) {
    for list in List::BOTH {
        let is_given =
            |container: &Value| pod::position(template_pod, list, pod::name(container)).is_some();
        let containers = pod::containers_mut(merged, list).into_iter().flatten();
        containers
            .filter(|container| is_given(container))
            .for_each(kubernetes::tidy);
    }
}

/// Tells the init container which user the sidecar runs as, where the author chose one: its traffic is what passes uncaptured.
///
/// Under TPROXY the sidecar has to be root, whatever was chosen; a validation container takes the sidecar's user, as it probes in its name.
pub(crate) fn align_users(merged: &mut Value, saved: &Overrides, is_tproxy: bool) {
    let chosen = |field: &str| {
        saved
            .get(PROXY_CONTAINER)?
            .get("securityContext")?
            .get(field)
            .filter(|id| id.is_u64())
            .cloned()
    };
    let (user, group) = (chosen("runAsUser"), chosen("runAsGroup"));
    if user.is_none() && group.is_none() {
        return;
    }
    if is_tproxy
        && user.is_some()
        && let Some(sidecar) = pod::find_mut(merged, PROXY_CONTAINER)
    {
        security_context(sidecar).insert("runAsUser".to_owned(), Value::from(0));
    }
    let Some(name) = [INIT_CONTAINER, VALIDATION_CONTAINER]
        .into_iter()
        .find(|name| pod::position(merged, List::Init, name).is_some())
    else {
        return;
    };
    let Some(init) = pod::find_mut(merged, name) else {
        return;
    };
    if name == VALIDATION_CONTAINER && !is_tproxy {
        let context = security_context(init);
        context.extend(user.clone().map(|user| ("runAsUser".to_owned(), user)));
        context.extend(group.map(|group| ("runAsGroup".to_owned(), group)));
    }
    if let Some(user) = user.filter(|user| *user != 0)
        && let Some(args) = init.get_mut("args").and_then(Value::as_array_mut)
        && let Some(at) = args.iter().position(|arg| arg == "-u")
        && let Some(value) = args.get_mut(at + 1)
    {
        *value = Value::String(user.to_string());
    }
}

fn security_context(container: &mut Value) -> &mut Map<String, Value> {
    pod::as_map(
        pod::as_map(container)
            .entry("securityContext")
            .or_insert(Value::Null),
    )
}

/// Forgets the sidecar's user where OpenShift gave it the application's: its admission puts the same user on every container, and traffic of the
/// sidecar could not be told from the application's.
pub(crate) fn reset_assigned_user(pod: &mut Value) {
    let user_of = |container: &Value| container.pointer("/securityContext/runAsUser").cloned();
    let Some(user) = pod::find(pod, PROXY_CONTAINER).and_then(user_of) else {
        return;
    };
    let own = [PROXY_CONTAINER, INIT_CONTAINER, VALIDATION_CONTAINER];
    let is_shared = List::BOTH
        .into_iter()
        .flat_map(|list| pod::containers(pod, list))
        .filter(|container| !own.contains(&pod::name(container)))
        .any(|container| user_of(container).as_ref() == Some(&user));
    if is_shared && let Some(sidecar) = pod::find_mut(pod, PROXY_CONTAINER) {
        let context = security_context(sidecar);
        context.remove("runAsUser");
        context.remove("runAsGroup");
    }
}

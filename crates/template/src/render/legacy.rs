//! Results of templates in the first format.
//!
//! Called for configurations with a single `template`. What it gives is not a pod but the lists that go into a pod's `spec`, beside an annotation map and a
//! switch; here that becomes the partial pod that today's templates give.
//! The reader of those days made texts of numbers where texts were due, and its pods had no `restartPolicy` of containers; templates rely on both.

use serde_json::{Map, Value};

use crate::pod::{self, List};

/// Fields of a pod that tell a result that is a pod already.
const POD: &[&str] = &["metadata", "spec"];

/// Turns the result into a partial pod; returns whether it wants probes to be rewritten, if it says.
pub(crate) fn into_pod(patch: &mut Value) -> Option<bool> {
    let fields = patch.as_object_mut()?;
    if POD.iter().any(|key| fields.contains_key(*key)) {
        return None;
    }
    let mut spec = std::mem::take(fields);
    let rewrite = spec
        .remove("rewriteAppHTTPProbe")
        .and_then(|rewrite| rewrite.as_bool());
    if let Some(annotations @ Value::Object(_)) = spec.remove("podRedirectAnnot") {
        fields.insert(
            "metadata".to_owned(),
            Value::Object(Map::from_iter([("annotations".to_owned(), annotations)])),
        );
    }
    fields.insert("spec".to_owned(), Value::Object(spec));
    for list in List::BOTH {
        let containers = pod::containers_mut(patch, list).into_iter().flatten();
        containers.for_each(modernize);
    }
    rewrite
}

fn modernize(container: &mut Value) {
    let Some(fields) = container.as_object_mut() else {
        return;
    };
    // An init container that has one today would be kept running.
    fields.remove("restartPolicy");
    for field in ["args", "command"] {
        let texts = fields.get_mut(field).and_then(Value::as_array_mut);
        texts.into_iter().flatten().for_each(make_text);
    }
    let variables = fields.get_mut("env").and_then(Value::as_array_mut);
    let values = variables.into_iter().flatten();
    values
        .filter_map(|variable| variable.get_mut("value"))
        .for_each(make_text);
}

fn make_text(value: &mut Value) {
    if value.is_number() || value.is_boolean() {
        *value = Value::String(value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_go_into_the_spec_and_annotations_into_the_metadata() {
        let mut patch = json!({"rewriteAppHTTPProbe": true, "podRedirectAnnot": {"a": "b"}, "containers": [{"name": "istio-proxy"}]});
        assert_eq!(into_pod(&mut patch), Some(true));
        assert_eq!(
            patch,
            json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"containers": [{"name": "istio-proxy"}]}})
        );
        let pod = json!({"spec": {"containers": []}});
        let mut same = pod.clone();
        assert_eq!(into_pod(&mut same), None);
        assert_eq!(same, pod);
    }

    #[test]
    fn what_was_read_as_text_is_text_and_an_init_container_ends() {
        let mut patch = json!({"initContainers": [{
            "name": "istio-init",
            "args": ["-u", 1337],
            "command": [true],
            "env": [{"name": "A", "value": 0.5}, {"name": "B"}],
            "restartPolicy": "Always",
        }], "containers": "odd"});
        into_pod(&mut patch);
        assert_eq!(
            patch,
            json!({"spec": {"initContainers": [{
                "name": "istio-init",
                "args": ["-u", "1337"],
                "command": ["true"],
                "env": [{"name": "A", "value": "0.5"}, {"name": "B"}],
            }], "containers": "odd"}})
        );
    }
}

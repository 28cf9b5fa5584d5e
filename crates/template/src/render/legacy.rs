//! Results of templates in the first format.
//!
//! Called for configurations with a single `template`. What it gives is not a pod but the lists that go into a pod's `spec`, beside an annotation map and a
//! switch; here that becomes the partial pod that today's templates give.

use serde_json::{Map, Value};

/// Fields of a pod that tell a result that is a pod already.
const POD: &[&str] = &["metadata", "spec"];

/// Turns the result into a partial pod; returns whether it wants probes to be rewritten, if it says.
pub(super) fn into_pod(patch: &mut Value) -> Option<bool> {
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
    rewrite
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
}

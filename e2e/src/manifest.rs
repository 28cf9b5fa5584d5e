//! The manifests of `e2e/manifests`, read as they are and changed where a test wants something else.
//!
//! kubectl turns the YAML into JSON, so that tests read exactly what users would apply; no test needs a copy of a manifest.

use anyhow::Context;
use serde_json::{Deserializer, Value, json};

use crate::{environment::root, kubectl};

/// The objects of one file.
#[derive(Clone, Debug)]
pub struct Manifest {
    objects: Vec<Value>,
}

// === impl Manifest ===

impl Manifest {
    /// Reads `e2e/manifests/NAME`.
    ///
    /// # Errors
    /// There is no such file, or it is no manifest.
    pub fn read(name: &str) -> anyhow::Result<Self> {
        let path = root().join("e2e/manifests").join(name);
        let path = path.to_string_lossy();
        // An empty patch on the file alone changes nothing and gives JSON.
        let args = [
            "patch",
            "--local",
            "--type=merge",
            "-p",
            "{}",
            "-o",
            "json",
            "-f",
        ];
        Self::parse(&kubectl::run(&[&args[..], &[&path]].concat())?)
    }

    /// Parses JSON objects that follow each other.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let objects = Deserializer::from_str(text).into_iter();
        Ok(Self {
            objects: objects
                .collect::<Result<_, _>>()
                .context("no JSON manifest")?,
        })
    }

    /// One object.
    #[must_use]
    pub fn of(object: Value) -> Self {
        Self {
            objects: vec![object],
        }
    }

    /// The same with the fields of `change` laid over every pod: objects by field, everything else as a whole.
    #[must_use]
    pub fn with(self, change: &Value) -> Self {
        self.changed("Pod", change)
    }

    /// The same with the fields of `change` laid over every object of `kind`, alike.
    #[must_use]
    pub fn changed(mut self, kind: &str, change: &Value) -> Self {
        for object in &mut self.objects {
            if object["kind"] == kind {
                merge(object, change);
            }
        }
        self
    }

    /// The same with this annotation on every pod.
    #[must_use]
    pub fn annotated(self, name: &str, value: &str) -> Self {
        self.with(&json!({"metadata": {"annotations": {name: value}}}))
    }

    /// The same with this label on every pod.
    #[must_use]
    pub fn labelled(self, name: &str, value: &str) -> Self {
        self.with(&json!({"metadata": {"labels": {name: value}}}))
    }

    /// The same with another name for every pod.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.with(&json!({"metadata": {"name": name}}))
    }

    /// The first pod alone.
    #[must_use]
    pub fn pod_only(&self) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == "Pod")
    }

    /// The containers of the first pod, for a change that adds one.
    #[must_use]
    pub fn pod_containers(&self) -> Option<Vec<Value>> {
        self.pod_only()?["spec"]["containers"].as_array().cloned()
    }

    /// The objects as text that kubectl takes.
    #[must_use]
    pub fn text(&self) -> String {
        self.objects
            .iter()
            .map(|object| format!("{object}\n"))
            .collect()
    }
}

/// Lays `change` over `value` (RFC 7386, without removal).
fn merge(value: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *value = change.clone();
        return;
    };
    for (name, change) in fields {
        merge(&mut value[name.as_str()], change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reaches_pods_and_nothing_else() {
        let text = r#"{"kind": "Service", "metadata": {"name": "a"}}
            {"kind": "Pod", "metadata": {"name": "a", "labels": {"app": "a"}}}"#;
        let manifest = Manifest::parse(text)
            .unwrap()
            .named("b")
            .labelled("version", "v1")
            .annotated("note", "hello");
        assert_eq!(manifest.objects[0]["metadata"]["name"], "a");
        assert_eq!(
            manifest.objects[1]["metadata"],
            json!({
                "name": "b",
                "labels": {"app": "a", "version": "v1"},
                "annotations": {"note": "hello"},
            })
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert!(Manifest::parse("{\"kind\": ").is_err());
    }
}

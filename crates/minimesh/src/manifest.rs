//! Changing the pods of a manifest and nothing else.
//!
//! Used by the commands that print a manifest again; each hands over what it does with one pod.
//! A document in which no pod was changed comes out byte for byte, and so do the comments above and below one that was.

use anyhow::ensure;
use serde_json::Value;
use template::{Owner, yaml};

use crate::workload::{self, Kind, MAX_LISTS};

/// A pod, or pod template, and where it was found.
pub(crate) struct Found<'a> {
    pub(crate) pod: &'a Value,
    /// The resource that holds it: the pod itself, or the workload around the template.
    pub(crate) resource: &'a Value,
    /// The workload around a template.
    pub(crate) owner: Option<Owner>,
    /// What messages call it.
    pub(crate) described: String,
}

/// What a command does with a pod: `None` if it stays as it is.
pub(crate) type Change<'a> = dyn FnMut(&Found<'_>) -> anyhow::Result<Option<Value>> + 'a;

/// Changes pods; resources that name no namespace are described by `default_namespace`.
struct Changer<'a> {
    default_namespace: &'a str,
    change: &'a mut Change<'a>,
}

/// The text with each pod as `change` gives it; `origin` names the text in errors.
///
/// # Errors
/// The first document that cannot be read, and whatever `change` fails with.
pub(crate) fn change<'a>(
    text: &str,
    origin: &str,
    default_namespace: &'a str,
    change: &'a mut Change<'a>,
) -> anyhow::Result<String> {
    let mut changer = Changer {
        default_namespace,
        change,
    };
    let mut changed = String::with_capacity(text.len());
    for document in yaml::documents(text) {
        let mut resource = document.parse(origin)?;
        if !changed.is_empty() && !changed.ends_with('\n') {
            changed.push('\n');
        }
        if !changer.resource(&mut resource, MAX_LISTS)? {
            changed.push_str(document.raw);
            continue;
        }
        let (above, below) = surroundings(document.raw);
        if !changed.is_empty() && !document.is_marked() {
            changed.push_str("---\n");
        }
        changed.push_str(above);
        if document.is_marked() && !above.lines().any(is_marker) {
            changed.push_str("---\n");
        }
        changed.push_str(&yaml::to_string(&resource));
        changed.push_str(below);
    }
    Ok(changed)
}

// === impl Changer ===

impl Changer<'_> {
    /// Changes what `resource` holds; tells whether there was anything to change.
    fn resource(&mut self, resource: &mut Value, max_lists: usize) -> anyhow::Result<bool> {
        match workload::kind(resource) {
            Kind::Other => Ok(false),
            Kind::Pod => self.pod(resource),
            Kind::Template(path) => self.template(resource, path),
            Kind::List => {
                ensure!(max_lists > 0, "lists are nested more than {MAX_LISTS} deep");
                let mut changed = false;
                let items = resource.get_mut("items").and_then(Value::as_array_mut);
                for item in items.into_iter().flatten() {
                    changed |= self.resource(item, max_lists - 1)?;
                }
                Ok(changed)
            }
        }
    }

    fn pod(&mut self, pod: &mut Value) -> anyhow::Result<bool> {
        let changed = (self.change)(&Found {
            pod,
            resource: pod,
            owner: None,
            described: workload::describe(pod, self.default_namespace),
        })?;
        Ok(changed.map(|changed| *pod = changed).is_some())
    }

    /// Changes the pod template at `path`; the resource around it stands for the pod's owner.
    fn template(&mut self, resource: &mut Value, path: &[&str]) -> anyhow::Result<bool> {
        let described = workload::describe(resource, self.default_namespace);
        let pod = workload::pod(resource, path, &described)?;
        let changed = (self.change)(&Found {
            pod: &pod,
            resource,
            owner: Some(workload::owner(resource)),
            described,
        })?;
        let Some(mut changed) = changed else {
            return Ok(false);
        };
        if let Some(fields) = changed.as_object_mut() {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        if let Some(template) = resource.pointer_mut(&format!("/{}", path.join("/"))) {
            *template = changed;
        }
        Ok(true)
    }
}

/// The lines above and below a document's content: its marker, comments, blank lines.
fn surroundings(document: &str) -> (&str, &str) {
    let is_around = |line: &&str| {
        let line = line.trim_start_matches('\u{feff}');
        line.trim().is_empty() || line.starts_with('#') || is_marker(line)
    };
    let lines = || document.split_inclusive('\n');
    let above: usize = lines().take_while(is_around).map(str::len).sum();
    let below: usize = lines().rev().take_while(is_around).map(str::len).sum();
    let below = document.len() - below.min(document.len() - above);
    (
        document.get(..above).unwrap_or_default(),
        document.get(below..).unwrap_or_default(),
    )
}

/// Whether a line begins or ends a document and says nothing else.
fn is_marker(line: &str) -> bool {
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| {
        let content = rest.trim_start();
        content.is_empty() || content.starts_with('#') && content.len() < rest.len()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut label = |found: &Found<'_>| {
            let mut pod = found.pod.clone();
            pod["x"] = json!(1);
            Ok((found.pod.get("keep").is_none()).then_some(pod))
        };
        let changed = change(text, "test", "default", &mut label).expect("YAML");
        assert_eq!(changed, expected);
    }

    #[test]
    fn documents_that_stay_and_the_lines_around_others_are_the_very_bytes() {
        for (text, expected) in [
            (
                "# head\n\napiVersion: v1\nkind: Pod # here\n\n# foot\n",
                "# head\n\napiVersion: v1\nkind: Pod\nx: 1\n\n# foot\n",
            ),
            (
                "# stays\n{kind: Pod,  apiVersion: v1, keep: 1} # so\n--- # next\n# b\nkind: Pod\napiVersion: v1\n...\n# end",
                "# stays\n{kind: Pod,  apiVersion: v1, keep: 1} # so\n--- # next\n# b\napiVersion: v1\nkind: Pod\nx: 1\n...\n# end",
            ),
            (
                "--- {kind: Pod, apiVersion: v1}\n---\nkind: Service # x",
                "---\napiVersion: v1\nkind: Pod\nx: 1\n---\nkind: Service # x",
            ),
            (
                "%YAML 1.1\n---\nkind: Pod\napiVersion: v1\n",
                "---\napiVersion: v1\nkind: Pod\nx: 1\n",
            ),
            (
                "kind: A\n...\nkind: Pod\napiVersion: v1\n",
                "kind: A\n...\n---\napiVersion: v1\nkind: Pod\nx: 1\n",
            ),
            ("", ""),
        ] {
            check(text, expected);
        }
    }
}

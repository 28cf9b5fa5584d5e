//! Whether an object can work, and what of it is not acted on.
//!
//! Asked by the webhook before an object is taken in and by the `follower` for every object that is there, with the same answer. Every problem is
//! found at once, each with its field. A field that is not known is a remark where it adds something and a problem where it would narrow the
//! choice of pods, because without it the policy would be for pods that it is not meant for. Pure.

mod spec;

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use wire::{minimesh::Scope, peer_authentication::Policy};

use super::{PeerAuthentication, object::Object};
use spec::Spec;

/// An object that can work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is in force; nothing where the object can select no pod.
    pub policy: Option<Arc<PeerAuthentication>>,
    /// What of it is not acted on.
    pub remarks: Vec<Finding>,
}

/// Something about one field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field, `spec.portLevelMtls[8080].mode`.
    pub field: String,
    /// What is so and what to do.
    pub text: String,
}

/// Judges `object`; policies of `root_namespace` are for the whole mesh.
///
/// # Errors
/// Everything that keeps it from working.
pub fn check(object: &Object, root_namespace: &str) -> Result<Checked, Vec<Finding>> {
    let spec = Spec::read(&object.spec)?;
    let mut remarks = spec.remarks;
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let scope = match (spec.selector.is_empty(), namespace == root_namespace) {
        (true, true) => Scope::Mesh,
        (true, false) => Scope::Namespace,
        (false, false) => Scope::Workload,
        (false, true) => {
            remarks.push(Finding::new(
                "spec.selector",
                format!(
                    "selects nothing, because policies of the root namespace {root_namespace} are for the whole mesh; create the policy in the namespace of its pods, or leave the selector out"
                ),
            ));
            return Ok(Checked {
                policy: None,
                remarks,
            });
        }
    };
    let created = &object.metadata.creation_timestamp;
    let policy = Policy {
        name,
        namespace,
        scope,
        mode: spec.mode,
        port_modes: spec.port_modes,
        created: created.as_ref().map_or(0, |time| time.0.as_second()),
    };
    Ok(Checked {
        policy: Some(Arc::new(PeerAuthentication {
            selector: spec.selector,
            policy,
        })),
        remarks,
    })
}

/// All of `findings` as one sentence.
#[must_use]
pub fn sentence(findings: &[Finding]) -> String {
    let texts: Vec<_> = findings.iter().map(Finding::to_string).collect();
    texts.join("; ")
}

// === impl Finding ===

impl Finding {
    /// `text` about `field`.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            text: text.into(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

#[cfg(test)]
mod tests;

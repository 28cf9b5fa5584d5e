//! PeerAuthentications as users write them.

use serde_json::{Value, json};

use crate::Manifest;

/// The policy `name` with this spec, for whichever namespace it is applied to.
#[must_use]
pub fn policy(name: &str, spec: &Value) -> Manifest {
    Manifest::of(json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name},
        "spec": spec,
    }))
}

/// The policy of a whole namespace.
#[must_use]
pub fn of_namespace(mode: &str) -> Manifest {
    policy("default", &json!({"mtls": {"mode": mode}}))
}

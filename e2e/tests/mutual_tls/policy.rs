//! PeerAuthentications as users write them.

use e2e::Manifest;
use serde_json::{Value, json};

/// The policy `name` with this spec, in whichever namespace it is applied to.
pub(crate) fn policy(name: &str, spec: &Value) -> Manifest {
    let object = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name},
        "spec": spec,
    });
    Manifest::of(object)
}

/// The policy of a whole namespace.
pub(crate) fn of_namespace(mode: &str) -> Manifest {
    policy("default", &json!({"mtls": {"mode": mode}}))
}

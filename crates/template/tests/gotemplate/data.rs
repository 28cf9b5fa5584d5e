//! What the templates of the tests are given.

use serde_json::Value as Json;
use template::gotemplate::Value;

/// A configuration, for a plain map.
pub(crate) fn document() -> Json {
    serde_json::from_str(include_str!("document.json")).expect("the file is JSON")
}

/// The parts of what an injection template is given.
#[allow(dead_code, reason = "one of the test programs looks at pods")]
pub(crate) fn pod() -> Json {
    serde_json::from_str(include_str!("pod.json")).expect("the file is JSON")
}

/// The parts put together, with the types that an injection template knows them by.
#[allow(dead_code, reason = "one of the test programs looks at pods")]
pub(crate) fn injection(json: &Json) -> Value<'_> {
    let part = |name: &str| Value::go_struct(&json[name]);
    Value::record(
        "injection data",
        [
            ("TypeMeta", part("TypeMeta")),
            ("DeploymentMeta", part("DeploymentMeta")),
            ("ObjectMeta", part("ObjectMeta")),
            ("Spec", part("Spec")),
            ("ProxyConfig", part("ProxyConfig")),
            ("MeshConfig", part("MeshConfig")),
            ("Values", Value::plain(&json["Values"])),
            ("Revision", Value::from("canary")),
            ("NativeSidecars", Value::Bool(true)),
            ("ProxyUID", Value::Nil),
            ("CompliancePolicy", Value::from("")),
        ],
    )
}

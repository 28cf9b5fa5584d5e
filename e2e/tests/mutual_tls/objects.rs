//! What users are told about the objects that they write.

use anyhow::ensure;
use contract::{
    control_plane,
    policy::{ACCEPTED, EFFECTIVE},
};
use e2e::{
    Injection, Manifest, Namespace, Progress, kubectl,
    policy::{of_namespace, policy},
    scenario, wait_for,
};
use serde_json::{Value, json};

use super::shop::LIMIT;

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_policy_is_refused_or_told_what_became_of_it() {
    scenario("policies", |scene| {
        let namespace = scene.namespace(Injection::Unlabelled)?;
        what_cannot_work_is_refused_with_its_field(&namespace)?;
        what_is_not_acted_on_is_warned_of()?;

        namespace.apply(&of_namespace("STRICT"))?;
        told(&namespace, "default", ACCEPTED, "True", "can work")?;
        told(&namespace, "default", EFFECTIVE, "True", "all of it")?;

        // Of the same namespace and not older: the first by name, if not by age, stays in force.
        namespace.apply(&policy("later", &json!({"mtls": {"mode": "DISABLE"}})))?;
        let elder = format!("{}/default is for the same pods", namespace.name());
        told(&namespace, "later", EFFECTIVE, "False", &elder)?;
        namespace.run(&["delete", "peerauthentication", "default"])?;
        told(&namespace, "later", EFFECTIVE, "True", "all of it")?;

        // The old version is the same object.
        let object = json!({
            "apiVersion": "security.istio.io/v1beta1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "old"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "portLevelMtls": {"80": {"mode": "PERMISSIVE"}},
            },
        });
        namespace.apply(&Manifest::of(object))?;
        told(&namespace, "old", ACCEPTED, "True", "can work")
    });
}

/// By the schema where that can say it, else by the webhook.
fn what_cannot_work_is_refused_with_its_field(namespace: &Namespace) -> anyhow::Result<()> {
    let selector = json!({"matchLabels": {"app": "web"}});
    let table = [
        (
            json!({"portLevelMtls": {"80": {"mode": "STRICT"}}}),
            "portLevelMtls needs selector.matchLabels",
        ),
        (json!({"mtls": {"mode": "strict"}}), "spec.mtls.mode"),
        (
            json!({"selector": selector, "portLevelMtls": {"70000": {"mode": "STRICT"}}}),
            "a port is a number from 1 to 65535",
        ),
        (
            json!({"selector": {"matchLabels": {"app": "-web"}}}),
            "spec.selector.matchLabels[app]: `-web` is no value of a label",
        ),
        (
            json!({"selector": selector, "portLevelMtls": {"080": {"mode": "STRICT"}}}),
            "spec.portLevelMtls[080]: is no port",
        ),
    ];
    for (spec, expected) in table {
        let outcome = namespace.try_create(&policy("bad", &spec))?;
        ensure!(!outcome.success, "{spec} was not refused");
        ensure!(
            outcome.stderr.contains(expected),
            "{spec} was refused without `{expected}`: {}",
            outcome.stderr
        );
    }
    Ok(())
}

/// Without making the object, because it would be for the whole mesh.
fn what_is_not_acted_on_is_warned_of() -> anyhow::Result<()> {
    let manifest = policy("e2e", &json!({"selector": {"matchLabels": {"app": "web"}}}));
    let namespace = ["-n", control_plane::NAMESPACE];
    let create = ["create", "--dry-run=server", "-f", "-"];
    let outcome = kubectl::try_run(&[&namespace[..], &create].concat(), Some(&manifest.text()))?;
    ensure!(
        outcome.success
            && outcome
                .stderr
                .contains("Warning: spec.selector: selects nothing"),
        "no warning of a selector that selects nothing: {outcome:?}"
    );
    Ok(())
}

/// Waits until a condition of the policy is so, with a message that holds this.
fn told(
    namespace: &Namespace,
    name: &str,
    kind: &str,
    status: &str,
    message: &str,
) -> anyhow::Result<()> {
    let what = format!("{kind} of {}/{name} to be {status}", namespace.name());
    wait_for(&what, LIMIT, || {
        let object = namespace.get("peerauthentication", name)?;
        let conditions = object["status"]["conditions"].as_array();
        let is_told = conditions.into_iter().flatten().any(|condition| {
            condition["type"] == kind
                && condition["status"] == status
                && condition["observedGeneration"] == object["metadata"]["generation"]
                && text(&condition["message"]).contains(message)
        });
        Ok(Progress::when(is_told, || object["status"].to_string()))
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

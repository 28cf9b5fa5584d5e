//! The decision table.

use serde_json::json;

use super::*;

fn rules(policy: Policy) -> Rules {
    let selector = |key: &str| Selector::parse(&json!({"matchLabels": {key: "yes"}})).unwrap();
    Rules {
        policy,
        always: vec![selector("always")],
        never: vec![selector("never")],
    }
}

#[track_caller]
fn check(metadata: &Value, policy: Policy, expected: &Decision) {
    let pod = json!({"metadata": metadata, "spec": {}});
    assert_eq!(
        &decide(&pod, "shop", &rules(policy)),
        expected,
        "{metadata}"
    );
}

#[test]
fn the_label_decides_then_the_annotation_then_selectors_then_the_policy() {
    use Decision::{Inject, Skip};
    let wish = |value: &str| json!({labels::INJECT: value});
    check(&json!({"labels": wish("true")}), Policy::Disabled, &Inject);
    check(
        &json!({"labels": wish("false")}),
        Policy::Enabled,
        &Skip(Reason::OptedOutByLabel),
    );
    check(
        &json!({"annotations": wish("true")}),
        Policy::Disabled,
        &Inject,
    );
    check(
        &json!({"annotations": wish("false")}),
        Policy::Enabled,
        &Skip(Reason::OptedOutByAnnotation),
    );
    check(
        &json!({"labels": wish("true"), "annotations": wish("false")}),
        Policy::Disabled,
        &Inject,
    );
    check(
        &json!({"labels": wish("odd"), "annotations": wish("false")}),
        Policy::Enabled,
        &Inject,
    );
    check(
        &json!({"labels": {"always": "yes", "never": "yes"}}),
        Policy::Enabled,
        &Skip(Reason::NeverSelector),
    );
    check(
        &json!({"labels": {"always": "yes"}}),
        Policy::Disabled,
        &Inject,
    );
    check(
        &json!({"labels": {"never": "yes", labels::INJECT: "true"}}),
        Policy::Disabled,
        &Inject,
    );
    check(&json!({}), Policy::Enabled, &Inject);
    check(&json!({}), Policy::Disabled, &Skip(Reason::PolicyDisabled));
}

#[test]
fn the_comparison_is_exact_and_odd_values_are_told() {
    for odd in ["True", "yes", "1", "on"] {
        let pod = json!({"metadata": {"labels": {labels::INJECT: odd}}});
        assert_eq!(
            decide(&pod, "shop", &rules(Policy::Disabled)),
            Decision::Skip(Reason::PolicyDisabled)
        );
        assert_eq!(odd_wish(&pod), Some(odd));
    }
    assert_eq!(
        odd_wish(&json!({"metadata": {"labels": {labels::INJECT: "true"}}})),
        None
    );
}

#[test]
fn host_network_and_namespaces_of_kubernetes_are_never_injected() {
    let asks =
        json!({"metadata": {"labels": {labels::INJECT: "true"}}, "spec": {"hostNetwork": true}});
    assert_eq!(
        decide(&asks, "shop", &rules(Policy::Enabled)),
        Decision::Skip(Reason::HostNetwork)
    );
    let pod = json!({"metadata": {"labels": {labels::INJECT: "true"}}});
    for namespace in PROTECTED_NAMESPACES {
        let expected = Reason::ProtectedNamespace(namespace.to_owned());
        assert_eq!(
            decide(&pod, namespace, &rules(Policy::Enabled)),
            Decision::Skip(expected)
        );
    }
}

#[test]
fn pods_of_every_odd_shape_get_a_decision() {
    for pod in [
        json!(null),
        json!([]),
        json!({"metadata": 1}),
        json!({"metadata": {"labels": ["x"]}, "spec": "x"}),
    ] {
        assert_eq!(
            decide(&pod, "shop", &rules(Policy::Enabled)),
            Decision::Inject,
            "{pod}"
        );
    }
}

#[test]
fn windows_and_an_odd_policy_exclude_even_who_asks() {
    let asking = json!({"labels": {labels::INJECT: "true"}});
    let odd = Policy::Unknown("on".to_owned());
    check(
        &asking,
        odd,
        &Decision::Skip(Reason::PolicyUnknown("on".to_owned())),
    );
    for spec in [
        json!({"os": {"name": "windows"}}),
        json!({"nodeSelector": {"kubernetes.io/os": "windows"}}),
    ] {
        let pod = json!({"metadata": asking, "spec": spec});
        let decision = decide(&pod, "shop", &rules(Policy::Enabled));
        assert_eq!(decision, Decision::Skip(Reason::Windows), "{spec}");
    }
}

#[test]
fn the_mirror_of_a_static_pod_is_left_alone() {
    let mirror = json!({"annotations": {"kubernetes.io/config.mirror": "1a2b"}});
    let expected = Decision::Skip(Reason::MirrorPod);
    check(&mirror, Policy::Enabled, &expected);
}

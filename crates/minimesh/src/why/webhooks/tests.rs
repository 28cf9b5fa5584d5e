//! The choice for every combination of labels, with two control planes, and the reasons for choosing none.

use serde_json::json;

use super::*;

/// The entries that the chart writes for `revision`.
fn configuration(revision: &str) -> Value {
    let expression = |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
    let rev = || expression("istio.io/rev", "In", &[revision]);
    let no_rev = || expression("istio.io/rev", "DoesNotExist", &[]);
    let no_label = || expression("istio-injection", "DoesNotExist", &[]);
    let enabled = || expression("istio-injection", "In", &["enabled"]);
    let not_system = || expression(NAME_LABEL, "NotIn", &["kube-system"]);
    let not_false = || expression("sidecar.istio.io/inject", "NotIn", &["false"]);
    let is_true = || expression("sidecar.istio.io/inject", "In", &["true"]);
    let mut entries = vec![
        ("rev.namespace", vec![rev(), no_label()], vec![not_false()]),
        (
            "rev.object",
            vec![no_rev(), no_label()],
            vec![not_false(), rev()],
        ),
    ];
    if revision == "default" {
        entries.push(("namespace", vec![enabled()], vec![not_false()]));
        entries.push((
            "object",
            vec![no_label(), no_rev()],
            vec![is_true(), no_rev()],
        ));
    }
    let webhooks: Vec<_> = entries
        .into_iter()
        .map(|(name, mut namespaces, pods)| {
            namespaces.push(not_system());
            json!({
                "name": format!("{name}.{WEBHOOK_SUFFIX}"),
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
                "namespaceSelector": {"matchExpressions": namespaces},
                "objectSelector": {"matchExpressions": pods},
            })
        })
        .collect();
    json!({
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("injector-{revision}"), "labels": {"istio.io/rev": revision}},
        "webhooks": webhooks,
    })
}

fn webhooks() -> Webhooks {
    let others = json!({"metadata": {"name": "x"}, "webhooks": [{"name": "all.example.org", "rules": [{"operations": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}]});
    Webhooks::of(&[others, configuration("default"), configuration("canary")]).unwrap()
}

/// `REVISION:ENTRY`, or the code of the reason.
fn select(webhooks: &Webhooks, namespace: (&str, &Value), pod: &Value) -> String {
    let (name, labels) = namespace;
    let object = json!({"metadata": {"name": name, "labels": labels}});
    let pod = json!({"metadata": {"labels": pod}});
    match webhooks.select(&pod, &Namespace::of(object)) {
        Selection::Chosen(served) => {
            let entry = served.name.strip_suffix(WEBHOOK_SUFFIX).unwrap();
            format!("{}:{}", served.revision, entry.trim_end_matches('.'))
        }
        Selection::Passed(passed) => passed.code().to_owned(),
    }
}

#[test]
fn every_combination_of_labels_gives_what_the_api_server_gives() {
    let pods = [
        json!({}),
        json!({"sidecar.istio.io/inject": "true"}),
        json!({"sidecar.istio.io/inject": "false"}),
        json!({"istio.io/rev": "canary"}),
        json!({"istio.io/rev": "nowhere"}),
    ];
    let out = "opted-out-by-label";
    let by_namespace = "default:namespace";
    let canary = "canary:rev.namespace";
    let disabled = "namespace-disabled";
    for (namespace, expected) in [
        (
            json!({}),
            [
                "not-labelled",
                "default:object",
                out,
                "canary:rev.object",
                "revision-unknown",
            ],
        ),
        (
            json!({"istio-injection": "enabled"}),
            [by_namespace, by_namespace, out, by_namespace, by_namespace],
        ),
        (
            json!({"istio-injection": "disabled"}),
            [disabled, disabled, out, disabled, disabled],
        ),
        (
            json!({"istio.io/rev": "canary"}),
            [canary, canary, out, canary, canary],
        ),
        (
            json!({"istio.io/rev": "nowhere"}),
            [
                "revision-unknown",
                "revision-unknown",
                out,
                "revision-unknown",
                "revision-unknown",
            ],
        ),
        (
            json!({"istio-injection": "enabled", "istio.io/rev": "canary"}),
            [by_namespace, by_namespace, out, by_namespace, by_namespace],
        ),
    ] {
        for (pod, expected) in pods.iter().zip(expected) {
            let found = select(&webhooks(), ("shop", &namespace), pod);
            assert_eq!(found, expected, "{namespace} {pod}");
        }
    }
}

#[test]
fn the_reason_for_choosing_none_is_the_one_to_act_on() {
    let enabled = json!({"istio-injection": "enabled"});
    let pod = json!({});
    let found = select(&webhooks(), ("kube-system", &enabled), &pod);
    assert_eq!(found, "namespace-excluded");
    let found = select(&Webhooks::default(), ("shop", &enabled), &pod);
    assert_eq!(found, "webhook-missing");
    let odd = json!({"istio-injection": "yes", "istio.io/rev": "canary"});
    assert_eq!(
        select(&webhooks(), ("shop", &odd), &pod),
        "no-webhook-matches"
    );
}

#[test]
fn a_selector_that_is_empty_or_absent_matches_everything() {
    for selector in [
        json!(null),
        json!({}),
        json!({"matchLabels": {}, "matchExpressions": []}),
    ] {
        let mut configuration = configuration("default");
        let entry = &mut configuration["webhooks"][0];
        entry["namespaceSelector"] = selector.clone();
        entry["objectSelector"] = selector;
        let webhooks = Webhooks::of(&[configuration]).unwrap();
        let found = select(&webhooks, ("shop", &json!({})), &json!({}));
        assert_eq!(found, "default:rev.namespace");
    }
}

#[test]
fn entries_for_something_else_than_new_pods_count_for_nothing() {
    for rule in [
        json!({"operations": ["UPDATE"], "apiGroups": [""], "resources": ["pods"]}),
        json!({"operations": ["CREATE"], "apiGroups": ["apps"], "resources": ["pods"]}),
        json!({"operations": ["CREATE"], "apiGroups": [""], "resources": ["services"]}),
    ] {
        let mut configuration = configuration("default");
        for entry in configuration["webhooks"].as_array_mut().unwrap() {
            entry["rules"] = json!([rule]);
        }
        let webhooks = Webhooks::of(&[configuration]).unwrap();
        let enabled = json!({"istio-injection": "enabled"});
        assert_eq!(
            select(&webhooks, ("shop", &enabled), &json!({})),
            "webhook-missing"
        );
    }
}

#[test]
fn a_selector_that_is_none_is_refused_by_webhook_and_field() {
    let mut configuration = configuration("default");
    configuration["webhooks"][0]["objectSelector"] = json!({"matchLabel": {"a": "b"}});
    let error = format!("{:#}", Webhooks::of(&[configuration]).unwrap_err());
    for part in [
        "objectSelector",
        "rev.namespace",
        "injector-default",
        "matchLabel",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

use std::{collections::BTreeMap, num::NonZeroU16};

use proptest::prelude::*;
use serde_json::{Value, json};
use wire::peer_authentication::Mode;

use super::*;

const ROOT: &str = "istio-system";

fn object(namespace: &str, spec: &Value) -> Object {
    serde_json::from_value(json!({
        "metadata": {
            "name": "web",
            "namespace": namespace,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    }))
    .expect("an object")
}

fn judged(namespace: &str, spec: &Value) -> Result<Checked, Vec<String>> {
    check(&object(namespace, spec), ROOT)
        .map_err(|problems| problems.iter().map(Finding::to_string).collect())
}

fn selected() -> Value {
    json!({"matchLabels": {"app": "web"}})
}

#[test]
fn scope_follows_from_namespace_and_selector() {
    let table = [
        (ROOT, json!({}), Scope::Mesh),
        (ROOT, json!({"selector": {"matchLabels": {}}}), Scope::Mesh),
        ("shop", Value::Null, Scope::Namespace),
        (
            "shop",
            json!({"selector": null, "mtls": null}),
            Scope::Namespace,
        ),
        ("shop", json!({"selector": {}}), Scope::Namespace),
        ("shop", json!({"selector": selected()}), Scope::Workload),
    ];
    for (namespace, spec, expected) in table {
        let checked = judged(namespace, &spec).expect("it can work");
        let object = checked.policy.expect("it selects");
        let policy = &object.policy;
        assert_eq!(policy.scope, expected, "{spec}");
        assert_eq!(policy.resource_name(), format!("{namespace}/web"));
        assert_eq!(policy.created, 1_767_225_600);
        assert_eq!(checked.remarks, [], "{spec}");
    }
}

#[test]
fn modes_and_ports_are_read_as_they_are_written() {
    let spec = json!({
        "selector": selected(),
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"80": {"mode": "DISABLE"}, "81": {"mode": "UNSET"}, "82": {}},
    });
    let policy = judged("shop", &spec).unwrap().policy.unwrap();
    let port = |number| NonZeroU16::new(number).unwrap();
    assert_eq!(policy.policy.mode, Some(Mode::Strict));
    assert_eq!(
        policy.policy.port_modes,
        BTreeMap::from([
            (port(80), Some(Mode::Disable)),
            (port(81), None),
            (port(82), None)
        ])
    );
    let labels = |value: &str| BTreeMap::from([("app".to_owned(), value.to_owned())]);
    assert!(policy.selects(&labels("web")));
    assert!(!policy.selects(&labels("other")));
    assert!(!policy.selects(&BTreeMap::new()));
}

/// Each spec has one problem, which begins so.
fn refused_with<const N: usize>(table: [(Value, &str); N]) {
    for (spec, expected) in table {
        let problems = judged("shop", &spec).expect_err("it cannot work");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
}

#[test]
fn modes_that_cannot_be_are_refused_with_their_field() {
    refused_with([
        (json!([]), "spec: is no map"),
        (json!({"mtls": "STRICT"}), "spec.mtls: is no map"),
        (
            json!({"mtls": {"mode": "strict"}}),
            "spec.mtls.mode: `strict` is no mode; write STRICT",
        ),
        (
            json!({"mtls": {"mode": 3}}),
            "spec.mtls.mode: `3` is no mode",
        ),
    ]);
}

#[test]
fn ports_that_cannot_be_are_refused_with_their_field() {
    let ports = |ports: Value| json!({"selector": selected(), "portLevelMtls": ports});
    let strict = json!({"mode": "STRICT"});
    refused_with([
        (
            json!({"portLevelMtls": {"80": strict}}),
            "spec.portLevelMtls: needs spec.selector.matchLabels",
        ),
        (ports(json!({})), "spec.portLevelMtls: names no port"),
        (
            ports(json!({"0": strict})),
            "spec.portLevelMtls[0]: is no port",
        ),
        (
            ports(json!({"65536": strict})),
            "spec.portLevelMtls[65536]: is no port",
        ),
        (
            ports(json!({"080": strict})),
            "spec.portLevelMtls[080]: is no port",
        ),
        (
            ports(json!({"+80": strict})),
            "spec.portLevelMtls[+80]: is no port",
        ),
        (
            ports(json!({"http": strict})),
            "spec.portLevelMtls[http]: is no port",
        ),
        (
            ports(json!({"80": {"mode": "MUTUAL"}})),
            "spec.portLevelMtls[80].mode: `MUTUAL` is no mode",
        ),
    ]);
}

#[test]
fn selectors_that_cannot_be_are_refused_with_their_field() {
    let labels = |labels: Value| json!({"selector": {"matchLabels": labels}});
    refused_with([
        (
            json!({"selector": {"matchExpressions": []}}),
            "spec.selector.matchExpressions: is not supported",
        ),
        (
            json!({"targetRefs": []}),
            "spec.targetRefs: is not supported",
        ),
        (json!({"selector": "app"}), "spec.selector: is no map"),
        (
            labels(json!({"app": "*"})),
            "spec.selector.matchLabels[app]: `*` holds `*`",
        ),
        (
            labels(json!({"app": "-x"})),
            "spec.selector.matchLabels[app]: `-x` is no value",
        ),
        (
            labels(json!({"app": 1})),
            "spec.selector.matchLabels[app]: is no text",
        ),
        (
            labels(json!({"": "x"})),
            "spec.selector.matchLabels[]: is no label",
        ),
        (
            labels(json!({"a/b/c": "x"})),
            "spec.selector.matchLabels[a/b/c]: is no label",
        ),
        (
            labels(json!({"Up/b": "x"})),
            "spec.selector.matchLabels[Up/b]: is no label",
        ),
        (
            labels(json!({"app": "x".repeat(64)})),
            "spec.selector.matchLabels[app]: `xxxxxxxxxx",
        ),
    ]);
}

#[test]
fn all_problems_are_told_at_once() {
    let spec = json!({
        "mtls": {"mode": "on"},
        "portLevelMtls": {"x": {"mode": "off"}},
    });
    let fields: Vec<_> = check(&object("shop", &spec), ROOT)
        .expect_err("it cannot work")
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    assert_eq!(
        fields,
        [
            "spec.mtls.mode",
            "spec.portLevelMtls",
            "spec.portLevelMtls[x].mode",
            "spec.portLevelMtls[x]",
        ]
    );
}

#[test]
fn what_is_not_acted_on_is_remarked() {
    let table = [
        ("shop", json!({"jwt": {}}), "spec.jwt: is not known", true),
        (
            "shop",
            json!({"mtls": {"mode": "STRICT", "ciphers": []}}),
            "spec.mtls.ciphers: is not known",
            true,
        ),
        (
            ROOT,
            json!({"selector": selected()}),
            "spec.selector: selects nothing",
            false,
        ),
    ];
    for (namespace, spec, expected, in_force) in table {
        let checked = judged(namespace, &spec).expect("it can work");
        assert_eq!(checked.policy.is_some(), in_force, "{spec}");
        assert_eq!(checked.remarks.len(), 1, "{:?}", checked.remarks);
        assert!(
            sentence(&checked.remarks).starts_with(expected),
            "{:?}",
            checked.remarks
        );
    }
}

/// JSON of any shape, with the names that matter in it.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("selector".to_owned()),
        Just("matchLabels".to_owned()),
        Just("mtls".to_owned()),
        Just("mode".to_owned()),
        Just("portLevelMtls".to_owned()),
        Just("80".to_owned()),
        ".{0,80}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!("STRICT")),
        ".{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_spec_is_judged_on_one_line_and_by_the_same_answer_each_time(spec in any_json()) {
        let object = object("shop", &spec);
        let judged = check(&object, ROOT);
        prop_assert_eq!(&judged, &check(&object, ROOT));
        let findings = match &judged {
            Ok(checked) => &checked.remarks,
            Err(problems) => problems,
        };
        prop_assert!(judged.is_ok() || !findings.is_empty());
        for finding in findings {
            prop_assert!(finding.field.starts_with("spec"), "{}", finding);
            prop_assert!(!finding.to_string().contains(char::is_control), "{}", finding);
        }
    }
}

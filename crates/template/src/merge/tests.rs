use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn check(original: &Value, patch: &Value, expected: &Value) {
    let mut merged = original.clone();
    pod(&mut merged, patch.clone(), Directives::Obey).expect("merges");
    assert_eq!(&merged, expected);
}

/// `{"spec": {"containers": [{"name": "a", FIELD: VALUE}]}}`
fn container_with(field: &str, value: &Value) -> Value {
    json!({"spec": {"containers": [{"name": "a", field: value}]}})
}

#[track_caller]
fn check_in_container(field: &str, original: &Value, patch: &Value, expected: &Value) {
    check(
        &container_with(field, original),
        &container_with(field, patch),
        &container_with(field, expected),
    );
}

#[test]
fn maps_merge_key_by_key_and_a_null_deletes() {
    check(
        &json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"nodeName": "n"}}),
        &json!({"metadata": {"labels": {"b": "2", "c": "2"}}, "spec": {"nodeName": null}}),
        &json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "2"}}, "spec": {}}),
    );
    check(
        &json!({}),
        &json!({"spec": {"a": null, "b": {"c": null}}}),
        &json!({"spec": {"b": {}}}),
    );
    check(
        &json!({"metadata": {"labels": null}}),
        &json!({"metadata": {"labels": {"a": "1"}}}),
        &json!({"metadata": {"labels": {"a": "1"}}}),
    );
}

#[test]
fn lists_of_known_fields_merge_by_their_key_and_others_are_replaced() {
    check_in_container(
        "env",
        &json!([{"name": "A", "value": "1"}]),
        &json!([{"name": "A", "value": "2"}]),
        &json!([{"name": "A", "value": "2"}]),
    );
    check_in_container("args", &json!(["a"]), &json!(["b"]), &json!(["b"]));
    check_in_container(
        "volumeMounts",
        &json!([{"name": "x", "mountPath": "/x"}]),
        &json!([{"name": "y", "mountPath": "/x"}]),
        &json!([{"name": "y", "mountPath": "/x"}]),
    );
    check(
        &json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"tolerations": [{"key": "a"}], "hostAliases": [{"ip": "1.1.1.1"}]}}),
        &json!({"metadata": {"finalizers": ["b", "c"]}, "spec": {"tolerations": [{"key": "b"}], "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["h"]}]}}),
        &json!({"metadata": {"finalizers": ["a", "b", "c"]}, "spec": {"tolerations": [{"key": "b"}], "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["h"]}]}}),
    );
}

#[test]
fn patch_items_come_in_patch_order_with_the_others_before_what_they_preceded() {
    let names = |names: &[&str]| json!({"spec": {"volumes": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()}});
    for (original, patch, expected) in [
        (
            &["u1", "u2"][..],
            &["t1", "t2"][..],
            &["t1", "t2", "u1", "u2"][..],
        ),
        (
            &["u1", "t1", "u2"],
            &["t1", "t2"],
            &["u1", "t1", "t2", "u2"],
        ),
        (&["t2", "u1", "t1"], &["t1", "t2"], &["u1", "t1", "t2"]),
        (
            &["u1", "t2", "u2", "t1"],
            &["t1", "t2"],
            &["u1", "u2", "t1", "t2"],
        ),
    ] {
        check(&names(original), &names(patch), &names(expected));
        check(&names(expected), &names(patch), &names(expected));
    }
}

#[test]
fn a_port_for_two_protocols_stays_two_ports() {
    let ports =
        json!([{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]);
    check_in_container("ports", &ports, &ports, &ports);
}

#[test]
fn the_patch_decides_which_member_of_a_union_there_is() {
    check_in_container(
        "readinessProbe",
        &json!({"httpGet": {"port": 1}, "periodSeconds": 5}),
        &json!({"exec": {"command": ["x"]}}),
        &json!({"exec": {"command": ["x"]}, "periodSeconds": 5}),
    );
    check_in_container(
        "env",
        &json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]),
        &json!([{"name": "A", "value": "2"}]),
        &json!([{"name": "A", "value": "2"}]),
    );
    check(
        &json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "emptyDir": {}}]}}),
        &json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w", "emptyDir": null}]}}),
        &json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w"}]}}),
    );
}

#[test]
fn directives_replace_delete_retain_and_order() {
    check(
        &json!({}),
        &json!({"spec": {"volumes": [{"$patch": "replace"}, {"name": "c"}]}}),
        &json!({"spec": {"volumes": [{"name": "c"}]}}),
    );
    check(
        &json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "securityContext": {"runAsUser": 1}}}),
        &json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}, {"name": "c"}], "securityContext": {"$patch": "replace", "fsGroup": 1}}}),
        &json!({"spec": {"containers": [{"name": "c"}, {"name": "b"}], "securityContext": {"fsGroup": 1}}}),
    );
    check(
        &json!({"spec": {"volumes": [{"name": "a"}, {"name": "b"}], "dnsConfig": {"searches": ["x"]}}}),
        &json!({"spec": {"volumes": [{"$patch": "replace"}, {"name": "c"}], "dnsConfig": {"$patch": "delete"}}}),
        &json!({"spec": {"volumes": [{"name": "c"}]}}),
    );
    check(
        &json!({"metadata": {"a": 1, "b": 1, "finalizers": ["x", "y"]}}),
        &json!({"metadata": {"$retainKeys": ["b", "finalizers"], "b": 2, "$deleteFromPrimitiveList/finalizers": ["x"]}}),
        &json!({"metadata": {"b": 2, "finalizers": ["y"]}}),
    );
    check(
        &json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
        &json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}}),
        &json!({"spec": {"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}}),
    );
}

#[test]
fn malformed_directives_are_errors_that_name_the_field() {
    let fails = |patch: Value| {
        pod(
            &mut json!({"spec": {"containers": [{"name": "a"}]}}),
            patch,
            Directives::Obey,
        )
        .expect_err("malformed")
        .to_string()
    };
    assert_eq!(
        fails(json!({"spec": {"$patch": "remove"}})),
        "`$patch` in spec is \"remove\", which is none of replace, delete and merge"
    );
    assert_eq!(
        fails(json!({"spec": {"containers": [{"name": "a", "$patch": 1}]}})),
        "`$patch` in containers is 1, which is none of replace, delete and merge"
    );
    assert_eq!(
        fails(json!({"spec": {"$retainKeys": "a"}})),
        "`$retainKeys` in spec must be a list"
    );
}

#[test]
fn what_an_author_writes_is_never_a_directive() {
    let mut merged = json!({"name": "a", "image": "i"});
    container(
        &mut merged,
        json!({"name": "a", "$patch": "delete", "command": ["x"]}),
    );
    assert_eq!(
        merged,
        json!({"name": "a", "image": "i", "$patch": "delete", "command": ["x"]})
    );
}

fn names() -> impl Strategy<Value = Value> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(Value::from)
}

fn variables() -> impl Strategy<Value = Value> {
    let variable = (names(), prop::option::of(names())).prop_map(|(name, value)| match value {
        Some(value) => json!({"name": name, "value": value}),
        None => json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "x"}}}),
    });
    prop::collection::vec(variable, 0..4).prop_map(Value::from)
}

fn pods() -> impl Strategy<Value = Value> {
    let container = (names(), variables(), prop::option::of(names())).prop_map(
        |(name, env, image)| match image {
            Some(image) => json!({"name": name, "env": env, "image": image}),
            None => json!({"name": name, "env": env}),
        },
    );
    (prop::collection::vec(container, 0..4), prop::collection::btree_map("[ab]", "[ab]", 0..3))
        .prop_map(|(containers, labels)| json!({"metadata": {"labels": labels}, "spec": {"containers": containers}}))
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(original in pods(), patch in pods()) {
        let mut once = original;
        pod(&mut once, patch.clone(), Directives::Obey).expect("merges");
        let mut twice = once.clone();
        pod(&mut twice, patch, Directives::Obey).expect("merges");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn an_empty_patch_changes_nothing_and_a_patch_over_nothing_is_the_patch(value in pods()) {
        let mut merged = value.clone();
        pod(&mut merged, json!({}), Directives::Obey).expect("merges");
        prop_assert_eq!(&merged, &value);
        let mut merged = json!({});
        pod(&mut merged, value.clone(), Directives::Obey).expect("merges");
        prop_assert_eq!(merged, value);
    }
}

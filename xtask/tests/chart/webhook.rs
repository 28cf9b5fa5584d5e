//! Which pods reach which control plane, by the labels of pod and namespace.

use serde_json::{Map, Value, json};
use template::selector::Selector;

use super::helm::{Install, object};

/// A webhook entry: what it is called here, and what it selects.
struct Entry {
    name: String,
    namespaces: Selector,
    pods: Selector,
}

/// Labels, key and value.
type Labels = &'static [(&'static str, &'static str)];

/// The columns of the table: labels of the pod.
const PODS: [Labels; 6] = [
    &[],
    &[("sidecar.istio.io/inject", "true")],
    &[("sidecar.istio.io/inject", "false")],
    &[("istio.io/rev", "canary")],
    &[
        ("sidecar.istio.io/inject", "true"),
        ("istio.io/rev", "canary"),
    ],
    &[("sidecar.istio.io/inject", "junk")],
];

fn entries(control_plane: &str, install: &Install, name: &str) -> Vec<Entry> {
    let objects = install.objects();
    let webhooks = object(&objects, "MutatingWebhookConfiguration", name)["webhooks"]
        .as_array()
        .unwrap();
    webhooks
        .iter()
        .map(|entry| {
            let name = entry["name"].as_str().unwrap();
            let name = name
                .strip_suffix(".sidecar-injector.istio.io")
                .expect("Istio's suffix");
            Entry {
                name: format!("{control_plane}:{name}"),
                namespaces: Selector::parse(&entry["namespaceSelector"]).unwrap(),
                pods: Selector::parse(&entry["objectSelector"]).unwrap(),
            }
        })
        .collect()
}

fn labels(pairs: Labels) -> Map<String, Value> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)));
    pairs.collect()
}

/// Which entry is called for a pod in a namespace; `-` is none.
fn called(entries: &[Entry], namespace: &str, namespace_labels: Labels, pod: Labels) -> String {
    let mut namespace_labels = labels(namespace_labels);
    // The API server puts this on every namespace.
    namespace_labels.insert("kubernetes.io/metadata.name".to_owned(), json!(namespace));
    let pod = labels(pod);
    let matching: Vec<&str> = entries
        .iter()
        .filter(|entry| {
            entry.namespaces.matches(Some(&namespace_labels)) && entry.pods.matches(Some(&pod))
        })
        .map(|entry| entry.name.as_str())
        .collect();
    match matching.as_slice() {
        [] => "-".to_owned(),
        [one] => (*one).to_owned(),
        several => panic!("{namespace_labels:?} {pod:?}: {several:?}"),
    }
}

fn both(default: &Install) -> Vec<Entry> {
    let mut entries = entries("D", default, "istio-sidecar-injector");
    entries.extend(self::entries(
        "C",
        &Install::default().set("revision=canary"),
        "istio-sidecar-injector-canary",
    ));
    entries
}

/// What Istio's own selectors give, cell by cell.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn each_pod_reaches_the_control_plane_that_it_would_reach_in_istio() {
    let (none, of_object) = ("-", "D:object");
    let (by_namespace, by_pod) = ("D:namespace", "C:rev.object");
    let (default, canary) = ("D:rev.namespace", "C:rev.namespace");
    #[rustfmt::skip]
    let table: [(Labels, [&str; 6]); 8] = [
        (&[], [none, of_object, none, by_pod, by_pod, none]),
        (&[("istio-injection", "enabled")], [by_namespace, by_namespace, none, by_namespace, by_namespace, by_namespace]),
        (&[("istio-injection", "disabled")], [none; 6]),
        (&[("istio-injection", "junk")], [none; 6]),
        (&[("istio.io/rev", "default")], [default, default, none, default, default, default]),
        (&[("istio.io/rev", "canary")], [canary, canary, none, canary, canary, canary]),
        (&[("istio-injection", "enabled"), ("istio.io/rev", "canary")], [by_namespace, by_namespace, none, by_namespace, by_namespace, by_namespace]),
        (&[("istio-injection", "disabled"), ("istio.io/rev", "canary")], [none; 6]),
    ];
    let entries = both(&Install::default());
    for (namespace, expected) in table {
        let actual = PODS.map(|pod| called(&entries, "shop", namespace, pod));
        assert_eq!(actual, expected, "{namespace:?}");
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn unlabelled_namespaces_are_injected_where_that_is_asked_for() {
    let entries =
        both(&Install::default().set("sidecarInjectorWebhook.enableNamespacesByDefault=true"));
    let row =
        |namespace: &str, labels: Labels| PODS.map(|pod| called(&entries, namespace, labels, pod));
    let (none, by_pod) = ("-", "C:rev.object");
    assert_eq!(
        row("shop", &[]),
        ["D:auto", "D:object", none, by_pod, by_pod, none]
    );
    assert_eq!(row("shop", &[("istio-injection", "disabled")]), [none; 6]);
    assert_eq!(row("local-path-storage", &[])[0], none);
}

/// Nothing that the cluster or the mesh itself needs waits for the webhook, whatever its labels are.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_clusters_and_the_meshs_own_pods_never_wait_for_the_webhook() {
    let every = Install::default()
        .set("sidecarInjectorWebhook.enableNamespacesByDefault=true")
        .namespace("mesh");
    let entries = entries("D", &every, "istio-sidecar-injector-mesh");
    let namespaces = ["mesh", "kube-system", "kube-public", "kube-node-lease"];
    let labels: [Labels; 3] = [
        &[],
        &[("istio-injection", "enabled")],
        &[("istio.io/rev", "default")],
    ];
    for namespace in namespaces {
        for labels in labels {
            for pod in PODS {
                assert_eq!(called(&entries, namespace, labels, pod), "-", "{namespace}");
            }
        }
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn every_entry_fails_closed_within_seconds_and_leaves_the_bundle_to_the_injector() {
    let objects = Install::default()
        .set("sidecarInjectorWebhook.enableNamespacesByDefault=true")
        .objects();
    let webhook = object(
        &objects,
        "MutatingWebhookConfiguration",
        "istio-sidecar-injector",
    );
    let entries = webhook["webhooks"].as_array().unwrap();
    assert_eq!(entries.len(), 5);
    for entry in entries {
        assert_eq!(entry["failurePolicy"], "Fail");
        assert_eq!(entry["timeoutSeconds"], 5);
        assert_eq!(entry["sideEffects"], "None");
        assert_eq!(entry["clientConfig"]["service"]["path"], "/inject");
        assert!(entry["clientConfig"]["caBundle"].is_null());
        assert_eq!(
            entry["rules"],
            json!([{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }])
        );
    }
}

//! Which pods reach which control plane, by the labels of pod and namespace.

use std::collections::BTreeMap;

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

/// The webhook configurations of a cluster by name, after everything in `applied` has been applied in order: the later one replaces an object of the
/// same name, as in a cluster. Each comes with what the control plane is called here.
fn cluster(applied: &[(&str, Install)]) -> Vec<Entry> {
    let mut objects = BTreeMap::new();
    for (control_plane, install) in applied {
        for object in install.objects() {
            if object["kind"] == "MutatingWebhookConfiguration" {
                let name = object["metadata"]["name"].to_string();
                objects.insert(name, (*control_plane, object));
            }
        }
    }
    let of = |(control_plane, object): &(&str, Value)| entries(control_plane, object);
    objects.values().flat_map(of).collect()
}

fn entries(control_plane: &str, configuration: &Value) -> Vec<Entry> {
    let tag = configuration["metadata"]["labels"]["istio.io/tag"].as_str();
    let control_plane = match tag {
        Some(tag) => format!("{control_plane}({tag})"),
        None => control_plane.to_owned(),
    };
    let webhooks = configuration["webhooks"].as_array().unwrap();
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

fn revision(name: &str) -> Install {
    Install::default().set(&format!("revision={name}"))
}

fn both(default: Install) -> Vec<Entry> {
    cluster(&[("D", default), ("C", revision("canary"))])
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
    let entries = both(Install::default());
    for (namespace, expected) in table {
        let actual = PODS.map(|pod| called(&entries, "shop", namespace, pod));
        assert_eq!(actual, expected, "{namespace:?}");
    }
}

/// Namespaces that say `prod`, or nothing but `istio-injection=enabled`, are served by whichever revision has the tag.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn tags_add_names_to_a_revision_and_take_nothing_from_the_others() {
    let tagged = revision("canary").set("revisionTags={prod}");
    let entries = cluster(&[("D", Install::default()), ("C", tagged)]);
    let (none, by_tag) = ("-", "C(prod):rev.namespace");
    #[rustfmt::skip]
    let table: [(Labels, [&str; 6]); 5] = [
        (&[], [none, "D:object", none, "C:rev.object", "C:rev.object", none]),
        (&[("istio.io/rev", "prod")], [by_tag, by_tag, none, by_tag, by_tag, by_tag]),
        (&[("istio.io/rev", "canary")], ["C:rev.namespace", "C:rev.namespace", none, "C:rev.namespace", "C:rev.namespace", "C:rev.namespace"]),
        (&[("istio-injection", "enabled"), ("istio.io/rev", "prod")], ["D:namespace", "D:namespace", none, "D:namespace", "D:namespace", "D:namespace"]),
        (&[("istio-injection", "disabled"), ("istio.io/rev", "prod")], [none; 6]),
    ];
    for (namespace, expected) in table {
        let actual = PODS.map(|pod| called(&entries, "shop", namespace, pod));
        assert_eq!(actual, expected, "{namespace:?}");
    }
    let by_pod = called(&entries, "shop", &[], &[("istio.io/rev", "prod")]);
    assert_eq!(by_pod, "C(prod):rev.object");
}

/// Whoever has it, in each cell of the table exactly the same entries match, and the others' own names keep working.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_tag_default_moves_in_one_step() {
    const NAMESPACES: [Labels; 8] = [
        &[],
        &[("istio-injection", "enabled")],
        &[("istio-injection", "disabled")],
        &[("istio-injection", "junk")],
        &[("istio.io/rev", "default")],
        &[("istio.io/rev", "canary")],
        &[("istio-injection", "enabled"), ("istio.io/rev", "canary")],
        &[("istio-injection", "disabled"), ("istio.io/rev", "canary")],
    ];
    let table = |entries: &[Entry]| {
        NAMESPACES.map(|namespace| PODS.map(|pod| called(entries, "shop", namespace, pod)))
    };
    let by_default =
        |install: Install| install.set("sidecarInjectorWebhook.enableNamespacesByDefault=true");
    let tagged = |name: &str| by_default(revision(name).set("revisionTags={default}"));
    let classic = cluster(&[
        ("D", by_default(Install::default())),
        ("C", revision("canary")),
    ]);
    let stable_has_it = cluster(&[("S", tagged("stable")), ("C", revision("canary"))]);
    let moved = cluster(&[
        ("S", tagged("stable")),
        ("C", revision("canary")),
        ("C", tagged("canary")),
    ]);
    let handed_over = cluster(&[
        (
            "D",
            Install::default().set("global.operatorManageWebhooks=true"),
        ),
        ("C", tagged("canary")),
    ]);
    let expect = |tag: &str| table(&classic).map(|row| row.map(|cell| cell.replace("D:", tag)));
    assert_eq!(table(&stable_has_it), expect("S(default):"));
    assert_eq!(table(&moved), expect("C(default):"));
    assert_eq!(table(&handed_over), expect("C(default):"));
    let stable = called(&moved, "shop", &[("istio.io/rev", "stable")], &[]);
    assert_eq!(stable, "S:rev.namespace");
}

/// The right to write a tag's `caBundle` is in the same file under a name of the tag, so it moves with it.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn a_tag_brings_the_right_to_write_its_own_bundle() {
    for (name, account) in [("stable", "injector-stable"), ("canary", "injector-canary")] {
        let objects = revision(name).set("revisionTags={prod}").objects();
        let role = object(&objects, "ClusterRole", "injector-tag-prod-istio-system");
        assert_eq!(
            role["rules"],
            json!([{
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["mutatingwebhookconfigurations"],
                "resourceNames": ["istio-revision-tag-prod"],
                "verbs": ["patch"],
            }])
        );
        let binding = object(
            &objects,
            "ClusterRoleBinding",
            "injector-tag-prod-istio-system",
        );
        assert_eq!(binding["subjects"][0]["name"], account);
        let service = object(&objects, "Service", "istiod-revision-tag-prod");
        assert_eq!(service["spec"]["selector"]["istio.io/rev"], name);
        let webhook = object(
            &objects,
            "MutatingWebhookConfiguration",
            "istio-revision-tag-prod",
        );
        assert_eq!(webhook["metadata"]["labels"]["istio.io/rev"], name);
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn unlabelled_namespaces_are_injected_where_that_is_asked_for() {
    let entries =
        both(Install::default().set("sidecarInjectorWebhook.enableNamespacesByDefault=true"));
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
    let entries = cluster(&[("D", every)]);
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

/// What the injector would write is rendered by the chart or written by cert-manager instead, and it has no right to.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn with_a_bundle_from_elsewhere_the_injector_writes_to_no_webhook() {
    const SECRET: &str = "sidecarInjectorWebhook.certificate.source=secret,sidecarInjectorWebhook.certificate.secretName=tls";
    const CERT_MANAGER: &str = "sidecarInjectorWebhook.certificate.source=cert-manager,sidecarInjectorWebhook.certificate.issuerRef.name=ca";
    for (assignment, bundle, inject_from) in [
        (
            "sidecarInjectorWebhook.certificate.caBundle=eA==",
            json!("eA=="),
            Value::Null,
        ),
        (SECRET, Value::Null, Value::Null),
        (
            CERT_MANAGER,
            Value::Null,
            json!("istio-system/istio-sidecar-injector-tls"),
        ),
        (
            "global.operatorManageWebhooks=true",
            Value::Null,
            Value::Null,
        ),
    ] {
        let objects = Install::default()
            .set(assignment)
            .set("revisionTags={prod}")
            .objects();
        for object in &objects {
            let kind = object["kind"].as_str().unwrap();
            let rules = object["rules"].to_string();
            assert!(
                !rules.contains("admissionregistration"),
                "{assignment}: {kind}"
            );
            if kind == "MutatingWebhookConfiguration" {
                let annotation =
                    &object["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
                assert_eq!(*annotation, inject_from, "{assignment}");
                for entry in object["webhooks"].as_array().unwrap() {
                    assert_eq!(entry["clientConfig"]["caBundle"], bundle, "{assignment}");
                }
            }
        }
        let pod = &object(&objects, "Deployment", "injector")["spec"]["template"]["spec"];
        let env = pod["containers"][0]["env"].to_string();
        let nothing = r#"{"name":"INJECTION_WEBHOOK_CONFIG_NAME","value":""}"#;
        assert!(env.contains(nothing), "{assignment}: {env}");
        let has_files = env.contains("/var/run/secrets/istiod/tls/tls.crt");
        assert_eq!(has_files, assignment.contains("source="), "{assignment}");
    }
    let pem = Install::values_file("tags").objects();
    let webhook = object(
        &pem,
        "MutatingWebhookConfiguration",
        "istio-revision-tag-prod",
    );
    let bundle = webhook["webhooks"][0]["clientConfig"]["caBundle"].as_str();
    assert!(
        bundle
            .unwrap()
            .starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t")
    );
}

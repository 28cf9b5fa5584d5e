//! What holds for every pod, however odd.
//!
//! Pods are made up from pieces that matter to injection, and from plain JSON that is no pod at all.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use template::{
    Config, Namespace, NativeSidecars, Options, Outcome, Request, Sources, Text, inject,
    merge::{self, Directives},
    patch,
};

/// The shipped configuration with and without native sidecars, and a small one whose template looks at everything.
static CONFIGS: LazyLock<Vec<Config>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a configuration");
    let shipped = ["files/config", "values.yaml", "files/mesh"]
        .map(|name| read(&format!("../../charts/minimesh/{name}")));
    let small = [
        read("tests/data/small.config"),
        "{}".to_owned(),
        "{}".to_owned(),
    ];
    let load = |texts: &[String; 3], native_sidecars| {
        let [config, values, mesh] = texts.each_ref().map(|text| Text { name: "test", text });
        let options = Options {
            native_sidecars,
            ..Options::default()
        };
        Config::load(
            &Sources {
                config,
                values,
                mesh,
            },
            options,
        )
        .expect("a sound configuration")
    };
    [shipped, small]
        .iter()
        .flat_map(|texts| {
            [
                load(texts, NativeSidecars::Never),
                load(texts, NativeSidecars::Always),
            ]
        })
        .collect()
});

fn run(config: &Config, pod: &Value) -> Option<Value> {
    let request = Request {
        pod,
        namespace: &Namespace::named("shop"),
        owner: None,
        environment: &BTreeMap::from([("ISTIO_META_NETWORK".to_owned(), "n1".to_owned())]),
    };
    match inject(config, &request) {
        Ok(Outcome::Injected { pod, .. }) => Some(pod),
        Ok(Outcome::Skipped { .. }) | Err(_) => None,
    }
}

/// Some of `fields`, each with a value of its strategy.
fn some_of(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let entries: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| {
            prop::option::of(value)
                .prop_map(move |value| value.map(|value| (key.to_owned(), value)))
        })
        .collect();
    entries
        .prop_map(|entries| Value::Object(entries.into_iter().flatten().collect()))
        .boxed()
}

fn one_of(values: &[Value]) -> BoxedStrategy<Value> {
    prop::sample::select(values.to_vec()).boxed()
}

fn action() -> BoxedStrategy<Value> {
    one_of(&[
        json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTPS"}}),
        json!({"httpGet": {"path": "/", "port": "http"}, "timeoutSeconds": 2}),
        json!({"httpGet": {"path": "/app-health/a/readyz", "port": 15020}}),
        json!({"tcpSocket": {"port": "none"}}),
        json!({"tcpSocket": {"port": 15020}}),
        json!({"grpc": {"port": 9000}}),
        json!({"exec": {"command": ["true"]}}),
        json!({}),
        json!(null),
    ])
}

fn variables() -> BoxedStrategy<Value> {
    let names = [
        "A",
        "POD_NAME",
        "ISTIO_META_NETWORK",
        "ISTIO_KUBE_APP_PROBERS",
        "Z",
    ];
    let variable = (prop::sample::select(names.to_vec()), any::<bool>()).prop_map(
        |(name, plain)| match plain {
            true => json!({"name": name, "value": "x"}),
            false => {
                json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
            }
        },
    );
    prop::collection::vec(variable, 0..4)
        .prop_map(Value::from)
        .boxed()
}

/// Fields with values from a list.
fn plain_fields() -> Vec<(&'static str, BoxedStrategy<Value>)> {
    let fields = [
        ("image", json!(["auto", "x", ""])),
        ("args", json!([[], ["-u", "1"], null])),
        ("command", json!([["run"]])),
        (
            "ports",
            json!([
                [{"name": "http", "containerPort": 80}],
                [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}],
                [{"containerPort": 15090}],
                [{}],
            ]),
        ),
        (
            "securityContext",
            json!([{"runAsUser": 2000}, {"runAsGroup": 5, "capabilities": {"add": ["X"]}}, null]),
        ),
        ("resources", json!([{}, {"limits": {"cpu": "1"}}, null])),
        (
            "volumeMounts",
            json!([
                [{"name": "data", "mountPath": "/data"}],
                [{"name": "mine", "mountPath": "/etc/istio/proxy"}],
            ]),
        ),
        ("restartPolicy", json!(["Always"])),
        ("$patch", json!(["delete"])),
    ];
    fields
        .into_iter()
        .map(|(field, values)| (field, one_of(values.as_array().expect("a list"))))
        .collect()
}

fn container(name: &'static str) -> BoxedStrategy<Value> {
    let mut fields = plain_fields();
    fields.push(("env", variables()));
    fields.push(("readinessProbe", action()));
    fields.push(("livenessProbe", action()));
    fields.push((
        "lifecycle",
        action()
            .prop_map(|action| json!({"preStop": action}))
            .boxed(),
    ));
    some_of(fields)
        .prop_map(move |mut container| {
            container["name"] = json!(name);
            container
        })
        .boxed()
}

/// Containers with names that differ between both lists, in any order.
fn containers() -> BoxedStrategy<(Value, Value)> {
    let names = ["a", "b", "istio-proxy", "istio-init", "enable-core-dump"];
    let each: Vec<_> = names
        .into_iter()
        .map(|name| (container(name), 0..4_u8, any::<u32>()))
        .collect();
    each.prop_map(|each| {
        let mut each = each;
        each.sort_by_key(|(_, _, order)| *order);
        let pick = |wanted: u8| -> Value {
            each.iter()
                .filter(|(_, place, _)| *place == wanted)
                .map(|(container, _, _)| container.clone())
                .collect()
        };
        (pick(0), pick(1))
    })
    .boxed()
}

fn pods() -> impl Strategy<Value = Value> {
    let text =
        |values: &[&str]| one_of(&values.iter().map(|value| json!(value)).collect::<Vec<_>>());
    let annotations = some_of(vec![
        (
            "sidecar.istio.io/nativeSidecar",
            text(&["true", "false", "odd"]),
        ),
        (
            "status.sidecar.istio.io/port",
            text(&["15020", "15099", "0"]),
        ),
        (
            "sidecar.istio.io/rewriteAppHTTPProbers",
            text(&["true", "false"]),
        ),
        ("prometheus.io/port", text(&["8080", "15020", "15099"])),
        ("prometheus-io/path", text(&["/x"])),
        (
            "prometheus.istio.io/scrape-targets",
            text(&["8080,9090:/m", ":"]),
        ),
        (
            "proxy.istio.io/config",
            text(&[
                "concurrency: 3",
                "holdApplicationUntilProxyStarts: true",
                "proxyMetadata: {A: 'b: c'}",
                "statusPort: 15099",
            ]),
        ),
        (
            "sidecar.istio.io/interceptionMode",
            text(&["TPROXY", "NONE"]),
        ),
        (
            "sidecar.istio.io/status",
            text(&[
                "{}",
                "x",
                "{\"containers\":[\"a\"],\"initContainers\":null}",
            ]),
        ),
        ("kubectl.kubernetes.io/default-container", text(&["b"])),
    ]);
    let labels = some_of(vec![
        ("app", text(&["web", "yes"])),
        ("topology.istio.io/network", text(&["n2", ""])),
    ]);
    let volumes = one_of(&[
        json!(null),
        json!([{"name": "data", "emptyDir": {}}]),
        json!([{"name": "istio-envoy", "configMap": {"name": "x"}}, {"name": "z"}]),
    ]);
    (annotations, labels, containers(), volumes, any::<bool>()).prop_map(|(annotations, labels, (main, init), volumes, named)| {
        let mut metadata = Map::from_iter([("annotations".to_owned(), annotations), ("labels".to_owned(), labels)]);
        if named {
            metadata.insert("name".to_owned(), json!("web"));
        }
        json!({"metadata": metadata, "spec": {"containers": main, "initContainers": init, "volumes": volumes, "future": [null, 1.5]}})
    })
}

fn anything() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "initContainers",
        "name",
        "annotations",
        "labels",
        "env",
        "volumes",
        "sidecar.istio.io/status",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z{}\":]{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    // Where a failure is worth keeping, it becomes a case.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn injecting_an_injected_pod_changes_nothing(pod in pods(), config_idx in 0..4_usize) {
        let config = &CONFIGS[config_idx];
        if let Some(once) = run(config, &pod) {
            let twice = run(config, &once);
            let changes = patch::diff(&once, twice.as_ref().unwrap_or(&Value::Null));
            prop_assert!(changes.is_empty(), "{}", serde_json::to_string_pretty(&changes).expect("plain data"));
        }
    }

    #[test]
    fn the_patch_applies_strictly_and_keeps_what_is_not_known(pod in pods(), config_idx in 0..4_usize) {
        if let Some(injected) = run(&CONFIGS[config_idx], &pod) {
            let mut patched = pod.clone();
            prop_assert_eq!(patch::apply(&mut patched, &patch::diff(&pod, &injected)), Ok(()));
            prop_assert_eq!(&patched, &injected);
            prop_assert_eq!(&injected["spec"]["future"], &pod["spec"]["future"]);
        }
    }

    #[test]
    fn no_container_of_the_author_is_lost(pod in pods(), config_idx in 0..4_usize) {
        let names = |pod: &Value| {
            let lists = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default());
            let mut names: Vec<_> = lists.concat().iter().map(|container| container["name"].to_string()).collect();
            names.sort();
            names
        };
        if let Some(injected) = run(&CONFIGS[config_idx], &pod) {
            let after = names(&injected);
            let mut unique = after.clone();
            unique.dedup();
            prop_assert_eq!(&unique, &after, "a container is there twice");
            for name in names(&pod) {
                prop_assert!(after.contains(&name), "{name} is gone");
            }
        }
    }

    #[test]
    fn injection_adds_nothing_that_an_api_server_refuses(pod in pods(), config_idx in 0..4_usize) {
        let before = testkit::pod::problems(&pod);
        if let Some(injected) = run(&CONFIGS[config_idx], &pod) {
            let mut after = testkit::pod::problems(&injected);
            after.retain(|problem| !before.contains(problem));
            prop_assert!(after.is_empty(), "{after:?}");
        }
    }

    #[test]
    fn merging_nothing_changes_nothing(pod in pods()) {
        for nothing in [json!({}), json!({"spec": {}}), json!({"metadata": {"labels": {}}})] {
            let mut merged = pod.clone();
            merge::pod(&mut merged, nothing, Directives::Obey).expect("there is no directive");
            prop_assert_eq!(&merged, &pod);
        }
    }

    #[test]
    fn merging_twice_is_merging_once(pod in pods(), patch in pods()) {
        for directives in [Directives::Obey, Directives::Ignore] {
            let mut once = pod.clone();
            if merge::pod(&mut once, patch.clone(), directives).is_err() {
                continue;
            }
            let mut twice = once.clone();
            prop_assert_eq!(merge::pod(&mut twice, patch.clone(), directives), Ok(()));
            prop_assert_eq!(&twice, &once);
        }
    }

    #[test]
    fn directives_delete_and_replace(pod in pods()) {
        let named = |pod: &Value| pod["spec"]["containers"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "a"));
        let mut merged = pod.clone();
        let delete = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}], "volumes": null}});
        prop_assert_eq!(merge::pod(&mut merged, delete, Directives::Obey), Ok(()));
        prop_assert!(!named(&merged), "the container is gone");
        prop_assert_eq!(merged["spec"].get("volumes"), None);
        let replace = json!({"metadata": {"labels": {"$patch": "replace", "new": "1"}}});
        prop_assert_eq!(merge::pod(&mut merged, replace, Directives::Obey), Ok(()));
        prop_assert_eq!(&merged["metadata"]["labels"], &json!({"new": "1"}));
    }

    #[test]
    fn anything_is_injected_skipped_or_refused(pod in anything(), config_idx in 0..4_usize) {
        let _ = run(&CONFIGS[config_idx], &pod);
    }

    #[test]
    fn any_text_is_a_configuration_or_is_refused(
        config in "((policy|templates|template|aliases|defaultTemplates): ?|[a-z\\[\\]{} :'|-]{0,6}|\n {0,4}|\\{\\{|\\}\\}|\\.Spec){0,20}",
        values in "[a-z:{}\\[\\] \n-]{0,20}",
        mesh in "((defaultConfig|proxyListenPort|trustDomain): ?|[a-z0-9:{} \n]{0,6}){0,5}",
    ) {
        let [config, values, mesh] = [&config, &values, &mesh].map(|text| Text { name: "test", text });
        if let Ok(config) = Config::load(&Sources { config, values, mesh }, Options::default()) {
            let _ = run(&config, &json!({"spec": {"containers": [{"name": "web"}]}}));
        }
    }
}

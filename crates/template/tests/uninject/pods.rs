//! Pods as authors write them, in all that an injection touches and beside it, and records that none wrote.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn one_of(values: Value) -> BoxedStrategy<Value> {
    let Value::Array(values) = values else {
        panic!("a list of values")
    };
    prop::sample::select(values).boxed()
}

/// Some of the fields, each with one of its values; `{}` if there are none.
fn some_of(fields: &Value) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .as_object()
        .expect("fields")
        .iter()
        .map(|(key, values)| {
            let key = key.clone();
            prop::option::of(one_of(values.clone()))
                .prop_map(move |value| value.map(|value| (key.clone(), value)))
        })
        .collect();
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
        .boxed()
}

fn handlers() -> Value {
    json!([
        {"httpGet": {"path": "/", "port": 80, "scheme": "HTTPS"}, "timeoutSeconds": 3},
        {"httpGet": {"port": 81, "host": "h", "httpHeaders": [{"name": "A", "value": "b"}]}},
        {"httpGet": {"path": "/p", "port": "http"}, "periodSeconds": 1},
        {"httpGet": {"port": "http"}, "tcpSocket": {"port": 5}},
        {"httpGet": {"port": 15020, "path": "/app-health/a/readyz"}},
        {"tcpSocket": {"port": "80"}},
        {"tcpSocket": {"port": 80, "host": ""}, "timeoutSeconds": 0},
        {"grpc": {"port": 80}},
        {"grpc": {"port": 9, "service": null}},
        {"grpc": {"port": 9, "service": "s"}},
        {"exec": {"command": ["true"]}},
        {},
        null,
    ])
}

fn container(name: &'static str) -> BoxedStrategy<Value> {
    let lifecycles: Vec<Value> = handlers()
        .as_array()
        .expect("a list")
        .iter()
        .map(|handler| json!({"preStop": handler, "postStart": {"sleep": {"seconds": 1}}}))
        .collect();
    some_of(&json!({
        "image": ["auto", "x", ""],
        "args": [[], ["-u", "1"], null],
        "env": [[], null, [{"name": "A", "value": ""}, {"name": "Z", "value": "1"}], [{"name": "B"}, {"name": "B"}]],
        "ports": [
            [{"name": "http", "containerPort": 80}],
            [{"name": "", "containerPort": 80}, {"name": "http", "containerPort": 81}],
            [{"containerPort": 15090, "hostPort": 0}],
            [],
        ],
        "readinessProbe": handlers(),
        "livenessProbe": handlers(),
        "startupProbe": handlers(),
        "lifecycle": lifecycles,
        "resources": [{}, {"limits": {"cpu": "3000m"}}, null],
        "securityContext": [{}, {"runAsUser": 7, "privileged": false}, null],
        "volumeMounts": [[], [{"name": "data", "mountPath": "/data"}, {"name": "istio-envoy", "mountPath": "/x", "readOnly": false}]],
        "restartPolicy": ["Always"],
        "future": [null, {"x": [1.5]}],
    }))
    .prop_map(move |mut container| {
        container["name"] = json!(name);
        container
    })
    .boxed()
}

/// At least `c` among the ordinary ones; the others anywhere and in any order.
fn containers() -> BoxedStrategy<(Vec<Value>, Vec<Value>)> {
    let names = ["a", "b", "istio-proxy", "istio-init", "setup", "helper"];
    let each: Vec<_> = names
        .into_iter()
        .map(|name| (container(name), 0..5_u8, any::<u32>()))
        .chain([(container("c"), 0..1_u8, any::<u32>())])
        .collect();
    each.prop_map(|mut each| {
        each.sort_by_key(|(_, _, order)| *order);
        let pick = |wanted| {
            let picked = each.iter().filter(|(_, list, _)| *list == wanted);
            picked.map(|(container, _, _)| container.clone()).collect()
        };
        (pick(0), pick(1))
    })
    .boxed()
}

fn labels() -> BoxedStrategy<Value> {
    some_of(&json!({
        "app": ["web", "-a.b_"],
        "app.kubernetes.io/name": ["", "name"],
        "version": ["v1"],
        "security.istio.io/tlsMode": ["istio", "disabled"],
        "service.istio.io/canonical-name": ["web", "other", ""],
        "service.istio.io/canonical-revision": ["latest", "v1", "v2"],
        "topology.istio.io/network": ["n1", "n2", ""],
        "added": ["yes", "no"],
    }))
}

fn annotations() -> BoxedStrategy<Value> {
    some_of(&json!({
        "istio.io/rev": ["default", "canary"],
        "kubectl.kubernetes.io/default-container": ["a", "c", "istio-proxy"],
        "kubectl.kubernetes.io/default-logs-container": ["c"],
        "prometheus.io/port": ["9000", "15020"],
        "prometheus.io/path": ["/m", "/stats/prometheus"],
        "prometheus.io/scrape": ["true", "false"],
        "prometheus_io_path": ["/n"],
        "prometheus.istio.io/scrape-targets": ["8080:/metrics,9090:/m", "8080", ":"],
        "sidecar.istio.io/rewriteAppHTTPProbers": ["true", "false"],
        "sidecar.istio.io/nativeSidecar": ["true", "false"],
        "sidecar.istio.io/interceptionMode": ["TPROXY", "NONE"],
        "status.sidecar.istio.io/port": ["15099", "0"],
        "proxy.istio.io/config": ["holdApplicationUntilProxyStarts: true", "concurrency: 3"],
        "sidecar.istio.io/status": ["damaged"],
        "added": ["yes", "no"],
        "note": ["mine"],
    }))
}

/// A map that may also be absent, null or empty.
fn or_nothing(map: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![
        6 => map.prop_map(Some),
        1 => Just(Some(Value::Null)),
        1 => Just(None),
    ]
    .boxed()
}

pub(crate) fn pods() -> impl Strategy<Value = Value> {
    let metadata = (
        some_of(
            &json!({"name": ["web"], "finalizers": [["mine"], []], "creationTimestamp": [null]}),
        ),
        or_nothing(labels()),
        or_nothing(annotations()),
    );
    let spec = some_of(&json!({
        "volumes": [null, [], [{"name": "data", "emptyDir": {}}, {"name": "z"}], [{"name": "istio-envoy", "configMap": {"name": "x"}}, {"name": "certs"}]],
        "imagePullSecrets": [null, [], [{"name": "pull"}], [{"name": "own"}, {"name": "pull", "future": 1}]],
        "securityContext": [null, {}, {"fsGroup": 5}, {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}],
        "dnsConfig": [{"searches": ["x"]}, {}],
        "dnsPolicy": ["Default"],
        "hostUsers": [true, false],
        "nodeSelector": [{"zone": "a"}, {}, {"mesh": "true"}],
        "tolerations": [[], [{"key": "mine"}]],
        "terminationGracePeriodSeconds": [0, 30],
        "serviceAccountName": ["", "s"],
        "future": [null, 1.5],
    }));
    (metadata, spec, containers(), any::<bool>()).prop_map(
        |((mut metadata, labels, annotations), mut spec, (main, init), has_init)| {
            for (field, map) in [("labels", labels), ("annotations", annotations)] {
                if let Some(map) = map {
                    metadata[field] = map;
                }
            }
            spec["containers"] = main.into();
            if has_init || !init.is_empty() {
                spec["initContainers"] = init.into();
            }
            let mut pod = Map::from_iter([("spec".to_owned(), spec)]);
            if metadata != json!({"name": "web"}) {
                pod.insert("metadata".to_owned(), metadata);
            }
            Value::Object(pod)
        },
    )
}

/// Records that an injection may or may not have written.
pub(crate) fn records() -> impl Strategy<Value = Value> {
    let names = || {
        one_of(json!([
            null,
            [],
            ["web"],
            ["istio-proxy"],
            ["web", "db", "istio-proxy", "helper"],
            5
        ]))
    };
    let step = || {
        one_of(json!([
            "",
            "/",
            "/spec",
            "/spec/containers",
            "/spec/containers/web",
            "/spec/containers/db/name",
            "/metadata/annotations/x",
            "/spec/volumes",
            "x"
        ]))
    };
    let value = || one_of(json!([null, [], {}, "x", [{"name": "web"}], {"name": "istio-proxy"}]));
    let set = prop::collection::vec((step(), value()), 0..3);
    let remove = prop::collection::vec(step(), 0..3);
    let order = prop::collection::vec((step(), names()), 0..2);
    (names(), names(), names(), prop::option::of((set, remove, order))).prop_map(
        |(containers, init, volumes, restore)| {
            let mut record = json!({"containers": containers, "initContainers": init, "volumes": volumes, "revision": "default"});
            if let Some((set, remove, order)) = restore {
                let map = |steps: Vec<(Value, Value)>| -> Map<String, Value> {
                    let steps = steps.into_iter();
                    steps.map(|(path, value)| (path.as_str().unwrap_or_default().to_owned(), value)).collect()
                };
                record["restore"] = json!({"set": map(set), "remove": remove, "order": map(order)});
            }
            record
        },
    )
}

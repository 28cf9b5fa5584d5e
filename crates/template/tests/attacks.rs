//! What a pod's author writes is data: it ends in one scalar or in a refusal that names it.
//!
//! Each attack runs against the shipped template and against templates that paste values into YAML in every way that there is, none of them careful.
//! The measure is always the same pod with something harmless in the place of the attack.

use std::{collections::BTreeMap, error::Error as _, fs, path::Path, sync::LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};
use template::{
    Config, Error, Namespace, NativeSidecars, Options, Outcome, Request, Sources, Text, inject,
};

/// Ways to paste a value; `@` stands for it.
const PASTES: &[(&str, &str)] = &[
    ("plain", "value: @"),
    ("double quotes", "value: \"@\""),
    ("single quotes", "value: '@'"),
    ("in a word", "value: a@b"),
    ("in a flow list", "args: [a, @, b]"),
    ("in a flow map", "extra: {a: @}"),
    ("in quotes in a flow list", "args: [\"@\"]"),
    ("as an item", "args:\n      - @"),
    ("as a key", "extra:\n        @: x"),
    ("as a key in quotes", "extra:\n        \"@\": x"),
    ("in a literal block", "value: |\n        @"),
    ("in a folded block", "value: >-\n        @"),
    ("in a comment", "value: x # @"),
    ("after a tag", "value: !!str @"),
];

/// Texts that mean something to YAML, to templates, to shells or to nobody.
const TEXTS: &[&str] = &[
    "x\n  - name: evil\n    image: evil",
    "x\n    - name: evil",
    "x\n---\nspec: {}",
    "---",
    "...",
    "--- evil",
    "%YAML 1.1\n---",
    "x\"\n      command: [\"evil\"]",
    "x\", \"--privileged",
    "x'\n      command: ['evil']",
    "x', 'y",
    "x\u{85}      command: evil",
    "x\u{2028}      command: evil",
    "x\u{2029}command: evil",
    "x\r      command: evil",
    "x\r\n      command: evil",
    "x\tcommand: evil",
    "\tx",
    "x # comment",
    "#",
    "a: b",
    "a:",
    ": a",
    "?",
    "? a",
    "- a",
    "-",
    "--",
    "- - a",
    "a, b",
    "a,b",
    ",",
    "{a: b}",
    "[a, b]",
    "]",
    "}",
    "], evil: [x",
    "}, evil: {x: y",
    "&anchor x",
    "*anchor",
    "<<",
    "<<: *anchor",
    "!!binary aGk=",
    "!!map {}",
    "!evil x",
    "|",
    ">-",
    "@x",
    "`x`",
    "%x",
    "{{ .Values }}",
    "{{ end }}",
    "[[ .Spec ]]",
    "$(POD_NAME)",
    "$patch",
    "\\",
    "\\\"",
    "\\x41",
    "\\n- evil",
    "\\u0022, evil: \\u0022",
    "\0",
    "\u{1}\u{7}\u{8}\u{1b}[31m",
    "\u{7f}",
    "\u{feff}x",
    "\u{fffe}",
    "\u{10fe0a}- evil",
    "\u{10fe22}, evil: \u{10fe22}",
    "null",
    "~",
    "Null",
    " ",
    "  x",
    "x ",
    "\n",
    "\n\n",
    "x y --flag",
    "--flag=x",
    "1e999999",
    ".inf",
    "0x1p-3",
    "=",
    "true",
];

fn config(template: &str) -> Config {
    let indented = template.replace('\n', "\n    ");
    load(
        &format!("policy: enabled\ntemplates:\n  sidecar: |\n    {indented}\n"),
        "{}",
        "{}",
    )
}

fn load(config: &str, values: &str, mesh: &str) -> Config {
    let text = |name, text| Text { name, text };
    let sources = Sources {
        config: text("config", config),
        values: text("values", values),
        mesh: text("mesh", mesh),
    };
    let options = Options {
        native_sidecars: NativeSidecars::Always,
        ..Options::default()
    };
    Config::load(&sources, options).expect("the configuration compiles")
}

static SHIPPED: LazyLock<Config> = LazyLock::new(|| {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let read = |file: &str| fs::read_to_string(chart.join(file)).expect("the chart ships it");
    load(
        &read("files/config"),
        &read("values.yaml"),
        &read("files/mesh"),
    )
});

/// A template that pastes what `action` gives.
fn naive(paste: &str, action: &str) -> Config {
    let paste = paste.replace('@', action);
    config(&format!(
        "spec:\n  containers:\n  - name: istio-proxy\n    image: agent\n    odd:\n    - name: A\n      {paste}"
    ))
}

static NAIVE: LazyLock<Vec<(String, Config)>> = LazyLock::new(|| {
    let named = PASTES.iter().map(|(name, paste)| {
        let action = "{{ index .ObjectMeta.Annotations `example.com/a` }}";
        ((*name).to_owned(), naive(paste, action))
    });
    named.collect()
});

fn run(config: &Config, pod: &Value) -> Result<Value, Error> {
    let request = Request {
        pod,
        namespace: &Namespace::named("shop"),
        owner: None,
        environment: &BTreeMap::new(),
    };
    match inject(config, &request)? {
        Outcome::Injected { pod, .. } => Ok(pod),
        Outcome::Skipped { reason, .. } => panic!("skipped: {reason}"),
    }
}

/// Everything about a value but the content of its scalars, and the keys below `extra`, which templates paste.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(map) => {
            let entry = |(key, item): (&String, &Value)| match item.as_object() {
                Some(keys) if key == "extra" => (key.clone(), keys.values().map(shape).collect()),
                _ => (key.clone(), shape(item)),
            };
            Value::Object(map.iter().map(entry).collect())
        }
        _ => Value::from("scalar"),
    }
}

fn annotated(key: &str, value: &str) -> Value {
    json!({"metadata": {"name": "web", "annotations": {key: value}}, "spec": {"containers": [{"name": "web", "image": "web"}]}})
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The shape of a harmless pod.
#[track_caller]
fn expected(config: &Config, harmless: &Value) -> Value {
    shape(&run(config, harmless).expect("the harmless pod can be injected"))
}

/// Either the structure that the harmless pod has, or a refusal that says where.
#[track_caller]
fn check(name: &str, config: &Config, attack: &Value, expected: &Value, place: &str) {
    match run(config, attack) {
        Ok(pod) => assert_eq!(shape(&pod), *expected, "{name}"),
        Err(error) => {
            let message = chain(&error);
            assert!(message.contains(place), "{name}: {message}");
            assert!(message.len() < 1000, "{name}: {} bytes", message.len());
            assert!(!message.contains(char::is_control), "{name}: {message:?}");
        }
    }
}

#[test]
fn a_pasted_annotation_is_one_scalar_or_refused() {
    let key = "example.com/a";
    for (name, config) in NAIVE.iter() {
        let expected = expected(config, &annotated(key, "x"));
        for text in TEXTS {
            let name = format!("{text:?} {name}");
            check(&name, config, &annotated(key, text), &expected, key);
        }
    }
}

/// Annotations that the shipped template reads, each with a value that fits.
const ANNOTATIONS: &[(&str, &str)] = &[
    ("sidecar.istio.io/proxyImage", "registry.example/agent:1"),
    ("sidecar.istio.io/proxyImageType", "debug"),
    ("sidecar.istio.io/logLevel", "info"),
    (
        "sidecar.istio.io/componentLogLevel",
        "misc:error,upstream:debug",
    ),
    ("sidecar.istio.io/agentLogLevel", "default:info"),
    ("sidecar.istio.io/interceptionMode", "REDIRECT"),
    ("sidecar.istio.io/nativeSidecar", "odd"),
    ("sidecar.istio.io/proxyCPU", "1"),
    ("sidecar.istio.io/proxyMemoryLimit", "1Gi"),
    ("status.sidecar.istio.io/port", "15099"),
    ("readiness.status.sidecar.istio.io/periodSeconds", "3"),
    (
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        "10.0.0.0/8",
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        "10.0.0.0/8",
    ),
    ("traffic.sidecar.istio.io/includeInboundPorts", "80"),
    ("traffic.sidecar.istio.io/excludeInboundPorts", "80"),
    ("traffic.sidecar.istio.io/includeOutboundPorts", "80"),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", "80"),
    ("traffic.sidecar.istio.io/excludeInterfaces", "eth1"),
    ("istio.io/reroute-virtual-interfaces", "eth1"),
    ("kubectl.kubernetes.io/default-container", "web"),
];

#[test]
fn an_annotation_that_the_shipped_template_reads_is_one_scalar_or_refused() {
    for (key, fits) in ANNOTATIONS {
        let expected = expected(&SHIPPED, &annotated(key, fits));
        for text in TEXTS {
            // Blank lists are lists, and then there is no argument for them.
            if text.trim().is_empty() {
                continue;
            }
            let name = format!("{text:?} in {key}");
            check(&name, &SHIPPED, &annotated(key, text), &expected, key);
        }
    }
}

/// A pod with a text in every field that templates read.
fn worded(label: &str, text: &str) -> Value {
    json!({
        "metadata": {
            "generateName": format!("{text}-"),
            "labels": {label: text, "pod-template-hash": "abc"},
            "ownerReferences": [{"apiVersion": text, "kind": text, "name": format!("{text}-abc"), "controller": true}],
        },
        "spec": {
            "serviceAccountName": text,
            "hostname": text,
            "containers": [{"name": text, "image": text, "ports": [{"name": text, "containerPort": 80, "protocol": text}], "env": [{"name": text, "value": text}]}],
        },
    })
}

#[test]
fn names_labels_owners_and_ports_are_scalars_in_the_shipped_pod() {
    for label in ["app", "service.istio.io/workload-name"] {
        let expected = expected(&SHIPPED, &worded(label, "x"));
        for text in TEXTS {
            let name = format!("{text:?} in {label}");
            check(&name, &SHIPPED, &worded(label, text), &expected, "label");
        }
    }
}

/// A template that pastes names, labels, owners and metadata of the proxy without care, as older templates do.
static CARELESS: LazyLock<Config> = LazyLock::new(|| {
    config(
        "metadata:
  labels:
    a: {{ index .ObjectMeta.Labels `app` }}
  annotations: {
    b: \"{{ (index .Spec.Containers 0).Name }}\",
  }
spec:
  containers:
  - name: istio-proxy
    image: agent
    args:
    - --owner={{ .DeploymentMeta.Name }}
    - --kind={{ toLower .TypeMeta.Kind }}
    - --account={{ .Spec.ServiceAccountName }}
    env:
    - name: PORTS
      value: '{{ range .Spec.Containers }}{{ range .Ports }}{{ structToJSON . }}{{ end }}{{ end }}'
    {{- range $key, $value := .ProxyConfig.ProxyMetadata }}
    - name: {{ $key }}
      value: \"{{ $value }}.\"
    {{- end }}
    volumeMounts:
    {{- range $name, $mount := fromJSON (index .ObjectMeta.Annotations `sidecar.istio.io/userVolumeMount` | default `{}`) }}
    - name: \"{{ $name }}\"
      {{ toYaml $mount | indent 6 }}
    {{- end }}
    ports:
    {{- range split `,` (index .ObjectMeta.Annotations `example.com/ports` | default `1`) }}
    - containerPort: {{ . }}
    {{- end }}",
    )
});

/// A pod with `text` in one field and something harmless in the others.
fn with(pointer: &str, text: &str) -> Value {
    let mut pod = json!({
        "metadata": {
            "generateName": "web-",
            "labels": {"app": "web"},
            "annotations": {},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true}],
        },
        "spec": {"serviceAccountName": "web", "containers": [{"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 80}]}]},
    });
    *pod.pointer_mut(pointer).expect("a field of the pod") = Value::from(text);
    pod
}

#[test]
fn names_labels_owners_and_ports_are_scalars_in_a_careless_template_or_refused() {
    for (pointer, place) in [
        ("/metadata/labels/app", "label app"),
        ("/spec/containers/0/name", "field spec.containers[0].name"),
        (
            "/spec/containers/0/ports/0/name",
            "field spec.containers[0].ports[0].name",
        ),
        ("/spec/serviceAccountName", "field spec.serviceAccountName"),
        (
            "/metadata/ownerReferences/0/name",
            "field metadata.ownerReferences[0].name",
        ),
        (
            "/metadata/ownerReferences/0/kind",
            "field metadata.ownerReferences[0].kind",
        ),
    ] {
        let expected = expected(&CARELESS, &with(pointer, "x"));
        for text in TEXTS {
            // YAML takes it for a boolean, which no label is.
            if *text != "true" {
                let name = format!("{text:?} in {pointer}");
                check(&name, &CARELESS, &with(pointer, text), &expected, place);
            }
        }
    }
}

#[test]
fn proxy_metadata_is_variables_and_their_values() {
    let key = "proxy.istio.io/config";
    let metadata = |name: &str, value: &str| json!({"proxyMetadata": {name: value}}).to_string();
    for config in [&*CARELESS, &*SHIPPED] {
        let expected = expected(config, &annotated(key, &metadata("A", "x")));
        for text in TEXTS {
            check(
                &format!("value {text:?}"),
                config,
                &annotated(key, &metadata("A", text)),
                &expected,
                key,
            );
            check(
                &format!("name {text:?}"),
                config,
                &annotated(key, &metadata(text, "x")),
                &expected,
                key,
            );
        }
    }
}

#[test]
fn a_proxy_config_that_tries_the_reader_is_refused_in_a_short_message() {
    let nested = |depth: usize| format!("{}{}", "{a: ".repeat(depth), "}".repeat(depth));
    for text in [
        "concurrency: 1\nconcurrency: 2".to_owned(),
        "concurrency: 99999999999999999999999".to_owned(),
        "statusPort: 1e9".to_owned(),
        "a: &a [x]\nproxyMetadata: *a".to_owned(),
        "proxyMetadata: {A: 1}".to_owned(),
        "--- {}\n--- {}".to_owned(),
        format!("concurrency: {}", "9".repeat(100_000)),
        format!("{}: 1\n{0}: 2", "a".repeat(100_000)),
        nested(100_000),
    ] {
        let error =
            run(&SHIPPED, &annotated("proxy.istio.io/config", &text)).expect_err("it is refused");
        let message = chain(&error);
        assert!(
            message.contains("proxy.istio.io/config") && message.len() < 1000,
            "{message}"
        );
    }
}

#[test]
fn lists_and_json_that_templates_take_apart_on_purpose_are_theirs() {
    let mounts = json!({"data": {"mountPath": "/a: b\n- c"}, "more": {"mountPath": "/x", "subPath": "\"'#{{"}}).to_string();
    let mut pod = annotated("sidecar.istio.io/userVolumeMount", &mounts);
    pod["metadata"]["annotations"]["example.com/ports"] = json!("80,443,8080");
    pod["metadata"]["labels"] = json!({"app": "web"});
    let injected = run(&CARELESS, &pod).expect("nothing in it is wrong");
    let sidecar = injected["spec"]["containers"]
        .as_array()
        .and_then(|containers| containers.last())
        .expect("a sidecar");
    assert_eq!(
        sidecar["volumeMounts"],
        json!([{"name": "data", "mountPath": "/a: b\n- c"}, {"name": "more", "mountPath": "/x", "subPath": "\"'#{{"}])
    );
    assert_eq!(
        sidecar["ports"],
        json!([{"containerPort": 80}, {"containerPort": 443}, {"containerPort": 8080}])
    );
    for evil in [
        "{\"data\": {\"$patch\": \"delete\"}}",
        "{\"a\\\"\\n    - name: b\": {}}",
        "{\"data\": {\"name\": \"b\"}}",
    ] {
        let error = run(
            &CARELESS,
            &annotated("sidecar.istio.io/userVolumeMount", evil),
        );
        assert!(error.is_err(), "{evil}");
    }
}

fn names(pod: &Value) -> Vec<&str> {
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    lists
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

#[test]
fn a_forged_record_neither_adds_nor_removes_nor_hides_a_container() {
    let plain = run(&SHIPPED, &annotated("example.com/a", "x")).expect("a plain pod");
    for (key, record) in [
        (
            "proxy.istio.io/overrides",
            json!({"containers": [{"name": "evil", "image": "evil", "securityContext": {"privileged": true}}]}),
        ),
        (
            "proxy.istio.io/overrides",
            json!({"containers": [{"name": "web", "image": "evil"}], "positions": {"web": {"init": true, "index": 99}}}),
        ),
        (
            "sidecar.istio.io/status",
            json!({"containers": ["web"], "initContainers": ["web"], "volumes": ["x"]}),
        ),
        (
            "sidecar.istio.io/status",
            json!({"containers": ["istio-proxy", "istio-init"], "annotations": {"a": "b: c"}, "labels": {"app": "\n- x"}}),
        ),
        (
            "sidecar.istio.io/status",
            json!({"initContainers": null, "revision": "x\n- y"}),
        ),
        ("sidecar.istio.io/status", json!(["x"])),
    ] {
        let record = record.to_string();
        let injected = run(&SHIPPED, &annotated(key, &record)).expect(&record);
        assert_eq!(names(&injected), names(&plain), "{record}");
        assert_eq!(
            injected["spec"]["containers"][0]["image"], "web",
            "{record}"
        );
    }
    let hidden = json!({"annotations": {"sidecar.istio.io/logLevel": "x\n- y"}}).to_string();
    let error =
        run(&SHIPPED, &annotated("sidecar.istio.io/status", &hidden)).expect_err("it is refused");
    assert!(
        error.to_string().contains("sidecar.istio.io/logLevel"),
        "{error}"
    );
}

#[test]
fn a_record_for_istio_init_gives_what_the_pod_could_say_openly_and_no_more() {
    let own =
        json!({"name": "istio-init", "resources": {}, "securityContext": {"privileged": true}});
    let recorded = annotated(
        "proxy.istio.io/overrides",
        &json!({"initContainers": [own]}).to_string(),
    );
    let mut open = annotated("example.com/a", "x");
    open["spec"]["initContainers"] = json!([own]);
    let [recorded, open] = [recorded, open].map(|pod| run(&SHIPPED, &pod).expect("an override"));
    assert_eq!(
        recorded["spec"]["initContainers"],
        open["spec"]["initContainers"]
    );
}

#[test]
fn odd_names_of_templates_are_refused_in_a_short_message() {
    for text in TEXTS.iter().filter(|text| !text.is_empty()) {
        let error = run(&SHIPPED, &annotated("inject.istio.io/templates", text))
            .expect_err("there is no such template");
        let message = error.to_string();
        assert!(
            message.contains("inject.istio.io/templates") && !message.contains(char::is_control),
            "{message:?}"
        );
    }
    let long = "x".repeat(1 << 20);
    let error = run(&SHIPPED, &annotated("inject.istio.io/templates", &long))
        .expect_err("there is no such template");
    assert!(error.to_string().len() < 1000);
}

#[test]
fn very_long_values_are_data_or_refused_in_a_short_message() {
    let key = "example.com/a";
    for text in [
        "x".repeat(1 << 20),
        "x\n".repeat(1 << 16),
        "- ".repeat(1 << 16),
        "[".repeat(1 << 16),
        "&a ".repeat(1 << 14),
    ] {
        for (name, config) in NAIVE.iter().take(3) {
            let expected = expected(config, &annotated(key, "x"));
            check(name, config, &annotated(key, &text), &expected, key);
        }
    }
}

fn refusing() -> Config {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let read = |file: &str| fs::read_to_string(chart.join(file)).expect("the chart ships it");
    let values = read("values.yaml");
    let refusing = values.replace("refuseCaptureBypass: false", "refuseCaptureBypass: true");
    assert_ne!(values, refusing, "the option is off as shipped");
    load(&read("files/config"), &refusing, &read("files/mesh"))
}

/// Pods that can step around the capture, and what a refusal says of each; their forged record hides their containers.
fn ways_around() -> Vec<(Value, [&'static str; 2])> {
    let spec = |spec: Value| {
        let mut pod = annotated(
            "sidecar.istio.io/status",
            "{\"containers\":[\"web\",\"setup\"]}",
        );
        let fields = spec.as_object().expect("fields").clone();
        pod["spec"].as_object_mut().expect("a spec").extend(fields);
        pod
    };
    let web = |context: Value| {
        spec(json!({"containers": [{"name": "web", "image": "web", "securityContext": context}]}))
    };
    let setup = json!({"name": "setup", "image": "x", "securityContext": {"runAsUser": 1337}});
    vec![
        (
            web(json!({"runAsUser": 1337})),
            ["\"web\"", "securityContext.runAsUser"],
        ),
        (
            web(json!({"runAsGroup": 1337})),
            ["\"web\"", "securityContext.runAsGroup"],
        ),
        (
            web(json!({"privileged": true})),
            ["\"web\"", "securityContext.privileged"],
        ),
        (
            web(json!({"capabilities": {"add": ["NET_ADMIN"]}})),
            ["\"web\"", "NET_ADMIN"],
        ),
        (
            web(json!({"capabilities": {"add": ["cap_net_raw"]}})),
            ["\"web\"", "cap_net_raw"],
        ),
        (
            spec(json!({"initContainers": [setup]})),
            ["\"setup\"", "runAsUser"],
        ),
        (
            spec(json!({"securityContext": {"runAsUser": 1337}})),
            ["\"web\"", "spec.securityContext.runAsUser"],
        ),
        (
            spec(json!({"hostPID": true})),
            ["spec.hostPID", "refuseCaptureBypass"],
        ),
        (
            spec(json!({"hostIPC": true})),
            ["spec.hostIPC", "refuseCaptureBypass"],
        ),
    ]
}

#[test]
fn a_pod_that_can_step_around_the_capture_is_refused_where_the_configuration_says_so() {
    let config = refusing();
    run(&config, &annotated("example.com/a", "x")).expect("an ordinary pod is injected");
    for (pod, parts) in ways_around() {
        let error = run(&config, &pod).expect_err("it is refused");
        assert!(matches!(error, Error::CaptureBypass { .. }), "{error}");
        let message = error.to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        run(&SHIPPED, &pod).expect("as shipped it is injected, with a warning");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_changes_the_structure(
        text in prop_oneof![any::<String>(), "[a-z\n\t \"':,#{}\\[\\]&*!|>%@`?~<\\\\-]{0,24}", "(x\n {0,8}(- )?(name|image): ?\"?[a-z]*){1,3}"],
        paste in 0..PASTES.len(),
    ) {
        let key = "example.com/a";
        let (_, config) = &NAIVE[paste];
        let expected = expected(config, &annotated(key, "x"));
        if let Ok(pod) = run(config, &annotated(key, &text)) {
            prop_assert!(text.is_empty() || shape(&pod) == expected, "{} {:?}", paste, text);
        }
        let label = |text: &str| with("/metadata/labels/app", text);
        let expected = run(&SHIPPED, &label("x")).expect("the harmless pod can be injected");
        if let Ok(pod) = run(&SHIPPED, &label(&text)) {
            prop_assert_eq!(shape(&pod), shape(&expected));
        }
    }
}

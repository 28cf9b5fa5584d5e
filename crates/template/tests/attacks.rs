//! What a pod's author writes is data: it ends in one scalar or in a refusal that names it.
//!
//! Each attack runs against the shipped template and against templates that paste values into YAML in every way that there is, none of them careful.
//! The measure is always the same pod with something harmless in the place of the attack.

use std::{collections::BTreeMap, error::Error as _, fs, path::Path, sync::LazyLock};

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

/// Either the same structure as the harmless pod has, or a refusal that says where.
#[track_caller]
fn check(name: &str, config: &Config, attack: &Value, harmless: &Value, place: &str) {
    let expected = run(config, harmless).expect("the harmless pod can be injected");
    match run(config, attack) {
        Ok(pod) => assert_eq!(shape(&pod), shape(&expected), "{name}"),
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
        for text in TEXTS {
            let name = format!("{text:?} {name}");
            check(
                &name,
                config,
                &annotated(key, text),
                &annotated(key, "x"),
                key,
            );
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
        for text in TEXTS {
            // Blank lists are lists, and then there is no argument for them.
            if text.trim().is_empty() {
                continue;
            }
            let name = format!("{text:?} in {key}");
            check(
                &name,
                &SHIPPED,
                &annotated(key, text),
                &annotated(key, fits),
                key,
            );
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
        for text in TEXTS {
            let name = format!("{text:?} in {label}");
            check(
                &name,
                &SHIPPED,
                &worded(label, text),
                &worded(label, "x"),
                "label",
            );
        }
    }
}

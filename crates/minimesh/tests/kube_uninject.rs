//! `minimesh kube-uninject` as a person runs it: the built program, files in and out, messages and exit status.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use template::yaml;

/// Documents of all kinds, with comments, and with spelling that nobody would choose twice.
const MANIFEST: &str = "# Everything of the shop.
{kind: Service,  apiVersion: v1, metadata: {name: web}} # as it is
--- # the pod
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, annotations: }
spec:
  initContainers: []
  containers:
  - {name: web, image: web, ports: [{name: http, containerPort: 80}], livenessProbe: {httpGet: {port: 80}}}
# after the pod
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shop}
spec:
  schedule: '@daily'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: report}, {name: istio-proxy, image: auto, args: [mine]}]}}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: db}, spec: {template: {metadata: {labels: {app: db, version: v1}}, spec: {containers: [{name: db, image: db}]}}}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {on: 'yes'}}
---
apiVersion: v1
kind: Pod
metadata: {name: host} # stays
spec: {hostNetwork: true, containers: [{name: host, image: host}]}
...
";

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends early closes the pipe, which is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What the shipped configuration makes of `input`.
fn injected(input: &str) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let file = |name| chart.join(name).display().to_string();
    let files = ["files/config", "values.yaml", "files/mesh"].map(file);
    let [config, values, mesh] = files.each_ref().map(String::as_str);
    let args = [
        "kube-inject",
        "-f",
        "-",
        "--injectConfigFile",
        config,
        "--valuesFile",
        values,
        "--meshConfigFile",
        mesh,
    ];
    let output = run(&args, input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn uninjected(input: &str) -> (String, String) {
    let output = run(&["kube-uninject", "-f", "-"], input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn objects(manifest: &str) -> Vec<Value> {
    let documents = yaml::documents(manifest);
    documents
        .iter()
        .map(|document| document.parse("manifest").unwrap())
        .collect()
}

#[test]
fn every_kind_comes_out_as_it_went_into_kube_inject() {
    let (back, warnings) = uninjected(&injected(MANIFEST));
    assert_eq!(objects(&back), objects(MANIFEST));
    assert_eq!(warnings, "");
    for kept in [
        "# Everything of the shop.\n{kind: Service,  apiVersion: v1, metadata: {name: web}} # as it is\n--- # the pod\n",
        "\n# after the pod\n---\n",
        "metadata: {name: host} # stays\nspec: {hostNetwork: true, containers: [{name: host, image: host}]}\n...\n",
    ] {
        assert!(back.contains(kept), "{kept:?} is not in: {back}");
    }
}

#[test]
fn what_was_not_injected_passes_through_byte_for_byte() {
    for manifest in [
        MANIFEST,
        "",
        "# only this",
        "a: [1,  2]\r\n---\nkind: Pod\n",
    ] {
        assert_eq!(uninjected(manifest), (manifest.to_owned(), String::new()));
    }
}

#[test]
fn what_the_api_server_and_others_added_since_stays() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web}]}\n";
    let add = |pod: &mut Value| {
        pod["metadata"]["uid"] = "5f".into();
        pod["spec"]["volumes"]
            .as_array_mut()
            .unwrap()
            .push(serde_json::json!({"name": "kube-api-access-x", "projected": {}}));
        pod["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
        pod["status"]["phase"] = "Running".into();
    };
    let mut read_back = objects(&injected(pod)).remove(0);
    add(&mut read_back);
    let mut expected = objects(pod).remove(0);
    expected["spec"]["volumes"] = serde_json::json!([]);
    add(&mut expected);
    let (back, _) = uninjected(&read_back.to_string());
    assert_eq!(objects(&back), [expected]);
}

#[test]
fn what_a_record_leaves_open_is_told() {
    let pod = r#"{apiVersion: v1, kind: Pod, metadata: {name: web, annotations: {sidecar.istio.io/status: '{"containers":["istio-proxy"],"imagePullSecrets":["pull"]}'}},
        spec: {containers: [{name: web}, {name: istio-proxy}], imagePullSecrets: [{name: pull}]}}"#;
    let (back, warnings) = uninjected(pod);
    assert!(!back.contains("istio"), "{back}");
    assert_eq!(
        warnings,
        "warning: Pod \"default/web\": if not minimesh injected it, compare with its source: image pull secret pull is removed, which the pod may have had before\n"
    );
}

#[test]
fn a_damaged_record_is_an_error_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.yaml");
    let out = path.to_str().unwrap();
    let damaged = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: {sidecar.istio.io/status: '{'}}\nspec: {containers: [{name: web}]}\n";
    for (input, parts) in [
        (
            damaged,
            &["Pod \"default/web\"", "sidecar.istio.io/status is damaged"][..],
        ),
        ("kind: [", &["standard input"]),
    ] {
        let output = run(&["kube-uninject", "-f", "-", "-o", out], input);
        assert_eq!(output.status.code(), Some(1));
        let message = text(&output.stderr);
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        assert!(!path.exists());
    }
    let output = run(&["kube-uninject", "-f", "-", "-o", out], MANIFEST);
    assert!(output.status.success());
    assert_eq!(fs::read_to_string(&path).unwrap(), MANIFEST);
    assert_eq!(run(&["kube-uninject"], "").status.code(), Some(2));
}

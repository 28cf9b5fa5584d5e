//! `minimesh why` as a person runs it, without a cluster: verdicts, reasons, both forms of the answer and the exit status.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use minimesh::why::catalogue;
use serde_json::Value;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: web, image: web}]}\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a command of `minimesh` on `input` with the shipped configuration.
fn run(command: &str, input: &str, args: &[&str]) -> Output {
    let chart = root().join("charts/minimesh");
    let mut child = Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args([command, "-f", "-"])
        .arg("--injectConfigFile")
        .arg(chart.join("files/config"))
        .arg("--valuesFile")
        .arg(chart.join("values.yaml"))
        .arg("--meshConfigFile")
        .arg(chart.join("files/mesh"))
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

/// The answers, and the exit status.
fn why(input: &str, args: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = run("why", input, &[&["-o", "json"], args].concat());
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let answers = answers.collect::<Result<_, _>>();
    let answers = answers.unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (answers, output.status.code())
}

#[track_caller]
fn check(input: &str, verdict: &str, reason: Option<&str>, status: i32) -> Value {
    let (answers, found) = why(input, &[]);
    let [answer] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!(answer["verdict"], verdict, "{answer}");
    assert_eq!(answer["reason"].as_str(), reason, "{answer}");
    assert_eq!(found, Some(status), "{answer}");
    if reason.is_some() {
        for field in ["message", "fix"] {
            assert!(!answer[field].as_str().unwrap().is_empty(), "{answer}");
        }
    }
    answer.clone()
}

fn surprises(answer: &Value) -> Vec<&str> {
    let all = answer["surprises"].as_array().unwrap();
    all.iter()
        .filter_map(|item| item["reason"].as_str())
        .collect()
}

/// The pod with `metadata` and `spec` added, both as YAML in one line.
fn pod(metadata: &str, spec: &str) -> String {
    POD.replace("namespace: shop", &format!("namespace: shop, {metadata}"))
        .replace("spec: {", &format!("spec: {{{spec} "))
}

#[test]
fn each_verdict_has_its_reason_and_exit_status() {
    check(POD, "would-be-injected", None, 0);
    for (metadata, spec, reason) in [
        ("", "hostNetwork: true,", "host-network"),
        ("", "os: {name: windows},", "windows"),
        (
            "labels: {sidecar.istio.io/inject: 'false'}",
            "",
            "opted-out-by-label",
        ),
        (
            "annotations: {sidecar.istio.io/inject: 'false'}",
            "",
            "opted-out-by-annotation",
        ),
        (
            "annotations: {kubernetes.io/config.mirror: x}",
            "",
            "mirror-pod",
        ),
    ] {
        check(&pod(metadata, spec), "not-injected", Some(reason), 3);
    }
    let system = POD.replace("shop", "kube-system");
    check(&system, "not-injected", Some("protected-namespace"), 3);
    let wrong = pod("annotations: {status.sidecar.istio.io/port: http}", "");
    let answer = check(&wrong, "refused", Some("refused"), 1);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("status.sidecar.istio.io/port")
    );
}

#[test]
fn what_is_surprising_is_told_of_pods_that_would_be_injected() {
    let odd = pod(
        "labels: {sidecar.istio.io/inject: 'yes'}, annotations: {sidecar.istio.io/logLevl: debug}",
        "dnsPolicy: None,",
    );
    let answer = check(&odd, "would-be-injected", None, 0);
    let found = surprises(&answer);
    assert_eq!(found, ["unclear-wish", "unknown-annotation", "dns-policy"]);
}

#[test]
fn a_label_on_the_workload_instead_of_its_pods_is_found() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {sidecar.istio.io/inject: 'false'}}\nspec: {template: {spec: {containers: [{name: web, image: web}]}}}\n";
    let answer = check(deployment, "would-be-injected", None, 0);
    assert_eq!(surprises(&answer), ["misplaced-on-owner"]);
}

#[test]
fn every_pod_of_a_file_is_told_and_one_that_is_not_injected_shows_in_the_status() {
    let out = pod("labels: {sidecar.istio.io/inject: 'false'}", "");
    let service = "apiVersion: v1\nkind: Service\n";
    let (answers, status) = why(&format!("{POD}---\n{service}---\n{out}"), &[]);
    let verdicts: Vec<_> = answers.iter().map(|answer| &answer["verdict"]).collect();
    assert_eq!(verdicts, ["would-be-injected", "not-injected"]);
    assert_eq!(status, Some(3));
    let output = run("why", service, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard input holds no pod"));
}

#[test]
fn an_injected_pod_is_known_and_compared_with_the_configuration() {
    let injected = text(&run("kube-inject", POD, &[]).stdout);
    let answer = check(&injected, "injected", None, 0);
    assert_eq!(surprises(&answer), [""; 0]);
    let old = injected.replace("minimesh/agent:", "minimesh/agent:0-of-old-");
    assert_ne!(old, injected);
    let answer = check(&old, "injected", None, 0);
    assert_eq!(surprises(&answer), ["stale-sidecar"]);
    let (answers, _) = why(&injected, &["-r", "canary"]);
    assert_eq!(surprises(&answers[0]), ["stale-sidecar"]);
}

#[test]
fn a_running_pod_without_sidecar_is_older_than_the_configuration() {
    let running = pod("uid: 1a2b", "");
    check(
        &running,
        "not-injected",
        Some("older-than-configuration"),
        3,
    );
}

#[test]
fn files_stand_in_for_the_cluster_when_selectors_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let webhooks = file(
        "webhooks",
        "kind: MutatingWebhookConfiguration\nmetadata: {name: injector}\nwebhooks:\n- name: namespace.sidecar-injector.istio.io\n  rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]\n  namespaceSelector: {matchLabels: {istio-injection: enabled}}\n",
    );
    let namespace = |labels: &str| {
        let text = format!("kind: Namespace\nmetadata: {{name: shop, labels: {{{labels}}}}}\n");
        file("namespace", &text)
    };
    let plain = namespace("");
    let args = [
        "--webhookConfigFile",
        &webhooks,
        "--namespace-object",
        &plain,
    ];
    let (answers, status) = why(POD, &args);
    assert_eq!(answers[0]["reason"], "not-labelled");
    assert_eq!(status, Some(3));
    let (answers, _) = why(&pod("", "hostNetwork: true,"), &args);
    assert_eq!(
        answers[0]["also"][0]["reason"], "host-network",
        "both are in the way"
    );
    namespace("istio-injection: enabled");
    let (answers, status) = why(POD, &args);
    assert_eq!(answers[0]["verdict"], "would-be-injected");
    assert_eq!(answers[0]["webhook"]["configuration"], "injector");
    assert_eq!(status, Some(0));
    let output = run("why", POD, &["--webhookConfigFile", &plain]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--webhookConfigFile"));
}

#[test]
fn the_text_says_what_is_so_why_and_what_to_do() {
    let output = run("why", &pod("", "hostNetwork: true,"), &[]);
    let said = text(&output.stdout);
    for part in [
        "Pod \"shop/web\" is not injected",
        "(host-network)",
        "to do:",
        "hostNetwork",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn one_subject_is_needed_and_no_more() {
    for args in [&[][..], &["web", "-f", "pod.yaml"]] {
        let status = Command::new(env!("CARGO_BIN_EXE_minimesh"))
            .arg("why")
            .args(args)
            .env_clear()
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2));
    }
}

#[test]
fn the_reference_page_lists_every_code_with_its_fix() {
    let page = fs::read_to_string(root().join("docs/reference/reasons.md")).unwrap();
    let listed: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .collect();
    let catalogue = catalogue();
    let all = [
        catalogue.not_asked,
        catalogue.not_injected,
        catalogue.surprises,
        catalogue.findings,
    ];
    let expected: Vec<_> = all.into_iter().flatten().collect();
    assert!(expected.len() >= 14);
    for ((code, fix), row) in expected.iter().zip(&listed) {
        let (first, last) = (row.first().unwrap(), row.last().unwrap());
        assert_eq!(*first, format!("| `{code}`"));
        assert_eq!(*last, format!("{fix} |"), "{code}");
    }
    assert_eq!(listed.len(), expected.len());
}

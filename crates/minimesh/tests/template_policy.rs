//! `minimesh template policy` as a program: what it prints, where, and what it refuses.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn policy(args: &[&str]) -> Output {
    let chart: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let home = tempfile::tempdir().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["template", "policy", "--native-sidecars", "true"])
        .arg("--injectConfigFile")
        .arg(chart.join("files/config"))
        .arg("--valuesFile")
        .arg(chart.join("values.yaml"))
        .arg("--meshConfigFile")
        .arg(chart.join("files/mesh"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}

#[test]
fn manifests_come_out_with_what_they_do_not_say_before_them_and_on_standard_error() {
    let output = policy(&[]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let unsaid = "annotations: not for a pod that has annotation proxy.istio.io/config";
    assert!(stdout.contains(&format!("# - {unsaid}")), "{stdout}");
    assert!(stderr.contains(unsaid), "{stderr}");
    for kind in [
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ] {
        assert!(stdout.contains(&format!("\nkind: {kind}\n")), "{kind}");
    }
    assert!(stdout.contains("apiVersion: admissionregistration.k8s.io/v1beta1\n"));
    assert!(stdout.contains("- istio-system\n"));
}

#[test]
fn flags_choose_version_namespaces_and_whether_to_refuse() {
    let output = policy(&[
        "-o",
        "json",
        "--api-version",
        "v1",
        "--namespace-selector",
        "mesh=policy",
        "--allow-unsupported",
    ]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let kinds: Vec<_> = answer["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|object| (object["kind"].as_str(), object["apiVersion"].as_str()))
        .collect();
    let version = Some("admissionregistration.k8s.io/v1");
    assert_eq!(
        kinds,
        [
            (Some("MutatingAdmissionPolicy"), version),
            (Some("MutatingAdmissionPolicyBinding"), version)
        ]
    );
    let selector =
        answer.pointer("/manifests/1/spec/matchResources/namespaceSelector/matchExpressions/0/key");
    assert_eq!(selector, Some(&Value::from("mesh")));
    assert_eq!(answer["unsupported"][0]["code"], "annotations");
}

#[test]
fn wrong_flags_are_named() {
    for (args, part) in [
        (["--api-version", "v2"], "--api-version"),
        (["--namespace-selector", "mesh"], "KEY=VALUE"),
        (["--platform", "openshift"], "OpenShift"),
    ] {
        let output = policy(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}

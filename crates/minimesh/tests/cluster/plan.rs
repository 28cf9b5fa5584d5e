//! `minimesh template plan` of what runs in a cluster.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::{Mesh, shipped, text};

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const PODS: &str = "/api/v1/namespaces/team/pods?limit=500";

/// A Deployment with two pods on two pages, and a bare pod that opted out.
fn cluster() -> Mesh {
    let mesh = Mesh::new();
    let server = &mesh.server;
    let entry = json!({
        "name": "namespace.sidecar-injector.istio.io",
        "admissionReviewVersions": ["v1"], "clientConfig": {}, "sideEffects": "None",
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
        "objectSelector": {"matchExpressions": [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]},
    });
    let metadata = json!({"name": "injector", "labels": {"istio.io/rev": "default"}});
    server.put(
        WEBHOOKS,
        &json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfigurationList",
            "metadata": {}, "items": [{"metadata": metadata, "webhooks": [entry]}],
        }),
    );
    server.put(
        "/api/v1/namespaces/team",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"istio-injection": "enabled"}}}),
    );
    let spec = json!({"containers": [{"name": "web", "image": "web"}]});
    let owned = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "0", "controller": true}]);
    let template = json!({"spec": spec});
    server.put(
        "/apis/apps/v1/namespaces/team/replicasets/web-1",
        &json!({"metadata": {"name": "web-1", "namespace": "team", "ownerReferences": owned("Deployment", "web")}, "spec": {"template": template}}),
    );
    server.put(
        "/apis/apps/v1/namespaces/team/deployments/web",
        &json!({"metadata": {"name": "web", "namespace": "team"}, "spec": {"template": template}}),
    );
    let pod = |name: &str, more: Value| {
        let mut metadata = json!({"name": name, "namespace": "team", "uid": name});
        for (key, value) in more.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        json!({"metadata": metadata, "spec": spec, "status": {"phase": "Running"}})
    };
    let page = |items: &[Value], next: &str| json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": next}, "items": items});
    let owner = json!({"ownerReferences": owned("ReplicaSet", "web-1")});
    let alone = json!({"labels": {"sidecar.istio.io/inject": "false"}});
    server.put(
        PODS,
        &page(
            &[pod("web-1-a", owner.clone()), pod("alone", alone)],
            "next",
        ),
    );
    server.put(
        &format!("{PODS}&continue=next"),
        &page(&[pod("web-1-b", owner)], ""),
    );
    mesh
}

fn plan(mesh: &Mesh, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["template", "plan"])
        .args(args)
        .env_clear()
        .env("HOME", mesh.home.path())
        .output()
        .unwrap()
}

/// The shipped values with another text, as a file.
fn values(mesh: &Mesh, from: &str, to: &str) -> String {
    let values = fs::read_to_string(shipped("values")).unwrap();
    assert!(values.contains(from), "{from}");
    let path = mesh.home.path().join("values");
    fs::write(&path, values.replace(from, to)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_same_configuration_changes_nothing() {
    let mesh = cluster();
    let output = plan(&mesh, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "0 of 1 workload would change, with 0 pods to restart; nothing has been changed\n"
    );
    let requests = mesh.server.requests();
    assert!(requests.len() < 20, "each object is asked for once");
}

#[test]
fn each_field_that_would_change_is_told_by_workload() {
    let mesh = cluster();
    let values = values(
        &mesh,
        "clusterDomain: cluster.local",
        "clusterDomain: example.org",
    );
    let output = plan(&mesh, &["--valuesFile", &values]);
    let stdout = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(2),
        "{stdout}{}",
        text(&output.stderr)
    );
    for part in [
        "Deployment \"team/web\" (2 pods)\n",
        "cluster.local\" -> \"$(POD_NAMESPACE).svc.example.org\"\n",
        "1 of 1 workload would change, with 2 pods to restart",
    ] {
        assert!(stdout.contains(part), "{part:?} is not in:\n{stdout}");
    }
    let output = plan(&mesh, &["--valuesFile", &values, "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["workloads"][0]["verdict"], "changed");
    assert_eq!(answer["workloads"][0]["pods"], 2);
    assert_eq!(answer["summary"]["changing"], 1);
    assert_eq!(answer["summary"]["notServed"], 1);
}

#[test]
fn what_the_new_configuration_refuses_or_leaves_out_is_told() {
    let mesh = cluster();
    for (config, part) in [
        (
            "templates:\n  sidecar: |\n    {{ fail \"label your pods\" }}\n",
            "would be refused: failed to render template \"sidecar\"",
        ),
        (
            "policy: disabled\ntemplates:\n  sidecar: |\n    spec: {}\n",
            "would not be injected any more",
        ),
    ] {
        let path = mesh.home.path().join("config");
        fs::write(&path, config).unwrap();
        let output = plan(&mesh, &["--injectConfigFile", path.to_str().unwrap()]);
        let stdout = text(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{stdout}{}",
            text(&output.stderr)
        );
        assert!(stdout.contains(part), "{part:?} is not in:\n{stdout}");
    }
}

#[test]
fn a_broken_configuration_is_a_failure_that_says_which() {
    let mesh = cluster();
    let path = mesh.home.path().join("config");
    fs::write(&path, "templates:\n  sidecar: '{{ .Nothing }}'\n").unwrap();
    let output = plan(&mesh, &["--injectConfigFile", path.to_str().unwrap()]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("the new configuration cannot be used"),
        "{stderr}"
    );
    assert!(stderr.contains("templates.sidecar"), "{stderr}");
}

#[test]
fn two_configurations_in_files_and_a_manifest_need_no_cluster() {
    let mesh = cluster();
    let new = values(
        &mesh,
        "clusterDomain: cluster.local",
        "clusterDomain: example.org",
    );
    let manifest = mesh.home.path().join("pod.yaml");
    fs::write(&manifest, super::POD).unwrap();
    let shipped = |file| shipped(file).to_str().unwrap().to_owned();
    let (config, values, of_mesh) = (shipped("config"), shipped("values"), shipped("mesh"));
    let output = plan(
        &mesh,
        &[
            "-f",
            manifest.to_str().unwrap(),
            "--injectConfigFile",
            &config,
            "--valuesFile",
            &new,
            "--meshConfigFile",
            &of_mesh,
            "--againstInjectConfigFile",
            &config,
            "--againstValuesFile",
            &values,
            "--againstMeshConfigFile",
            &of_mesh,
        ],
    );
    let stdout = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(2),
        "{stdout}{}",
        text(&output.stderr)
    );
    assert!(stdout.contains("Pod \"shop/web\" (1 pod)\n"), "{stdout}");
    assert!(mesh.server.paths().is_empty(), "no cluster is asked");
}

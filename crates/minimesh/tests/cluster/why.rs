//! `minimesh why` of what is in a cluster.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{INJECTOR_MAP, MESH_MAP, Mesh, config_map, text};

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const NAMESPACE: &str = "/api/v1/namespaces/team";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/team/deployments/web";
const POD: &str = "/api/v1/namespaces/team/pods/web-0";

/// A webhook configuration that serves namespaces with `label`.
fn webhooks(revision: &str, label: (&str, &str)) -> Value {
    let (key, value) = label;
    let entry = json!({
        "name": "namespace.sidecar-injector.istio.io",
        "admissionReviewVersions": ["v1"], "clientConfig": {}, "sideEffects": "None",
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {key: value}},
    });
    let metadata = json!({"name": "injector", "labels": {"istio.io/rev": revision}});
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfigurationList",
        "metadata": {},
        "items": [{"metadata": metadata, "webhooks": [entry]}],
    })
}

fn namespace(labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": labels}})
}

/// A cluster with a labelled namespace, a Deployment and a bare pod that runs in it.
fn cluster() -> Mesh {
    let mesh = Mesh::new();
    let server = &mesh.server;
    server.put(
        WEBHOOKS,
        &webhooks("default", ("istio-injection", "enabled")),
    );
    server.put(
        NAMESPACE,
        &namespace(&json!({"istio-injection": "enabled"})),
    );
    let spec = json!({"containers": [{"name": "web", "image": "web"}]});
    let metadata = json!({"name": "web", "namespace": "team"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": spec}}});
    server.put(DEPLOYMENT, &deployment);
    let metadata = json!({"name": "web-0", "namespace": "team", "uid": "1a2b"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    server.put(POD, &pod);
    mesh
}

fn run(mesh: &Mesh, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["why", "-o", "json"])
        .args(args)
        .env_clear()
        .env("HOME", mesh.home.path())
        .output()
        .unwrap()
}

#[track_caller]
fn why(mesh: &Mesh, subject: &str, status: i32) -> Value {
    let output = run(mesh, &[subject]);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{}",
        text(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_workload_is_found_by_any_of_its_kinds_names_and_explained() {
    let mesh = cluster();
    for subject in [
        "deployment/web",
        "deploy/web",
        "Deployments/web",
        "deployments.apps/web",
    ] {
        let answer = why(&mesh, subject, 0);
        assert_eq!(answer["verdict"], "would-be-injected");
        assert_eq!(answer["webhook"]["configuration"], "injector");
        assert_eq!(answer["namespace"], "team", "the context's");
    }
    mesh.server.put(NAMESPACE, &namespace(&json!({})));
    let answer = why(&mesh, "deployment/web", 3);
    assert_eq!(answer["reason"], "not-labelled");
}

#[test]
fn a_pod_that_runs_bare_in_a_namespace_of_the_mesh_is_to_be_restarted() {
    let answer = why(&cluster(), "web-0", 3);
    assert_eq!(answer["reason"], "older-than-configuration");
}

#[test]
fn the_configuration_is_that_of_the_revision_that_would_be_asked() {
    let mesh = cluster();
    let label = ("istio.io/rev", "canary");
    mesh.server.put(WEBHOOKS, &webhooks("canary", label));
    mesh.server
        .put(NAMESPACE, &namespace(&json!({"istio.io/rev": "canary"})));
    let (injector, of_mesh) = (
        format!("{INJECTOR_MAP}-canary"),
        format!("{MESH_MAP}-canary"),
    );
    mesh.server
        .put(&injector, &config_map(&["config", "values"]));
    mesh.server.put(&of_mesh, &config_map(&["mesh"]));
    let answer = why(&mesh, "deployment/web", 0);
    assert_eq!(answer["webhook"]["revision"], "canary");
    let paths = mesh.server.paths();
    assert!(paths.contains(&injector) && !paths.iter().any(|path| path == INJECTOR_MAP));
}

#[test]
fn a_cluster_without_a_mesh_is_told_and_no_failure() {
    let mesh = cluster();
    let mut none = webhooks("default", ("a", "b"));
    none["items"] = json!([]);
    mesh.server.put(WEBHOOKS, &none);
    mesh.server.remove(INJECTOR_MAP);
    let answer = why(&mesh, "deployment/web", 3);
    assert_eq!(answer["reason"], "webhook-missing");
}

#[test]
fn what_is_not_there_or_may_not_be_read_is_a_failure_with_a_message() {
    let mesh = cluster();
    for (subject, part) in [
        ("web-1", "there is no Pod team/web-1"),
        ("service/web", "of no kind that holds pods"),
        ("pod/", "names nothing"),
    ] {
        let output = run(&mesh, &[subject]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(part), "{said}");
    }
    mesh.server.refuse(WEBHOOKS, 403, "no");
    let said = text(&run(&mesh, &["web-0"]).stderr);
    assert!(said.contains("MutatingWebhookConfigurations"), "{said}");
}

//! `minimesh certs` of what runs in a cluster.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Mesh, text};

fn pod(name: &str, containers: &[&str], phase: &str) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team"},
        "spec": {"containers": containers}, "status": {"phase": phase},
    })
}

fn proxied(name: &str) -> String {
    format!("/api/v1/namespaces/team/pods/{name}:15090/proxy/stats/prometheus")
}

/// A namespace with pods of every kind.
fn cluster() -> Mesh {
    let mesh = Mesh::new();
    let sidecar = ["web", "istio-proxy"];
    let items = [
        pod("web-1", &sidecar, "Running"),
        pod("web-0", &sidecar, "Running"),
        pod("refused", &sidecar, "Running"),
        pod("plain", &["web"], "Running"),
        pod("done", &sidecar, "Succeeded"),
    ];
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items});
    mesh.server
        .put("/api/v1/namespaces/team/pods?limit=500", &list);
    mesh.server
        .put("/api/v1/namespaces/team/pods/web-0", &items[1]);
    let series = "minimesh_agent_certificate_not_after_seconds{identity=\"spiffe://cluster.local/ns/team/sa/web\",serial=\"0a\"} 4102444800.0\n# EOF\n";
    mesh.server.reply(&proxied("web-0"), 200, series);
    mesh.server.reply(&proxied("web-1"), 200, "# EOF\n");
    mesh.server
        .refuse(&proxied("refused"), 403, "pods/proxy is forbidden");
    mesh
}

fn run(mesh: &Mesh, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .arg("certs")
        .args(args)
        .env_clear()
        .env("HOME", mesh.home.path())
        .output()
        .unwrap()
}

#[test]
fn every_sidecar_of_a_namespace_has_a_line() {
    let output = run(&cluster(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("NAMESPACE  POD"), "{table}");
    assert!(
        lines[1].contains("refused") && lines[1].contains("forbidden"),
        "{table}"
    );
    assert!(
        lines[2].contains("web-0") && lines[2].ends_with("spiffe://cluster.local/ns/team/sa/web"),
        "{table}"
    );
    assert!(
        lines[3].contains("web-1") && lines[3].ends_with("no certificate"),
        "{table}"
    );
}

#[test]
fn one_pod_is_told_to_programs_in_json() {
    let output = run(&cluster(), &["web-0", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let held = &rows[0]["certificate"];
    assert_eq!(held["identity"], "spiffe://cluster.local/ns/team/sa/web");
    assert_eq!(held["serial"], "0a");
    assert_eq!(held["not_after"], 4_102_444_800_i64);
    assert!(held["expires_in"].as_i64().unwrap() > 0);
    assert_eq!(rows.as_array().unwrap().len(), 1);
}

#[test]
fn a_pod_that_is_not_there_is_named() {
    let output = run(&cluster(), &["absent"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("no pod team/absent"), "{said}");
}

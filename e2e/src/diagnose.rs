//! What is needed to understand a failure, as files in a folder.
//!
//! Called by [`scenario`](crate::scenario) when a test has failed and its pods are still there. Nothing here fails: what cannot be had
//! is said in the file that would have held it.
//!
//! ```text
//! SCENARIO/NAMESPACE/{objects,describe,events}.txt
//!                    POD/{CONTAINER.log,CONTAINER.previous.log,rules.txt,metrics.txt}
//!          control-plane/…      the same for its namespace, and webhook.yaml, configmaps.yaml
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use contract::{control_plane::NAMESPACE, paths, pod, ports};
use serde_json::Value;

use crate::{control_plane, environment::environment, kubectl, node, pod::Pod};

/// Writes down the state of these namespaces and of the control plane; returns the folder.
pub(crate) fn collect(namespaces: &[String], scenario: &str) -> PathBuf {
    let folder = environment().output.join(scenario);
    // What an earlier run has left would be taken for this one's.
    let _ = fs::remove_dir_all(&folder);
    for namespace in namespaces {
        collect_namespace(namespace, &folder.join(namespace));
    }
    let control_plane = folder.join("control-plane");
    collect_namespace(NAMESPACE, &control_plane);
    let webhook = ["get", "mutatingwebhookconfigurations", "-o", "yaml"];
    write(&control_plane, "webhook.yaml", said(&webhook));
    let configuration = ["-n", NAMESPACE, "get", "configmaps", "-o", "yaml"];
    write(&control_plane, "configmaps.yaml", said(&configuration));
    let nodes = ["describe", "nodes"];
    write(&folder, "nodes.txt", said(&nodes));
    folder
}

fn collect_namespace(namespace: &str, folder: &Path) {
    let inside = |args: &[&str]| said(&[&["-n", namespace], args].concat());
    let kinds = "pods,services,endpointslices,deployments,replicasets,jobs,configmaps";
    write(folder, "objects.txt", inside(&["get", kinds, "-o", "wide"]));
    write(folder, "describe.txt", inside(&["describe", "pods"]));
    let events = ["get", "events", "--sort-by=.lastTimestamp"];
    write(folder, "events.txt", inside(&events));
    for object in kubectl::list(&["-n", namespace, "pods"]).unwrap_or_default() {
        if let Some(name) = object["metadata"]["name"].as_str() {
            collect_pod(
                namespace,
                &Pod::new(namespace, name),
                &object,
                &folder.join(name),
            );
        }
    }
}

fn collect_pod(namespace: &str, pod: &Pod, object: &Value, folder: &Path) {
    let names = containers(object);
    for container in &names {
        let log = ["-n", namespace, "logs", pod.name(), "-c", container];
        write(folder, &format!("{container}.log"), said(&log));
        if restarts(object, container) > 0 {
            let previous = [&log[..], &["--previous"]].concat();
            write(
                folder,
                &format!("{container}.previous.log"),
                said(&previous),
            );
        }
    }
    if names.iter().any(|name| name == pod::PROXY_CONTAINER) {
        write(folder, "rules.txt", rules(pod, &names));
        let metrics = pod.page(ports::STATUS, paths::STATS_PROMETHEUS);
        write(
            folder,
            "metrics.txt",
            metrics.unwrap_or_else(|error| format!("{error:#}")),
        );
    }
    if namespace == NAMESPACE {
        for (file, page) in [
            ("ready.txt", control_plane::READY),
            ("metrics.txt", "/metrics"),
        ] {
            let page = pod.page(ports::MONITORING, page);
            write(
                folder,
                file,
                page.unwrap_or_else(|error| format!("{error:#}")),
            );
        }
    }
}

/// The rules in the pod's network namespace, in both notations; any container that runs leads there.
fn rules(pod: &Pod, containers: &[String]) -> String {
    let process = containers
        .iter()
        .find_map(|name| node::Process::of_container(pod, name).ok());
    let Some(process) = process else {
        return "no container of this pod runs".to_owned();
    };
    let programs: [&[&str]; 3] = [
        &["nft", "list", "ruleset"],
        &["iptables-save"],
        &["ss", "-tanp"],
    ];
    let said = programs.map(|program| {
        let output = process.in_network(program);
        let output = output.unwrap_or_else(|error| format!("{error:#}"));
        format!("# {}\n{output}\n", program.join(" "))
    });
    said.concat()
}

fn containers(object: &Value) -> Vec<String> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| object["spec"][list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str().map(str::to_owned))
        .collect()
}

fn restarts(object: &Value, container: &str) -> u64 {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| object["status"][list].as_array().into_iter().flatten())
        .filter(|status| status["name"] == container)
        .filter_map(|status| status["restartCount"].as_u64())
        .sum()
}

fn said(args: &[&str]) -> String {
    match kubectl::try_run(args, None) {
        Ok(outcome) => outcome.stdout + &outcome.stderr,
        Err(error) => format!("{error:#}"),
    }
}

fn write(folder: &Path, file: &str, text: String) {
    let path = folder.join(file);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
    if let Err(error) = written {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

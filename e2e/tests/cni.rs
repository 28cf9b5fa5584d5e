//! CNI mode: a plugin on every node sets the rules, and pods of the mesh need no right at all.
//!
//! One test, because it changes the nodes that all pods share; at the end the cluster is as before.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, ensure};
use contract::{chains, cni, control_plane::NAMESPACE, pod};
use e2e::{
    Injection, Manifest, Namespace, Pod, Progress, Scene, control_plane, helm, kubectl,
    node::{self, Process},
    scenario, wait_for,
};
use serde_json::{Value, json};

/// The plugin in all nodes; leaves them when the value is dropped.
struct Plugin {
    nodes: Vec<String>,
    is_removed: bool,
}

/// Where the nodes of kind have their network configurations and their programs.
const CONFIGURATIONS: &str = "/etc/cni/net.d";
const PROGRAMS: &str = "/opt/cni/bin";
/// What a change may take until it is seen, by the kubelet or by the installer.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_plugin_captures_pods_that_have_no_right_to_do_so_themselves() {
    scenario("cni", |scene| {
        let restricted = scene.namespace(Injection::Enabled)?;
        restricted.label("pod-security.kubernetes.io/enforce", Some("restricted"))?;
        let mut plugin = Plugin::install(&restricted)?;

        let (member, stranger) = pods(scene, &restricted)?;
        rules_are_where_they_belong(&member, &stranger)?;
        traffic_is_captured(&member, &stranger)?;
        plugin.is_repaired()?;
        without_annotations_no_pod_starts(scene)?;

        plugin.remove(&restricted)?;
        // Who runs goes on.
        traffic_is_captured(&member, &stranger)
    });
}

/// A pod of the mesh that may nothing, and one outside of the mesh.
fn pods(scene: &Scene, restricted: &Namespace) -> anyhow::Result<(Pod, Pod)> {
    let outside = scene.namespace(Injection::Unlabelled)?;
    restricted.apply(&Manifest::read("restricted.yaml")?)?;
    outside.apply(&Manifest::read("client.yaml")?)?;
    let (member, stranger) = (restricted.pod("nginx"), outside.pod("client"));
    let object = member.wait_ready()?;
    stranger.wait_ready()?;
    let names = init_containers(&object);
    ensure!(
        names.contains(&pod::VALIDATION_CONTAINER) && !names.contains(&pod::INIT_CONTAINER),
        "{member} has the init containers {names:?}"
    );
    Ok((member, stranger))
}

fn init_containers(pod: &Value) -> Vec<&str> {
    let containers = pod["spec"]["initContainers"].as_array();
    let containers = containers.into_iter().flatten();
    containers
        .filter_map(|container| container["name"].as_str())
        .collect()
}

fn rules_are_where_they_belong(member: &Pod, stranger: &Pod) -> anyhow::Result<()> {
    for (pod, container, is_captured) in [(member, "nginx", true), (stranger, "shell", false)] {
        let process = Process::of_container(pod, container)?;
        let rules = process.in_network(&["nft", "list", "ruleset"])?;
        ensure!(
            rules.contains(chains::TABLE) == is_captured,
            "the rules of {pod}:\n{rules}"
        );
    }
    Ok(())
}

/// In and out, through the sidecar, by every address that the pods have.
fn traffic_is_captured(member: &Pod, stranger: &Pod) -> anyhow::Result<()> {
    for (idx, url) in urls(member)?.into_iter().enumerate() {
        let path = format!("/in-{}-{idx}", std::process::id());
        let page = stranger.read("shell", &["curl", "-sS", &format!("{url}{path}")])?;
        ensure!(page == "served by nginx\n", "{url} gave {page:?}");
        let inbound = member.access_log(&path)?;
        ensure!(
            inbound.iter().all(|line| line.cluster == "inbound|8080||"),
            "{inbound:?}"
        );
    }
    for (idx, url) in urls(stranger)?.into_iter().enumerate() {
        let path = format!("/out-{}-{idx}", std::process::id());
        let page = member.read("nginx", &["curl", "-sS", &format!("{url}{path}")])?;
        ensure!(page == "test-server\n", "{url} gave {page:?}");
        member.access_log(&path)?;
    }
    Ok(())
}

/// The beginning of URLs for port 8080, one for each of the pod's addresses.
fn urls(pod: &Pod) -> anyhow::Result<Vec<String>> {
    let object = pod.object()?;
    let addresses = object["status"]["podIPs"].as_array();
    let addresses = addresses.with_context(|| format!("{pod} has no addresses"))?;
    let url = |address: &Value| {
        let address: IpAddr = address["ip"].as_str()?.parse().ok()?;
        Some(format!("http://{}", SocketAddr::new(address, 8080)))
    };
    Ok(addresses.iter().filter_map(url).collect())
}

/// As long as the installer cannot repair it, the runtime is not asked for annotations: no pod that could be of the mesh starts.
fn without_annotations_no_pod_starts(scene: &Scene) -> anyhow::Result<()> {
    let inside = scene.namespace(Injection::Enabled)?;
    let mut frozen = Vec::new();
    for installer in installers()? {
        frozen.push(Process::of_container(&installer, "install-cni")?.freeze()?);
    }
    let change = format!(
        "(.plugins[] | select(.type == \"{}\")) |= del(.capabilities)",
        cni::PLUGIN
    );
    for node in node::names()? {
        edit(&node, &change)?;
    }
    inside.apply(&Manifest::read("nginx.yaml")?)?;
    let pod = inside.pod("nginx");
    wait_for("the pod to be refused", LIMIT, || {
        let events = pod.events();
        Ok(Progress::when(
            events.contains(cni::POD_ANNOTATIONS),
            || events.clone(),
        ))
    })?;
    let phase = &pod.object()?["status"]["phase"];
    ensure!(phase == "Pending", "{pod} is {phase}");
    for frozen in frozen {
        frozen.thaw()?;
    }
    // Nobody has to do anything: the installer repairs the node, and the kubelet tries again.
    pod.wait_ready()?;
    Ok(())
}

fn installers() -> anyhow::Result<Vec<Pod>> {
    let items = kubectl::list(&["-n", NAMESPACE, "pods", "-l", "k8s-app=istio-cni-node"])?;
    let names = items
        .iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str());
    Ok(names.map(|name| Pod::new(NAMESPACE, name)).collect())
}

/// The network configuration that a node's runtime uses, and its path.
fn configuration(node: &str) -> anyhow::Result<(String, Value)> {
    let names = node::on_node(node, &["ls", CONFIGURATIONS])?;
    let name = names.lines().find(|name| name.ends_with(".conflist"));
    let path = format!(
        "{CONFIGURATIONS}/{}",
        name.with_context(|| format!("node {node} has no network"))?
    );
    let text = node::on_node(node, &["cat", &path])?;
    Ok((path, serde_json::from_str(&text)?))
}

/// Replaces a node's network configuration by what this jq program makes of it, as another program on the node would.
fn edit(node: &str, program: &str) -> anyhow::Result<()> {
    let (path, _) = configuration(node)?;
    let script = format!("jq '{program}' {path} > {path}.new && mv {path}.new {path}");
    node::on_node(node, &["sh", "-c", &script])?;
    Ok(())
}

fn has_entry(configuration: &Value) -> bool {
    let entry = |plugin: &Value| {
        plugin["type"] == cni::PLUGIN && plugin["capabilities"][cni::POD_ANNOTATIONS] == true
    };
    configuration["plugins"]
        .as_array()
        .is_some_and(|plugins| plugins.iter().skip(1).any(entry))
}

/// Waits until the injector gives pods the init container that belongs to the mode.
fn wait_for_mode(namespace: &Namespace, container: &str) -> anyhow::Result<()> {
    control_plane::refresh_volumes(&control_plane::pods()?)?;
    let manifest = Manifest::read("restricted.yaml")?;
    let pod = manifest.pod_only().context("the manifest has a pod")?;
    wait_for(&format!("pods to be given {container}"), LIMIT, || {
        // Before the mode has changed, the pod is refused: that is what the mode is for.
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let outcome = namespace.try_run(&args, Some(&pod.to_string()))?;
        let created: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| json!({}));
        let names = init_containers(&created);
        let is_forbidden =
            outcome.stderr.contains("restricted") && container == pod::INIT_CONTAINER;
        Ok(Progress::when(
            names.contains(&container) || is_forbidden,
            || format!("{names:?} {}", outcome.stderr),
        ))
    })
}

// === impl Plugin ===

impl Plugin {
    fn install(namespace: &Namespace) -> anyhow::Result<Self> {
        let plugin = Self {
            nodes: node::names()?,
            is_removed: false,
        };
        helm::upgrade(&["cni.enabled=true", "cni.removeOnExit=false"])?;
        for node in &plugin.nodes {
            let (path, configuration) = configuration(node)?;
            ensure!(
                has_entry(&configuration),
                "{path} of {node} is {configuration}"
            );
        }
        wait_for_mode(namespace, pod::VALIDATION_CONTAINER)?;
        Ok(plugin)
    }

    /// What another program on the node overwrites comes back.
    fn is_repaired(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            edit(
                node,
                &format!("del(.plugins[] | select(.type == \"{}\"))", cni::PLUGIN),
            )?;
            node::on_node(node, &["rm", &format!("{PROGRAMS}/{}", cni::PLUGIN)])?;
            wait_for("the plugin to be back", LIMIT, || {
                let (_, configuration) = configuration(node)?;
                let programs = node::on_node(node, &["ls", PROGRAMS])?;
                let is_back =
                    has_entry(&configuration) && programs.lines().any(|name| name == cni::PLUGIN);
                Ok(Progress::when(is_back, || {
                    format!("{configuration}\n{programs}")
                }))
            })?;
        }
        Ok(())
    }

    fn remove(&mut self, namespace: &Namespace) -> anyhow::Result<()> {
        helm::upgrade(&["cni.removeOnExit=true"])?;
        helm::upgrade(&["cni.enabled=false"])?;
        self.is_removed = true;
        for node in &self.nodes {
            wait_for("the plugin to be gone", LIMIT, || {
                let (_, configuration) = configuration(node)?;
                let programs = node::on_node(node, &["ls", PROGRAMS])?;
                let is_left = configuration.to_string().contains(cni::PLUGIN)
                    || programs.contains(cni::PLUGIN);
                Ok(Progress::when(!is_left, || {
                    format!("{configuration}\n{programs}")
                }))
            })?;
        }
        wait_for_mode(namespace, pod::INIT_CONTAINER)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if self.is_removed {
            return;
        }
        let removed = helm::upgrade(&["cni.removeOnExit=true"])
            .and_then(|()| helm::upgrade(&["cni.enabled=false"]));
        if let Err(error) = removed {
            eprintln!("the plugin stays on the nodes: {error:#}");
        }
    }
}

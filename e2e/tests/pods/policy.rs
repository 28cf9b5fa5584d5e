//! Injection without a webhook: the API server evaluates what `minimesh template policy` has printed.
//!
//! The namespaces bear a label that only these policies select, so the webhook is never asked about their pods.

use std::{process::Command, time::Duration};

use anyhow::{Context, ensure};
use contract::{annotations, pod::PROXY_CONTAINER};
use e2e::{
    Injection, Manifest, Namespace, Progress, environment::environment, kubectl, scenario, wait_for,
};
use serde_json::{Value, json};

use super::injection::assert_same_pod;

/// The label's key; its value is the namespace's name, so that runs are apart.
const LABEL: &str = "e2e/injection-by-policy";
/// What a policy may take to reach the API server's admission.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn the_api_server_injects_by_policy_what_kube_inject_gives() {
    scenario("policy", |scene| {
        let inside = scene.namespace(Injection::Unlabelled)?;
        let plain = scene.namespace(Injection::Unlabelled)?;
        let nginx = Manifest::read("nginx.yaml")?;
        let _policies = Policies::apply(&inside)?;
        wait_for("the policy to be in force", LIMIT, || {
            Ok(match inside.dry_run(&nginx.text()) {
                Ok(created) => Progress::when(has_sidecar(&created), || created.to_string()),
                // The API server may hear of the policy that refuses before it hears of the one that injects.
                Err(refused) => Progress::Waiting(format!("{refused:#}")),
            })
        })?;

        for pod in pods(&nginx)? {
            let manifest = pod.text();
            let by_policy = inside.dry_run(&manifest)?;
            let mut by_hand = plain.dry_run(&inside.kube_inject(&[], &manifest)?)?;
            forget_how_to_restore(&mut by_hand)?;
            assert_same_pod(&by_policy, &by_hand, [&inside, &plain]);
        }
        is_refused_with_its_reason(&inside, &nginx)?;

        inside.apply(&Manifest::read("rolling.yaml")?)?;
        inside.run(&["rollout", "status", "deployment/rolling", "--timeout=120s"])?;
        plain.apply(&Manifest::read("client.yaml")?)?;
        plain.pod("client").wait_ready()?;
        let workers = inside.pods("app=rolling")?;
        let worker = workers.first().context("the Deployment has no pods")?;
        let url = worker.url(80)?;
        plain.pod("client").read("shell", &["curl", "-sSf", &url])?;
        let labels = [("reporter", "destination"), ("response_code", "200")];
        worker.wait_for_metric("istio_requests_total", &labels, 1.0)
    });
}

/// Pods of which every one asks the policy something else.
fn pods(nginx: &Manifest) -> anyhow::Result<Vec<Manifest>> {
    let containers = nginx.pod_containers().context("nginx.yaml has no pod")?;
    let with = |more: Value| {
        let mut containers = containers.clone();
        containers.push(more);
        nginx
            .clone()
            .with(&json!({"spec": {"containers": containers}}))
    };
    Ok(vec![
        nginx.clone(),
        nginx
            .clone()
            .with(&json!({"metadata": {"labels": {"app": null, "version": null}}})),
        nginx
            .clone()
            .with(&json!({"metadata": {"annotations": {"example.com/quoted": "\"{{ }}\": '"}}})),
        with(json!({"name": "plain", "image": "nginx:stable"})),
        with(json!({
            "name": "probed",
            "image": "nginx:stable",
            "ports": [{"containerPort": 9000, "name": "tcp-a"}, {"containerPort": 53, "protocol": "UDP"}],
            "livenessProbe": {"tcpSocket": {"port": "tcp-a"}},
            "startupProbe": {"grpc": {"port": 9000, "service": "a"}},
            "readinessProbe": {"httpGet": {
                "path": "/ready?a=\"b\"", "port": 9000, "scheme": "HTTPS",
                "httpHeaders": [{"name": "X-A", "value": "\\ \" é"}],
            }},
        })),
        nginx.clone().with(&json!({"spec": {
            "initContainers": [{"name": "first", "image": "nginx:stable", "command": ["true"]}],
            "securityContext": {"runAsUser": 2000},
            "volumes": [{"name": "own", "emptyDir": {}}],
        }})),
    ])
}

/// A policy keeps no record for `kube-uninject`, which is for manifests.
fn forget_how_to_restore(pod: &mut Value) -> anyhow::Result<()> {
    let status = &mut pod["metadata"]["annotations"][annotations::STATUS];
    let text = status.as_str().context("no status annotation")?;
    if let Some((rest, _)) = text.split_once(",\"restore\":") {
        *status = Value::String(format!("{rest}}}"));
    }
    Ok(())
}

/// A value that the policy cannot check must neither be trusted nor let the pod start outside of the mesh.
fn is_refused_with_its_reason(namespace: &Namespace, nginx: &Manifest) -> anyhow::Result<()> {
    let asking = nginx
        .clone()
        .named("asking")
        .annotated(annotations::EXCLUDE_INBOUND_PORTS, "8080");
    let outcome = namespace.try_create(&asking)?;
    ensure!(
        !outcome.success,
        "a pod that no policy injects has started outside of the mesh"
    );
    ensure!(
        outcome.stderr.contains(annotations::EXCLUDE_INBOUND_PORTS),
        "the refusal does not name the annotation: {}",
        outcome.stderr
    );
    Ok(())
}

fn has_sidecar(pod: &Value) -> bool {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .any(|container| container["name"] == PROXY_CONTAINER)
}

/// Policies that are in force as long as the value lives.
struct Policies {
    manifests: String,
}

// === impl Policies ===

impl Policies {
    /// Makes policies of the cluster's configuration for one namespace.
    fn apply(namespace: &Namespace) -> anyhow::Result<Self> {
        namespace.label(LABEL, Some(namespace.name()))?;
        let selector = format!("{LABEL}={}", namespace.name());
        let mut command = Command::new(&environment().minimesh);
        command.args(["template", "policy", "--namespace-selector", &selector]);
        let outcome = kubectl::finish(command, None)?;
        let manifests = outcome.into_stdout(|| "minimesh template policy".to_owned())?;
        let policies = Self { manifests };
        kubectl::run_with_input(&["apply", "-f", "-"], &policies.manifests)?;
        Ok(policies)
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        let args = ["delete", "--ignore-not-found", "-f", "-"];
        if let Err(error) = kubectl::run_with_input(&args, &self.manifests) {
            eprintln!("the policies are still there: {error:#}");
        }
    }
}

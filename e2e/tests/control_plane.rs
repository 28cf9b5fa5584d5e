//! What the control plane promises while it changes or is away.
//!
//! These tests change what all pods share, so they run one after the other, and each puts back what it changed.

#[path = "control_plane/outage.rs"]
mod outage;
#[path = "control_plane/rotation.rs"]
mod rotation;

use std::time::Duration;

use anyhow::{Context, ensure};
use contract::{
    control_plane::{CONFIG_KEY, NAMESPACE, ROOT_CERT_KEY, SIDECAR_INJECTOR},
    pod::{PROXY_CONTAINER, ROOT_CERT_CONFIG_MAP},
    ports,
};
use e2e::{
    Injection, Manifest, Namespace, Pod, Progress,
    control_plane::{self, Configuration, Scaled},
    kubectl, scenario, wait_for,
};
use serde_json::{Value, json};

/// What a change of a file may take to be noticed, once the kubelet has written it.
const RELOAD: Duration = Duration::from_secs(60);
/// Where a label is added in the shipped template.
const LABELS: &str = "    metadata:\n      labels:\n";
const LOADS: &str = "minimesh_injector_files_loads_total";
const REFUSED: &str = "minimesh_injector_files_refused";

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn an_edited_template_reaches_the_next_pod_and_a_broken_one_is_refused() {
    scenario("template", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let injectors = control_plane::pods()?;
        ensure!(!injectors.is_empty(), "no injector runs");
        let configuration = Configuration::of_templates(CONFIG_KEY)?;

        let accepted = counts(&injectors, "accepted")?;
        configuration.replace(LABELS, &format!("{LABELS}        e2e: edited\n"))?;
        wait_for_more(&injectors, "accepted", &accepted)?;
        assert_eq!(created_label(&namespace)?.as_deref(), Some("edited"));

        let refused = counts(&injectors, "refused")?;
        configuration.replace(LABELS, &format!("{LABELS}        e2e: {{{{ broken\n"))?;
        wait_for_more(&injectors, "refused", &refused)?;
        for injector in &injectors {
            ensure!(is_refused_by(injector)?, "{injector} shows no refusal");
            let ready = injector.page(ports::MONITORING, control_plane::READY)?;
            ensure!(
                ready.contains("refused"),
                "{injector} does not say that it refused its configuration: {ready}"
            );
            wait_for_event(injector)?;
        }
        let label = created_label(&namespace)?;
        assert_eq!(
            label.as_deref(),
            Some("edited"),
            "not the last good template"
        );

        // The next one is right again, and different from the one in use.
        let accepted = counts(&injectors, "accepted")?;
        configuration.restore()?;
        wait_for_more(&injectors, "accepted", &accepted)?;
        assert_eq!(created_label(&namespace)?, None);
        for injector in &injectors {
            ensure!(
                !is_refused_by(injector)?,
                "{injector} still shows a refusal"
            );
        }
        let now = control_plane::pods()?;
        ensure!(now == injectors, "the injectors were restarted: {now:?}");
        Ok(())
    });
}

/// How often each injector has loaded its configuration with this result.
fn counts(injectors: &[Pod], result: &str) -> anyhow::Result<Vec<f64>> {
    let labels = [("files", "configuration"), ("result", result)];
    let count = |injector| Ok(control_plane::metrics(injector)?.sum(LOADS, &labels));
    injectors.iter().map(count).collect()
}

/// Waits until every injector has loaded its configuration with this result once more; any of them may be asked about the next pod.
fn wait_for_more(injectors: &[Pod], result: &str, before: &[f64]) -> anyhow::Result<()> {
    let what = format!("every injector to have {result} the new configuration");
    wait_for(&what, RELOAD, || {
        let now = counts(injectors, result)?;
        let all = now.iter().zip(before).all(|(now, before)| now > before);
        Ok(Progress::when(all, || {
            format!("{now:?}, before {before:?}")
        }))
    })
}

fn is_refused_by(injector: &Pod) -> anyhow::Result<bool> {
    Ok(control_plane::metrics(injector)?.sum(REFUSED, &[]) > 0.0)
}

/// The label that the template gives a pod which is created now.
fn created_label(namespace: &Namespace) -> anyhow::Result<Option<String>> {
    let created = namespace.dry_run(&Manifest::read("nginx.yaml")?.text())?;
    ensure!(has_sidecar(&created), "the pod is not injected");
    Ok(created["metadata"]["labels"]["e2e"]
        .as_str()
        .map(str::to_owned))
}

fn wait_for_event(injector: &Pod) -> anyhow::Result<()> {
    wait_for(&format!("an Event on {injector}"), RELOAD, || {
        let events = injector.events();
        Ok(Progress::when(
            events.contains("ConfigurationRefused"),
            || events.clone(),
        ))
    })
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn without_the_injector_the_mesh_goes_on_and_takes_no_new_pods() {
    scenario("away", |scene| {
        let inside = scene.namespace(Injection::Enabled)?;
        let outside = scene.namespace(Injection::Unlabelled)?;
        for file in ["server.yaml", "client.yaml"] {
            inside.apply(&Manifest::read(file)?)?;
        }
        let (client, server) = (inside.pod("client"), inside.pod("server"));
        client.wait_ready()?;
        server.wait_ready()?;
        client.wait_to_reach("http://server/")?;

        let scaled = Scaled::to_zero()?;
        let nginx = Manifest::read("nginx.yaml")?;
        is_refused(&inside, &nginx)?;
        outside.apply(&nginx)?;
        outside.pod("nginx").wait_ready()?;
        client
            .report(&["get", "http://server/", "--requests", "20"])?
            .expect_clean(20)?;

        // A controller meets the refusal, too; it must get over it by itself.
        inside.apply(&Manifest::read("rolling.yaml")?)?;
        wait_until_reported(&inside)?;
        scaled.restore()?;
        // The nodes learn of the new addresses in their own time.
        wait_for("a pod to be taken again", RELOAD, || {
            let outcome = inside.try_create(&nginx)?;
            Ok(Progress::when(outcome.success, || outcome.stderr.clone()))
        })?;
        let started = inside.pod("nginx").wait_ready()?;
        ensure!(has_sidecar(&started), "the pod has no sidecar");
        inside.run(&["rollout", "status", "deployment/rolling", "--timeout=120s"])?;
        client
            .report(&["get", "http://server/", "--requests", "20"])?
            .expect_clean(20)?;
        Ok(())
    });
}

/// A refusal must tell which webhook of which Service did not answer; how exactly depends on how far the network has got.
fn is_refused(namespace: &Namespace, manifest: &Manifest) -> anyhow::Result<()> {
    let outcome = namespace.try_create(manifest)?;
    ensure!(!outcome.success, "a pod was created without the injector");
    let service = format!("{SIDECAR_INJECTOR}.{NAMESPACE}.svc");
    for cause in ["failed calling webhook", &service] {
        ensure!(
            outcome.stderr.contains(cause),
            "the refusal does not say {cause:?}: {}",
            outcome.stderr
        );
    }
    Ok(())
}

/// Waits until the Deployment says that its pods are refused.
fn wait_until_reported(namespace: &Namespace) -> anyhow::Result<()> {
    wait_for("the Deployment to say why it has no pods", RELOAD, || {
        let deployment = namespace.get("deployment", "rolling")?;
        let conditions = deployment["status"]["conditions"].to_string();
        Ok(Progress::when(
            conditions.contains("failed calling webhook"),
            || conditions.clone(),
        ))
    })
}

fn has_sidecar(pod: &Value) -> bool {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .any(|container| container["name"] == PROXY_CONTAINER)
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn the_roots_config_map_is_in_every_namespace_and_comes_back() {
    scenario("root", |scene| {
        let namespace = scene.namespace(Injection::Unlabelled)?;
        let name = ROOT_CERT_CONFIG_MAP;
        let root = |namespace: &str| -> anyhow::Result<Option<String>> {
            let outcome = kubectl::try_run(
                &["-n", namespace, "get", "configmap", name, "-o", "json"],
                None,
            )?;
            if !outcome.success {
                return Ok(None);
            }
            let map: Value = serde_json::from_str(&outcome.stdout)?;
            Ok(map["data"][ROOT_CERT_KEY].as_str().map(str::to_owned))
        };
        let expected = root(NAMESPACE)?.context("the control plane's namespace has no root")?;
        let in_place = |what: &str| {
            wait_for(what, Duration::from_secs(20), || {
                let found = root(namespace.name())?;
                Ok(Progress::when(found.as_ref() == Some(&expected), || {
                    format!("{found:?}")
                }))
            })
        };
        in_place("the root in a new namespace")?;
        namespace.run(&["delete", "configmap", name])?;
        in_place("the root after it was deleted")?;
        let nonsense = json!({"data": {ROOT_CERT_KEY: "nonsense"}}).to_string();
        namespace.run(&["patch", "configmap", name, "--type=merge", "-p", &nonsense])?;
        in_place("the root after it was edited")
    });
}

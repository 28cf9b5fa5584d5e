//! The chart's life after it was installed: an upgrade, and an end that leaves nothing behind.
//!
//! The last test of a run: afterwards the cluster has no mesh.

use std::time::Duration;

use anyhow::ensure;
use contract::{
    control_plane::{CA_SECRET, ISTIOD, NAMESPACE, SIDECAR_INJECTOR},
    pod::ROOT_CERT_CONFIG_MAP,
};
use e2e::{
    Injection, Manifest, Progress,
    helm::{self, RELEASE},
    kubectl,
    policy::of_namespace,
    scenario, wait_for,
};

/// What the garbage collector may take after the owner has gone.
const COLLECTION: Duration = Duration::from_secs(90);
/// Names of what the chart and the injector make; every object with such a name, in any namespace, is ours.
const OURS: [&str; 4] = ["istiod", "istio-sidecar-injector", "istio-ca-", "minimesh"];
/// Names in the control plane's namespace that are too common elsewhere.
const OURS_IN_SYSTEM: [&str; 2] = ["injector", "istio"];

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn an_upgrade_changes_values_and_an_uninstallation_leaves_nothing() {
    scenario("release", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        helm::upgrade(&[
            "global.proxy.logLevel=info",
            "pilot.podAnnotations.e2e=upgraded",
        ])?;
        let nginx = Manifest::read("nginx.yaml")?;
        wait_for("the new value in a new pod", COLLECTION, || {
            let created = namespace.dry_run(&nginx.text())?;
            let text = created["spec"].to_string();
            Ok(Progress::when(
                text.contains("--proxyLogLevel=info"),
                || text.clone(),
            ))
        })?;

        // What is not found now would not be missed afterwards.
        let installed = left_behind()?.join("\n");
        for name in [CA_SECRET, ROOT_CERT_CONFIG_MAP, SIDECAR_INJECTOR, ISTIOD] {
            ensure!(
                installed.contains(name),
                "found no {name} among\n{installed}"
            );
        }

        // What users have written outlives the control plane that read it.
        namespace.apply(&of_namespace("PERMISSIVE"))?;

        // So does a pod that is there.
        namespace.apply(&nginx)?;
        namespace.pod("nginx").wait_ready()?;
        helm::run(&[
            "uninstall",
            RELEASE,
            "-n",
            NAMESPACE,
            "--wait",
            "--timeout=120s",
        ])?;
        wait_for("everything of ours to be gone", COLLECTION, || {
            let left = left_behind()?;
            Ok(Progress::when(left.is_empty(), || left.join("\n")))
        })?;
        let policy = namespace.get("peerauthentication", "default")?;
        ensure!(
            policy["spec"]["mtls"]["mode"] == "PERMISSIVE",
            "a user's policy is not as it was: {policy}"
        );
        let pod = namespace.pod("nginx").object()?;
        ensure!(
            pod["status"]["phase"] == "Running",
            "the running pod is {}",
            pod["status"]
        );
        let created = namespace.dry_run(&nginx.named("another").text())?;
        let n_containers = created["spec"]["containers"].as_array().map_or(0, Vec::len);
        ensure!(
            n_containers == 1 && created["spec"]["initContainers"].is_null(),
            "after the uninstallation pods are still injected: {}",
            created["spec"]
        );
        Ok(())
    });
}

/// `KIND NAMESPACE/NAME` of every object of ours that is still there, whatever its kind.
fn left_behind() -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for scope in ["--namespaced=true", "--namespaced=false"] {
        let kinds = kubectl::run(&["api-resources", "--verbs=list", scope, "-o", "name"])?;
        // Events are about objects and expire by themselves.
        let kinds: Vec<_> = kinds
            .lines()
            .filter(|kind| !kind.starts_with("events"))
            .collect();
        let list = [
            "get",
            &kinds.join(","),
            "--all-namespaces",
            "--ignore-not-found",
        ];
        let columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name,\
                       RELEASE:.metadata.annotations.meta\\.helm\\.sh/release-name";
        let objects = kubectl::run(&[&list[..], &["--no-headers", "-o", columns]].concat())?;
        left.extend(
            objects
                .lines()
                .filter(|line| is_ours(line))
                .map(str::to_owned),
        );
    }
    Ok(left)
}

fn is_ours(line: &str) -> bool {
    let mut columns = line.split_whitespace();
    let (Some(kind), Some(namespace), Some(name)) =
        (columns.next(), columns.next(), columns.next())
    else {
        return false;
    };
    let is_released = columns.next() == Some(RELEASE);
    let begins = |names: &[&str]| names.iter().any(|own| name.starts_with(own));
    let in_system = namespace == NAMESPACE || namespace == "<none>";
    // Definitions stay on purpose, and with them what users have written.
    let stays = ["Namespace", "CustomResourceDefinition"].contains(&kind);
    !stays && (is_released || begins(&OURS) || in_system && begins(&OURS_IN_SYSTEM))
}

#[test]
fn objects_of_ours_are_told_from_others() {
    for (line, expected) in [
        ("ConfigMap shop istio-ca-root-cert <none>", true),
        ("Deployment istio-system injector minimesh", true),
        ("ClusterRole <none> injector-istio-system <none>", true),
        ("ConfigMap istio-system istio <none>", true),
        ("Namespace <none> istio-system <none>", false),
        (
            "CustomResourceDefinition <none> peerauthentications.security.istio.io minimesh",
            false,
        ),
        ("Pod shop injector-of-fuel <none>", false),
        ("ConfigMap istio-system kube-root-ca.crt <none>", false),
        ("ServiceAccount istio-system default <none>", false),
        ("Lease kube-system something minimesh", true),
    ] {
        assert_eq!(is_ours(line), expected, "{line}");
    }
}

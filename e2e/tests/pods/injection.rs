//! Which pods are injected, and what they then consist of.

use anyhow::{Context, ensure};
use contract::{annotations, control_plane, ids, labels, pod, ports};
use e2e::{Injection, Manifest, Namespace, Progress, environment, scenario, wait_for};
use serde_json::{Value, json};
use similar::TextDiff;

use super::sidecar::Sidecar;

const FILES: [&str; 6] = [
    "--injectConfigFile",
    "charts/minimesh/files/config",
    "--valuesFile",
    "charts/minimesh/values.yaml",
    "--meshConfigFile",
    "charts/minimesh/files/mesh",
];

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_pod_of_a_labelled_namespace_gets_the_promised_containers_and_becomes_ready() {
    has_the_promised_containers(Sidecar::Native);
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_pod_that_asks_for_an_ordinary_sidecar_gets_it_and_becomes_ready() {
    has_the_promised_containers(Sidecar::Ordinary);
}

fn has_the_promised_containers(sidecar: Sidecar) {
    scenario(sidecar.suffix("promised", "promised-ordinary"), |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let plain = scene.namespace(Injection::Unlabelled)?;
        let manifest = sidecar.asked_by(Manifest::read("nginx.yaml")?);
        namespace.apply(&manifest)?;

        // The same template, run by hand from the chart's files, and completed by the API server as any pod is.
        let mut args = vec!["--native-sidecars", "true"];
        let files = FILES.map(|part| match part.starts_with("--") {
            true => part.to_owned(),
            false => environment::root()
                .join(part)
                .to_string_lossy()
                .into_owned(),
        });
        args.extend(files.iter().map(String::as_str));
        let expected = plain.dry_run(&namespace.kube_inject(&args, &manifest.text())?)?;

        let ready = namespace.pod("nginx").wait_ready()?;
        assert_same_pod(&ready, &expected, [&namespace, &plain]);
        assert_order(&ready, sidecar);
        assert_rights(&ready)?;
        assert_marks(&ready)?;
        assert_nothing_restarted(&ready);
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn pods_outside_of_the_mesh_are_left_as_they_are() {
    scenario("left-alone", |scene| {
        let labelled = scene.namespace(Injection::Enabled)?;
        let unlabelled = scene.namespace(Injection::Unlabelled)?;
        let nginx = Manifest::read("nginx.yaml")?;
        let asks = |value| nginx.clone().labelled(labels::INJECT, value);
        let annotated = nginx.clone().annotated(labels::INJECT, "false");
        let on_host = nginx.clone().with(&json!({"spec": {"hostNetwork": true}}));

        // The two that are injected show that the others could have been.
        for (case, is_injected, namespace, manifest) in [
            ("labelled namespace", true, &labelled, nginx.clone()),
            (
                "unlabelled namespace, pod asks",
                true,
                &unlabelled,
                asks("true"),
            ),
            ("unlabelled namespace", false, &unlabelled, nginx.clone()),
            ("opted out by label", false, &labelled, asks("false")),
            ("opted out by annotation", false, &labelled, annotated),
            ("host network", false, &labelled, on_host),
        ] {
            assert_injected(case, is_injected, &namespace.dry_run(&manifest.text())?);
        }
        for protected in ["kube-system", control_plane::NAMESPACE] {
            let created = dry_run_in(protected, &asks("true"))?;
            assert_injected(protected, false, &created);
        }

        labelled.label(labels::INJECTION, None)?;
        // The API server learns of the label through a watch.
        let limit = std::time::Duration::from_secs(20);
        wait_for("the namespace to count as unlabelled", limit, || {
            let created = labelled.dry_run(&nginx.text())?;
            Ok(Progress::when(!is_injected(&created), || {
                format!("{:?}", names(&created))
            }))
        })
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn kube_inject_gives_what_the_webhook_gives() {
    scenario("kube-inject", |scene| {
        let labelled = scene.namespace(Injection::Enabled)?;
        let unlabelled = scene.namespace(Injection::Unlabelled)?;
        let path = environment::root().join("e2e/manifests/nginx.yaml");
        let manifest = std::fs::read_to_string(&path)?;
        // Without file flags the configuration comes from the cluster.
        unlabelled.apply_text(&unlabelled.kube_inject(&[], &manifest)?)?;
        let by_hand = unlabelled.pod("nginx").wait_ready()?;
        let by_webhook = labelled.dry_run(&manifest)?;
        ensure!(is_injected(&by_webhook), "the webhook injected nothing");
        assert_same_pod(&by_hand, &by_webhook, [&labelled, &unlabelled]);
        Ok(())
    });
}

fn dry_run_in(namespace: &str, manifest: &Manifest) -> anyhow::Result<Value> {
    let args = [
        "-n",
        namespace,
        "create",
        "--dry-run=server",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let answer = e2e::kubectl::run_with_input(&args, &manifest.text())?;
    serde_json::from_str(&answer).context("kubectl printed no JSON")
}

fn is_injected(pod: &Value) -> bool {
    names(pod).iter().any(|name| name == pod::PROXY_CONTAINER)
}

#[track_caller]
fn assert_injected(case: &str, expected: bool, pod: &Value) {
    assert_eq!(
        is_injected(pod),
        expected,
        "{case}: containers {:?}",
        names(pod)
    );
    let status = &pod["metadata"]["annotations"][annotations::STATUS];
    assert_eq!(status.is_string(), expected, "{case}: status {status}");
}

/// Names of all containers, in the order in which they start.
fn names(pod: &Value) -> Vec<String> {
    containers(pod)
        .filter_map(|container| container["name"].as_str().map(str::to_owned))
        .collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// Compares what injection decides; the namespaces' names may differ where they occur.
#[track_caller]
pub(super) fn assert_same_pod(left: &Value, right: &Value, namespaces: [&Namespace; 2]) {
    for part in ["initContainers", "containers", "volumes"] {
        let [left, right] = [left, right].map(|pod| normal(&pod["spec"][part], namespaces));
        if left != right {
            let diff = TextDiff::from_lines(&left, &right);
            panic!("spec.{part} differs:\n{}", diff.unified_diff());
        }
    }
    for part in [
        annotations::STATUS,
        labels::REVISION,
        annotations::DEFAULT_CONTAINER,
    ] {
        let of = |pod: &Value| pod["metadata"]["annotations"][part].clone();
        assert_eq!(of(left), of(right), "annotation {part}");
    }
    let of = |pod: &Value| pod["metadata"]["labels"].clone();
    assert_eq!(of(left), of(right), "labels");
}

/// Without what differs between any two pods: the token's volume has a random name and another place in its lists.
fn normal(value: &Value, namespaces: [&Namespace; 2]) -> String {
    let mut value = value.clone();
    sort_volumes(&mut value);
    for container in value.as_array_mut().into_iter().flatten() {
        if let Some(mounts) = container.get_mut("volumeMounts") {
            sort_volumes(mounts);
        }
        let variables = container.get_mut("env").and_then(Value::as_array_mut);
        for variable in variables.into_iter().flatten() {
            let quoted = variable["value"].as_str().map(serde_json::from_str);
            if let Some(Ok(mut quoted)) = quoted {
                drop_defaults(&mut quoted);
                variable["value"] = quoted;
            }
        }
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    namespaces.iter().fold(text, |text, namespace| {
        text.replace(namespace.name(), "NAMESPACE")
    })
}

/// The API server has written defaults into a pod before the webhook sees it, and into a file nobody has. Both mean the same where the
/// sidecar is told of the pod's ports and probes.
fn drop_defaults(value: &mut Value) {
    let defaults = [
        ("protocol", json!("TCP")),
        ("scheme", json!("HTTP")),
        ("timeoutSeconds", json!(1)),
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !defaults.contains(&(name.as_str(), value.clone())));
            fields.values_mut().for_each(drop_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn sort_volumes(list: &mut Value) {
    const TOKEN: &str = "kube-api-access";
    let Some(items) = list.as_array_mut() else {
        return;
    };
    let is_volumes = items.iter().all(|item| item["image"].is_null());
    for item in items.iter_mut() {
        if item["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(TOKEN))
        {
            item["name"] = TOKEN.into();
        }
    }
    if is_volumes {
        items.sort_by_key(|item| item["name"].to_string() + &item["mountPath"].to_string());
    }
}

#[track_caller]
fn assert_order(ready: &Value, sidecar: Sidecar) {
    let of = |list: &str| -> Vec<&str> {
        let items = ready["spec"][list].as_array().into_iter().flatten();
        items
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let expected = match sidecar {
        Sidecar::Native => (vec!["istio-init", "istio-proxy"], vec!["nginx"]),
        Sidecar::Ordinary => (vec!["istio-init"], vec!["nginx", "istio-proxy"]),
    };
    assert_eq!((of("initContainers"), of("containers")), expected);
    let proxy = containers(ready).find(|container| container["name"] == pod::PROXY_CONTAINER);
    let policy = proxy.map_or(&Value::Null, |proxy| &proxy["restartPolicy"]);
    match sidecar {
        Sidecar::Native => assert_eq!(policy, "Always"),
        Sidecar::Ordinary => assert!(policy.is_null(), "{policy}"),
    }
}

/// The network's rules need one right, in one container, for some milliseconds; nothing else of ours needs any.
fn assert_rights(ready: &Value) -> anyhow::Result<()> {
    for container in containers(ready) {
        let name = container["name"]
            .as_str()
            .context("a container has no name")?;
        let security = &container["securityContext"];
        let added = &security["capabilities"]["add"];
        match name {
            pod::INIT_CONTAINER => {
                assert_eq!(container["image"], "minimesh/istio-init:0.1.0");
                assert_eq!(*added, json!(["NET_ADMIN"]), "{name}");
                assert_eq!(security["runAsUser"], 0);
            }
            pod::PROXY_CONTAINER => {
                assert_eq!(container["image"], "minimesh/agent:0.1.0");
                assert!(added.is_null(), "{name} adds {added}");
                assert_eq!(security["runAsUser"], ids::PROXY_UID);
                assert_eq!(security["runAsGroup"], ids::PROXY_GID);
                assert_eq!(security["runAsNonRoot"], true);
            }
            _ => {
                assert!(added.is_null(), "{name} adds {added}");
                continue;
            }
        }
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(security["privileged"], false, "{name}");
    }
    Ok(())
}

/// What tools and people read: the status, the labels, the rewritten probe.
fn assert_marks(ready: &Value) -> anyhow::Result<()> {
    let metadata = &ready["metadata"];
    let status = metadata["annotations"][annotations::STATUS].as_str();
    let status: Value = serde_json::from_str(status.context("no status annotation")?)?;
    let injected: Vec<_> = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| status[list].as_array().into_iter().flatten())
        .collect();
    assert_eq!(
        injected,
        [pod::INIT_CONTAINER, pod::PROXY_CONTAINER],
        "{status}"
    );
    assert_eq!(status["revision"], "default");
    assert_eq!(metadata["labels"][labels::TLS_MODE], "istio");
    assert_eq!(metadata["labels"][labels::CANONICAL_NAME], "nginx");
    assert_eq!(metadata["labels"][labels::CANONICAL_REVISION], "v1");
    let nginx = containers(ready).find(|container| container["name"] == "nginx");
    let probe = &nginx.context("no container nginx")?["readinessProbe"]["httpGet"];
    assert_eq!(probe["path"], "/app-health/nginx/readyz");
    assert_eq!(probe["port"], ports::STATUS);
    Ok(())
}

#[track_caller]
fn assert_nothing_restarted(ready: &Value) {
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in ready["status"][list].as_array().into_iter().flatten() {
            assert_eq!(status["restartCount"], 0, "{status}");
        }
    }
}

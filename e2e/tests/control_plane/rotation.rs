//! A new root while everybody talks.

use std::time::Duration;

use anyhow::Context;
use contract::{
    control_plane::{CA_CERT_KEY, CA_SECRET, NAMESPACE, ROOT_CERT_KEY, ROTATE_ROOT},
    pod::{PROXY_CONTAINER, ROOT_CERT_CONFIG_MAP},
};
use e2e::{
    Injection, Manifest, Namespace, Pod, Progress, helm, kubectl,
    load::{Connections, Load},
    policy::of_namespace,
    scenario, wait_for,
};
use serde_json::Value;

/// What each step of the rotation may take.
const STEP: Duration = Duration::from_secs(120);

/// Settings under which a rotation takes minutes and not days; put back when the value is dropped.
struct Hurry;

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn the_root_is_replaced_under_load_without_a_lost_request() {
    scenario("rotation", |scene| {
        let _hurry = Hurry::begin()?;
        let namespace = scene.namespace(Injection::Enabled)?;
        namespace.apply(&of_namespace("STRICT"))?;
        for file in ["server.yaml", "client.yaml"] {
            namespace.apply(&Manifest::read(file)?)?;
        }
        let pods = [namespace.pod("server"), namespace.pod("client")];
        for pod in &pods {
            pod.wait_ready()?;
        }
        let [_, client] = &pods;
        client.wait_to_reach("http://server/")?;
        let kept = Load::start(client, "http://server/", Connections::Kept)?;
        let new = Load::start(client, "http://server/", Connections::PerRequest)?;

        let old = authority()?;
        let annotation = format!("{ROTATE_ROOT}=now");
        kubectl::run(&[
            "-n",
            NAMESPACE,
            "annotate",
            "secret",
            CA_SECRET,
            &annotation,
        ])?;
        wait_for("both roots in the bundle", STEP, || {
            let n_roots = n_roots(&namespace)?;
            Ok(Progress::when(n_roots == 2, || format!("{n_roots} roots")))
        })?;
        for pod in &pods {
            // The kubelet writes the bundle into the pod's files now, and not in its own time.
            namespace.run(&["annotate", "pod", pod.name(), "e2e/refresh=now"])?;
        }
        wait_for("the new authority to sign", STEP, || {
            let is_new = authority()? != old;
            Ok(Progress::when(is_new, || "the old one signs".to_owned()))
        })?;
        for pod in &pods {
            let before = certificate(pod)?;
            wait_for(&format!("{pod} to have another certificate"), STEP, || {
                let now = certificate(pod)?;
                Ok(Progress::when(now != before, || now.to_string()))
            })?;
        }
        for load in [kept, new] {
            load.expect_clean(1000)?;
        }
        Ok(())
    });
}

/// The certificate of the authority that signs.
fn authority() -> anyhow::Result<Value> {
    let secret = kubectl::get(&["-n", NAMESPACE, "secret", CA_SECRET])?;
    Ok(secret["data"][CA_CERT_KEY].clone())
}

/// How many roots the pods of a namespace are to trust.
fn n_roots(namespace: &Namespace) -> anyhow::Result<usize> {
    let map = namespace.get("configmap", ROOT_CERT_CONFIG_MAP)?;
    let bundle = map["data"][ROOT_CERT_KEY].as_str().unwrap_or_default();
    Ok(bundle.matches("BEGIN CERTIFICATE").count())
}

/// What a sidecar says of its own certificate.
fn certificate(pod: &Pod) -> anyhow::Result<Value> {
    let page = pod.read(PROXY_CONTAINER, &["pilot-agent", "request", "GET", "certs"])?;
    let page: Value = serde_json::from_str(&page).context("no JSON about certificates")?;
    Ok(page["certificates"][0]["cert_chain"].clone())
}

// === impl Hurry ===

impl Hurry {
    fn begin() -> anyhow::Result<Self> {
        let hurry = Self;
        helm::upgrade(&[
            "pilot.env.ROOT_ROTATION_DELAY=45s",
            "pilot.env.DEFAULT_WORKLOAD_CERT_TTL=2m",
            "pilot.env.MAX_WORKLOAD_CERT_TTL=2m",
        ])?;
        Ok(hurry)
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        let back = helm::upgrade(&[
            "pilot.env.ROOT_ROTATION_DELAY=null",
            "pilot.env.DEFAULT_WORKLOAD_CERT_TTL=null",
            "pilot.env.MAX_WORKLOAD_CERT_TTL=null",
        ]);
        if let Err(error) = back {
            eprintln!("the release's values are not as they were: {error:#}");
        }
    }
}

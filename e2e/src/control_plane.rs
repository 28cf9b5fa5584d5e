//! The control plane as tests handle it: its pods, its configuration, its replicas.
//!
//! What a test changes it puts back: [`Configuration`] restores the ConfigMap when it is dropped, [`Scaled`] the replicas.

use std::time::Duration;

use anyhow::{Context, ensure};
use contract::{
    control_plane::{NAMESPACE, SIDECAR_INJECTOR},
    ports,
};
use serde_json::{Value, json};

use crate::{
    kubectl,
    metrics::Metrics,
    pod::Pod,
    wait::{Progress, wait_for},
};

/// Name of the Deployment, and of the component.
pub const DEPLOYMENT: &str = "injector";
/// URL path that says whether the injector is ready, and what it has to say about itself.
pub const READY: &str = "/ready";
/// Selects the injector's pods.
const SELECTOR: &str = "app=istiod";
/// What a change may take to reach every replica: an update of the volume, a look at it, a rollout.
const LIMIT: Duration = Duration::from_secs(90);

/// The original of a ConfigMap's key, put back when the value is dropped.
#[derive(Debug)]
pub struct Configuration {
    key: &'static str,
    original: String,
}

/// A number of replicas other than the original, which comes back when the value is dropped.
#[derive(Debug)]
pub struct Scaled {
    original: u64,
}

/// The injector's pods, those that are ending left out.
///
/// # Errors
/// kubectl fails.
pub fn pods() -> anyhow::Result<Vec<Pod>> {
    let items = kubectl::list(&["-n", NAMESPACE, "pods", "-l", SELECTOR])?;
    let alive = items
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let names = alive.filter_map(|pod| pod["metadata"]["name"].as_str());
    Ok(names.map(|name| Pod::new(NAMESPACE, name)).collect())
}

/// An injector's metrics.
///
/// # Errors
/// They cannot be scraped.
pub fn metrics(pod: &Pod) -> anyhow::Result<Metrics> {
    Ok(Metrics::parse(&pod.page(ports::MONITORING, "/metrics")?))
}

/// Makes the kubelet look at the injectors' volumes now, and not in its own time, which is up to a minute and a half.
///
/// # Errors
/// kubectl fails.
pub fn refresh_volumes(pods: &[Pod]) -> anyhow::Result<()> {
    for pod in pods {
        let stamp = format!("{:?}", std::time::SystemTime::now());
        let change = json!({"metadata": {"annotations": {"e2e/refresh": stamp}}});
        let args = [
            "-n",
            NAMESPACE,
            "patch",
            "pod",
            pod.name(),
            "--type=merge",
            "-p",
        ];
        kubectl::run(&[&args[..], &[&change.to_string()]].concat())?;
    }
    Ok(())
}

/// Waits until all replicas of the Deployment are there and ready.
///
/// # Errors
/// They are not in time.
pub fn wait_rolled_out() -> anyhow::Result<()> {
    let timeout = format!("--timeout={}s", LIMIT.as_secs());
    let name = format!("deployment/{DEPLOYMENT}");
    kubectl::run(&["-n", NAMESPACE, "rollout", "status", &name, &timeout])?;
    Ok(())
}

// === impl Configuration ===

impl Configuration {
    /// Remembers a key of the ConfigMap with the templates.
    ///
    /// # Errors
    /// It is not there.
    pub fn of_templates(key: &'static str) -> anyhow::Result<Self> {
        let map = kubectl::get(&["-n", NAMESPACE, "configmap", SIDECAR_INJECTOR])?;
        let original = map["data"][key].as_str();
        let original =
            original.with_context(|| format!("ConfigMap {SIDECAR_INJECTOR} has no {key}"))?;
        Ok(Self {
            key,
            original: original.to_owned(),
        })
    }

    /// Replaces a part of the original and lets the kubelet look at it.
    ///
    /// # Errors
    /// The part is not in the original, or kubectl fails.
    pub fn replace(&self, part: &str, replacement: &str) -> anyhow::Result<()> {
        ensure!(
            self.original.contains(part),
            "ConfigMap {SIDECAR_INJECTOR} key {} has nowhere {part:?}",
            self.key
        );
        self.set(&self.original.replacen(part, replacement, 1))
    }

    /// Puts the original back and lets the kubelet look at it.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn restore(&self) -> anyhow::Result<()> {
        self.set(&self.original)
    }

    fn set(&self, text: &str) -> anyhow::Result<()> {
        let change = json!({"data": {self.key: text}}).to_string();
        let args = [
            "-n",
            NAMESPACE,
            "patch",
            "configmap",
            SIDECAR_INJECTOR,
            "--type=merge",
            "-p",
        ];
        kubectl::run(&[&args[..], &[&change]].concat())?;
        refresh_volumes(&pods()?)
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("ConfigMap {SIDECAR_INJECTOR} is not as it was: {error:#}");
        }
    }
}

// === impl Scaled ===

impl Scaled {
    /// Scales the injector to nothing and waits until no replica is left to answer.
    ///
    /// # Errors
    /// kubectl fails, or a replica does not end.
    pub fn to_zero() -> anyhow::Result<Self> {
        let deployment = kubectl::get(&["-n", NAMESPACE, "deployment", DEPLOYMENT])?;
        let scaled = Self {
            original: deployment["spec"]["replicas"].as_u64().unwrap_or(1),
        };
        scale(0)?;
        wait_for("all injectors to end", LIMIT, || {
            let items = kubectl::list(&["-n", NAMESPACE, "pods", "-l", SELECTOR])?;
            let names: Vec<&Value> = items.iter().map(|pod| &pod["metadata"]["name"]).collect();
            Ok(Progress::when(names.is_empty(), || format!("{names:?}")))
        })?;
        Ok(scaled)
    }

    /// Brings the replicas back and waits for them.
    ///
    /// # Errors
    /// kubectl fails, or they are not ready in time.
    pub fn restore(self) -> anyhow::Result<()> {
        scale(self.original)?;
        wait_rolled_out()
    }
}

impl Drop for Scaled {
    fn drop(&mut self) {
        if let Err(error) = scale(self.original) {
            eprintln!("the injector is not scaled back: {error:#}");
        }
    }
}

fn scale(replicas: u64) -> anyhow::Result<()> {
    let (name, replicas) = (
        format!("deployment/{DEPLOYMENT}"),
        format!("--replicas={replicas}"),
    );
    kubectl::run(&["-n", NAMESPACE, "scale", &name, &replicas])?;
    Ok(())
}

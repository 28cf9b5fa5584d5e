//! A namespace of a test's own: made for it, labelled or not, and deleted without waiting when it is over.
//!
//! The name is unique, so tests run beside each other and a run is not disturbed by what another has left behind.

use std::{
    cell::Cell,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Context;
use contract::labels;
use serde_json::{Value, json};

use crate::{
    environment::environment,
    kubectl::{self, Outcome},
    manifest::Manifest,
    pod::Pod,
    wait::{Progress, wait_for},
};

/// Whether a namespace asks for sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// It bears the label `istio-injection: enabled`.
    Enabled,
    /// It bears no label of the mesh.
    Unlabelled,
}

/// A namespace that exists as long as the value, unless its test fails and `E2E_KEEP` is set.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    is_kept: Cell<bool>,
}

/// How long a namespace may take to have what pods need.
const LIMIT: Duration = Duration::from_secs(30);

// === impl Namespace ===

impl Namespace {
    /// Makes a namespace for `scene` and waits until pods can be created in it.
    ///
    /// # Errors
    /// The API server refuses, or no service account appears.
    pub fn create(scene: &str, injection: Injection) -> anyhow::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{scene}-{}-{count}", process::id());
        let labels = match injection {
            Injection::Enabled => json!({labels::INJECTION: "enabled"}),
            Injection::Unlabelled => json!({}),
        };
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        kubectl::run_with_input(&["create", "-f", "-"], &object.to_string())?;
        let namespace = Self {
            name,
            is_kept: Cell::new(false),
        };
        namespace.wait_for_service_account()?;
        Ok(namespace)
    }

    /// Pods cannot be created before the controller has made the account that they run as.
    fn wait_for_service_account(&self) -> anyhow::Result<()> {
        let what = format!("service account default of namespace {}", self.name);
        wait_for(&what, LIMIT, || {
            let outcome = self.try_run(&["get", "serviceaccount", "default"], None)?;
            Ok(Progress::when(outcome.success, || outcome.stderr.clone()))
        })
    }

    /// The namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the namespace in the cluster.
    pub(crate) fn keep(&self) {
        self.is_kept.set(true);
    }

    /// A label of the namespace is set, or removed without a value.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn label(&self, name: &str, value: Option<&str>) -> anyhow::Result<()> {
        let change = match value {
            Some(value) => format!("{name}={value}"),
            None => format!("{name}-"),
        };
        kubectl::run(&["label", "--overwrite", "namespace", &self.name, &change])?;
        Ok(())
    }

    /// Runs kubectl in this namespace.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        kubectl::run(&self.args(args))
    }

    /// Runs kubectl in this namespace where it may fail.
    ///
    /// # Errors
    /// kubectl cannot be started.
    pub fn try_run(&self, args: &[&str], input: Option<&str>) -> anyhow::Result<Outcome> {
        kubectl::try_run(&self.args(args), input)
    }

    /// An object of this namespace, `get("pod", "nginx")`.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        kubectl::get(&["-n", &self.name, kind, name])
    }

    /// Applies the objects.
    ///
    /// # Errors
    /// The API server refuses one.
    pub fn apply(&self, manifest: &Manifest) -> anyhow::Result<()> {
        self.apply_text(&manifest.text())
    }

    /// Applies YAML or JSON as it is.
    ///
    /// # Errors
    /// The API server refuses an object.
    pub fn apply_text(&self, text: &str) -> anyhow::Result<()> {
        kubectl::run_with_input(&self.args(&["apply", "-f", "-"]), text)?;
        Ok(())
    }

    /// What the API server would make of the objects, without making them.
    ///
    /// # Errors
    /// The API server refuses one.
    pub fn dry_run(&self, text: &str) -> anyhow::Result<Value> {
        let args = self.args(&["create", "--dry-run=server", "-o", "json", "-f", "-"]);
        let answer = kubectl::run_with_input(&args, text)?;
        serde_json::from_str(&answer).context("kubectl printed no JSON")
    }

    /// Tries to create the objects, where being refused is what the test wants to see.
    ///
    /// # Errors
    /// kubectl cannot be started.
    pub fn try_create(&self, manifest: &Manifest) -> anyhow::Result<Outcome> {
        self.try_run(&["create", "-f", "-"], Some(&manifest.text()))
    }

    /// The pod with this name, which need not exist yet.
    #[must_use]
    pub fn pod(&self, name: &str) -> Pod {
        Pod::new(&self.name, name)
    }

    /// The pods with this label, `app=rolling`.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn pods(&self, selector: &str) -> anyhow::Result<Vec<Pod>> {
        let items = kubectl::list(&["-n", &self.name, "pods", "-l", selector])?;
        let names = items
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str());
        Ok(names.map(|name| self.pod(name)).collect())
    }

    /// Runs `minimesh` for this namespace where it may fail.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn minimesh(&self, args: &[&str]) -> anyhow::Result<Outcome> {
        let mut command = process::Command::new(&environment().minimesh);
        command.args(args).args(["-n", &self.name]);
        kubectl::finish(command, None)
    }

    /// What `minimesh kube-inject` makes of a manifest of this namespace.
    ///
    /// # Errors
    /// It cannot be run or refuses.
    pub fn kube_inject(&self, args: &[&str], manifest: &str) -> anyhow::Result<String> {
        let mut command = process::Command::new(&environment().minimesh);
        command
            .args(["kube-inject", "-f", "-", "-n", &self.name])
            .args(args);
        let outcome = kubectl::finish(command, Some(manifest))?;
        outcome.into_stdout(|| format!("minimesh kube-inject {}", args.join(" ")))
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["-n", self.name.as_str()], args].concat()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.is_kept.get() {
            // The next run does not depend on it; a cluster that is gone has no namespaces to delete either.
            let args = ["delete", "namespace", &self.name, "--wait=false"];
            let _ = kubectl::try_run(&args, None);
        }
    }
}

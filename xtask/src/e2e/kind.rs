//! One kind cluster, for as long as its value lives.
//!
//! Used by `e2e`. The cluster has a kubeconfig of its own: neither the user's nor its current context is touched.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::json;

use super::{IpFamily, setup::Tools};
use crate::project;

/// A cluster that was left behind has this name too, and is replaced. Objects of nodes have it in theirs, so the project's is not part of it:
/// what bears that has to be gone at the end.
const NAME: &str = "mesh-e2e";

/// The shape of a cluster.
pub(crate) struct Shape {
    pub(crate) n_nodes: u8,
    pub(crate) ip_family: IpFamily,
}

/// A running cluster; dropping it deletes it unless it is kept.
pub(crate) struct Cluster<'a> {
    tools: &'a Tools,
    kubeconfig: PathBuf,
    keep: bool,
}

// === impl Cluster ===

impl<'a> Cluster<'a> {
    /// Creates a cluster whose kubeconfig lies in `folder`, and waits until its node is ready.
    pub(crate) fn create(
        tools: &'a Tools,
        shape: &Shape,
        folder: &Path,
        keep: bool,
    ) -> anyhow::Result<Self> {
        let cluster = Self {
            tools,
            kubeconfig: folder.join("kubeconfig"),
            keep,
        };
        cluster.delete()?;
        let mut command = cluster.kind();
        command
            .args(["create", "cluster", "--name", NAME, "--wait", "180s"])
            .args(["--quiet", "--config", "-"])
            .arg("--image")
            .arg(&tools.node_image)
            .arg("--kubeconfig")
            .arg(&cluster.kubeconfig)
            .stdin(Stdio::piped());
        let mut child = command.spawn().context("cannot run kind")?;
        let mut input = child.stdin.take().context("kind has no input")?;
        input
            .write_all(shape.config().to_string().as_bytes())
            .context("cannot give kind its configuration")?;
        drop(input);
        let status = child.wait().context("cannot wait for kind")?;
        ensure!(status.success(), "kind create cluster failed: {status}");
        Ok(cluster)
    }

    /// Where the cluster's kubeconfig is.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Brings images of this machine's engine to every node.
    pub(crate) fn load(&self, images: &[String]) -> anyhow::Result<()> {
        project::run(
            self.kind()
                .args(["load", "docker-image", "--quiet", "--name", NAME])
                .args(images),
        )
    }

    fn kind(&self) -> Command {
        let mut command = Command::new(&self.tools.kind);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    fn delete(&self) -> anyhow::Result<()> {
        project::run(
            self.kind()
                .args(["delete", "cluster", "--quiet", "--name", NAME]),
        )
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if self.keep {
            println!(
                "the cluster stays:\n    export KUBECONFIG={}\n    kubectl get pods --all-namespaces\n    kind delete cluster --name {NAME}     # when done",
                self.kubeconfig.display()
            );
        } else if let Err(error) = self.delete() {
            eprintln!("the cluster {NAME} could not be deleted: {error:#}");
        }
    }
}

// === impl Shape ===

impl Shape {
    fn config(&self) -> serde_json::Value {
        let nodes: Vec<_> = (0..self.n_nodes)
            .map(|idx| json!({ "role": if idx == 0 { "control-plane" } else { "worker" } }))
            .collect();
        json!({
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": { "ipFamily": self.ip_family.to_string() },
            // For injection by policy; a cluster without policies behaves as if they were off.
            "featureGates": { "MutatingAdmissionPolicy": true },
            "runtimeConfig": { "admissionregistration.k8s.io/v1beta1": "true" },
            "nodes": nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_is_the_control_plane() {
        let shape = Shape {
            n_nodes: 2,
            ip_family: IpFamily::Dual,
        };
        let config = shape.config();
        assert_eq!(config["nodes"][0]["role"], "control-plane");
        assert_eq!(config["nodes"][1]["role"], "worker");
        assert_eq!(config["nodes"][2], json!(null));
        assert_eq!(config["networking"]["ipFamily"], "dual");
    }
}

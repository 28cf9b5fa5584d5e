//! The node underneath: its processes and the pods' network namespaces, reached through the node's container.
//!
//! For what Kubernetes does not offer and a fault does all the same: a process that is frozen or killed. kind names the container
//! after the node.

use std::process::Command;

use anyhow::{Context, ensure};
use contract::pod;

use crate::{environment::environment, kubectl, pod::Pod};

/// A process on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    node: String,
    id: u32,
}

/// A process that does nothing until the value is dropped.
#[derive(Debug)]
pub struct Frozen {
    process: Process,
}

// === impl Process ===

impl Process {
    /// The sidecar's process of `pod`.
    ///
    /// # Errors
    /// The sidecar does not run.
    pub fn sidecar(pod: &Pod) -> anyhow::Result<Self> {
        Self::of_container(pod, pod::PROXY_CONTAINER)
    }

    /// The first process of a container.
    ///
    /// # Errors
    /// The container does not run.
    pub fn of_container(pod: &Pod, container: &str) -> anyhow::Result<Self> {
        let object = pod.object()?;
        let node = object["spec"]["nodeName"].as_str();
        let node = node.with_context(|| format!("{pod} is on no node"))?;
        let id = ["initContainerStatuses", "containerStatuses"]
            .into_iter()
            .flat_map(|list| object["status"][list].as_array().into_iter().flatten())
            .find(|status| status["name"] == container)
            .and_then(|status| {
                status["containerID"]
                    .as_str()?
                    .strip_prefix("containerd://")
            })
            .with_context(|| format!("container {container} of {pod} has no id"))?;
        let tasks = on_node(node, &["ctr", "--namespace", "k8s.io", "tasks", "list"])?;
        let task = tasks.lines().find(|line| line.starts_with(id));
        let process = task.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        Ok(Self {
            node: node.to_owned(),
            id: process.with_context(|| format!("container {container} of {pod} does not run"))?,
        })
    }

    /// Sends a signal by name, `KILL`.
    ///
    /// # Errors
    /// There is no such process any more.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.id.to_string();
        on_node(&self.node, &["kill", &format!("-{signal}"), &id])?;
        Ok(())
    }

    /// Stops the process until the value is dropped.
    ///
    /// # Errors
    /// There is no such process any more.
    pub fn freeze(self) -> anyhow::Result<Frozen> {
        self.signal("STOP")?;
        let (node, id) = (self.node.clone(), self.id);
        let frozen = Frozen { process: self };
        ensure!(frozen.holds()?, "process {id} on {node} is not stopped");
        Ok(frozen)
    }

    /// Whether anything in the network namespace of the process listens on this TCP port.
    ///
    /// # Errors
    /// There is no such process any more.
    pub fn is_port_open(&self, port: u16) -> anyhow::Result<bool> {
        let file = |name: &str| format!("/proc/{}/net/{name}", self.id);
        let sockets = on_node(&self.node, &["cat", &file("tcp"), &file("tcp6")])?;
        Ok(lists_listener(&sockets, port))
    }

    /// Standard output of a program in the network namespace of the process.
    ///
    /// # Errors
    /// It fails.
    pub fn in_network(&self, program: &[&str]) -> anyhow::Result<String> {
        let id = self.id.to_string();
        let enter = ["nsenter", "--target", &id, "--net", "--"];
        on_node(&self.node, &[&enter[..], program].concat())
    }
}

// === impl Frozen ===

impl Frozen {
    /// Whether the process is still stopped: what was seen meanwhile says nothing if somebody else woke it.
    ///
    /// # Errors
    /// There is no such process any more.
    pub fn holds(&self) -> anyhow::Result<bool> {
        let Process { node, id } = &self.process;
        let stat = on_node(node, &["cat", &format!("/proc/{id}/stat")])?;
        Ok(stat.contains(") T "))
    }

    /// Lets the process go on.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(self) -> anyhow::Result<()> {
        self.process.signal("CONT")
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A process that is gone, or goes on already, needs no waking.
        let _ = self.process.signal("CONT");
    }
}

/// Reads the kernel's table of sockets: `SLOT: LOCAL:PORT REMOTE:PORT STATE …`, in hexadecimal.
fn lists_listener(sockets: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&port) && fields.nth(1) == Some(LISTEN)
    })
}

/// Names of all nodes.
///
/// # Errors
/// kubectl fails.
pub fn names() -> anyhow::Result<Vec<String>> {
    let nodes = kubectl::list(&["nodes"])?;
    let names = nodes
        .iter()
        .filter_map(|node| node["metadata"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Standard output of a program on a node.
///
/// # Errors
/// It fails.
pub fn on_node(node: &str, program: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(&environment().docker);
    command.args(["exec", node]).args(program);
    kubectl::finish(command, None)?.into_stdout(|| format!("on node {node}: {}", program.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:3A9E 00000000:0000 0A 00000000:00000000 00:00000000
   1: 0100007F:1F90 0100007F:A0DE 01 00000000:00000000 00:00000000
";
        assert!(lists_listener(table, 15006));
        for port in [8080, 15001, 0] {
            assert!(!lists_listener(table, port), "{port}");
        }
    }
}

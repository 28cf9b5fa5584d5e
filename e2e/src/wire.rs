//! What passes between pods, seen from their node.
//!
//! A [`Wire`] is the test server's `capture` in a pod of the node's own network, from the moment it listens until [`Wire::seen`].

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::{Manifest, kubectl, namespace::Namespace, pod::Pod};

/// A capture that goes on.
#[derive(Debug)]
pub struct Wire {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// What a capture has seen of one address.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Seen {
    /// TCP segments with contents.
    pub segments: usize,
    /// Those that begin with an encrypted record of TLS.
    pub encrypted: usize,
    /// Those in which the text can be read.
    pub readable: usize,
}

/// Name of the pod that listens.
const POD: &str = "wiretap";

/// Starts the pod that listens, in `namespace` and on the node of `pod`.
///
/// # Errors
/// It does not start.
pub fn prepare(namespace: &Namespace, pod: &Pod) -> anyhow::Result<Pod> {
    let node = pod.object()?["spec"]["nodeName"].clone();
    ensure!(node.is_string(), "{pod} is on no node");
    let manifest = Manifest::read("wiretap.yaml")?.with(&json!({"spec": {"nodeName": node}}));
    namespace.apply(&manifest)?;
    let tap = namespace.pod(POD);
    tap.wait_ready()?;
    Ok(tap)
}

// === impl Wire ===

impl Wire {
    /// Listens by `tap`, the pod that [`prepare`] gives, for segments of `address` with `text`.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn listen(tap: &Pod, address: &str, text: &str) -> anyhow::Result<Self> {
        let program = ["test-server", "capture", address, text];
        let mut child = kubectl::command(&tap.exec_args(&["-i"], "client", &program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut wire = Self {
            child,
            stdout: BufReader::new(stdout),
        };
        let mut line = String::new();
        wire.stdout.read_line(&mut line)?;
        ensure!(line == "listening\n", "{tap} does not listen: {line}");
        Ok(wire)
    }

    /// Everything that has passed since it listens.
    ///
    /// # Errors
    /// It has not said.
    pub fn seen(mut self) -> anyhow::Result<Seen> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.stdout.read_to_string(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("no report of the wire: {line}"))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // It has ended, unless the test has failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Requests that go on while a test changes the world around them.
//!
//! A [`Load`] is the test server's client `load` in a pod, until [`Load::stop`] or the test's end.

use std::{
    io::Read as _,
    process::{Child, Stdio},
};

use anyhow::Context;

use crate::{kubectl, pod::Pod, report::Report};

/// A load client in a pod; it ends when its standard input does.
#[derive(Debug)]
pub struct Load {
    child: Child,
    from: Pod,
}

/// What the clients do with their connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Each client keeps its own for as long as it lasts.
    Kept,
    /// Each request has its own.
    PerRequest,
}

// === impl Load ===

impl Load {
    /// Three clients in `from` that ask for `url`, about fifty times a second each.
    ///
    /// # Errors
    /// kubectl cannot be started.
    pub fn start(from: &Pod, url: &str, connections: Connections) -> anyhow::Result<Self> {
        let mut program = vec![
            "test-server",
            "load",
            url,
            "--clients=3",
            "--pause=20ms",
            "--duration=300s",
            "--until-eof",
        ];
        if connections == Connections::PerRequest {
            program.push("--connection-per-request");
        }
        let child = kubectl::command(&from.exec_args(&["-i"], "client", &program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        Ok(Self {
            child,
            from: from.clone(),
        })
    }

    /// Ends the load and reads the report.
    ///
    /// # Errors
    /// There is no report.
    pub fn stop(mut self) -> anyhow::Result<Report> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().context("no standard output")?;
        stdout.read_to_string(&mut line)?;
        Report::parse(&line).with_context(|| format!("load from {}", self.from))
    }

    /// Ends the load, of which no request may have failed and at least `requests` must have been made.
    ///
    /// # Errors
    /// Something failed, or too little was done.
    pub fn expect_clean(self, requests: usize) -> anyhow::Result<Report> {
        let from = self.from.clone();
        self.stop()?
            .expect_clean(requests)
            .with_context(|| from.to_string())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has ended, unless the test has failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The files of a run: configuration, certificate, and the scripts that make wrk send reviews.
//!
//! Written by the bench into a folder that goes away with it.
//! The configuration is the chart's own, in the places where this project's injector and Istio's look for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use testkit::reviews;

use crate::project;

/// wrk's scripts for one review.
pub(super) struct Review {
    /// Sends it.
    pub(super) send: PathBuf,
    /// Sends it and stops where the answer is not a patch, which costs wrk time of its own.
    pub(super) check: PathBuf,
}

// === impl Review ===

impl Review {
    /// Writes the scripts for the review of a pod with `n_variables`.
    pub(super) fn write(folder: &Path, n_variables: usize) -> anyhow::Result<Self> {
        let review = folder.join("review.json");
        fs::write(&review, reviews::review(n_variables).to_string())?;
        let send = format!(
            "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = io.open('{}'):read('*a')\n",
            review.display()
        );
        let check = "response = function(status, headers, body)\n  if not body:find('\"patchType\":\"JSONPatch\"', 1, true) then\n    print('Non-2xx, or no patch: ' .. body)\n    wrk.thread:stop()\n  end\nend\n";
        let scripts = Self {
            send: folder.join("send.lua"),
            check: folder.join("check.lua"),
        };
        fs::write(&scripts.send, &send)?;
        fs::write(&scripts.check, send + check)?;
        Ok(scripts)
    }
}

/// The chart's configuration as it is mounted, and a certificate.
pub(super) fn folder() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let chart = project::root().join("charts/minimesh");
    // Istio's control plane has no option for its place.
    let istiod = "var/lib/istio/inject";
    fs::create_dir(folder.path().join("inject"))?;
    fs::create_dir_all(folder.path().join(istiod))?;
    for (from, to) in [
        ("files/config", "inject/config"),
        ("values.yaml", "inject/values"),
        ("files/config", &format!("{istiod}/config")),
        ("values.yaml", &format!("{istiod}/values")),
        ("files/mesh", "mesh"),
    ] {
        fs::copy(chart.join(from), folder.path().join(to))
            .with_context(|| format!("cannot copy the chart's {from}"))?;
    }
    certificate(folder.path())?;
    Ok(folder)
}

fn certificate(folder: &Path) -> anyhow::Result<()> {
    let openssl = project::find_program("openssl")
        .context("openssl is not installed: apt-get install openssl")?;
    let output = Command::new(openssl)
        .current_dir(folder)
        .args(["req", "-x509", "-nodes", "-subj", "/CN=localhost"])
        .args(["-days", "1", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", "tls.key", "-out", "tls.crt"])
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        bail!(
            "openssl failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // Istio's control plane watches its files and takes none twice.
    fs::copy(folder.join("tls.crt"), folder.join("ca.crt"))?;
    Ok(())
}

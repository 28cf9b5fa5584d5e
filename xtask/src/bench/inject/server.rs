//! A webhook under measurement: the program and where it serves reviews.
//!
//! Started by the bench from a folder of files, this project's injector by itself and Istio's with a stand-in for the API server.
//! Both read the same configuration and present the same certificate, so what differs is what they do.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use testkit::{
    api_server::ApiServer,
    process::{Process, eventually},
};

use super::scripts::Review;
use crate::bench::{cpu_us, wrk};

/// A program that serves reviews.
pub(super) struct Server {
    /// What the table calls it.
    pub(super) name: &'static str,
    pub(super) process: Process,
    url: String,
}

/// What wrk and the kernel say of one measurement.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) run: wrk::Run,
    pub(super) cpu_us_per_review: f64,
}

/// The injector reads its files and is there.
const LIMIT: Duration = Duration::from_secs(10);

/// Istio's control plane waits for every cache first, on a busy machine for long.
const ISTIOD_LIMIT: Duration = Duration::from_secs(90);

/// Istio's settings that keep to injection: no authority, no other webhooks, plain lists and watches.
const ISTIOD_ENVIRONMENT: &[(&str, &str)] = &[
    ("ENABLE_CA_SERVER", "false"),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("KUBE_FEATURE_WatchListClient", "false"),
    ("PILOT_CERT_PROVIDER", "none"),
    ("POD_NAME", "istiod"),
    ("POD_NAMESPACE", "istio-system"),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
];

// === impl Server ===

impl Server {
    /// Starts this project's injector.
    pub(super) fn injector(
        program: &Path,
        folder: &Path,
        name: &'static str,
    ) -> anyhow::Result<Self> {
        let program = &found(program)?;
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(program)
            .current_dir(folder)
            .args(["--https-addr", "127.0.0.1:0", "--inject-dir", "inject"])
            .args(["--mesh-config", "mesh"])
            .args(["--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key"])
            // As its image has it.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let process = Process::new(program.display().to_string(), child);
        let mut address = None;
        eventually(LIMIT, || {
            address = address_in(&fs::read_to_string(&log).unwrap_or_default());
            address.is_some()
        });
        let address = address.with_context(|| silent(program, &log))?;
        Ok(Self {
            name,
            process,
            url: format!("https://{address}/inject"),
        })
    }

    /// Starts Istio's control plane, `pilot-discovery`, against an API server that has nothing.
    pub(super) fn istiod(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let program = found(program)?;
        let kubeconfig = ApiServer::start()?.kubeconfig();
        fs::write(folder.join("kubeconfig"), kubeconfig)?;
        // It takes no port 0 for reviews, or does not tell which one it got.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = folder.join("istiod.log");
        let output = File::create(&log)?;
        let child = Command::new(&program)
            .current_dir(folder)
            .envs(ISTIOD_ENVIRONMENT.iter().copied())
            .args(["discovery", "--kubeconfig", "kubeconfig"])
            .args(["--meshConfig", "mesh", "--httpAddr", "127.0.0.1:0"])
            .args(["--httpsAddr", &address.to_string()])
            .args(["--grpcAddr=", "--secureGRPCAddr=", "--monitoringAddr="])
            .args(["--ctrlz_port", "0", "--caCertFile", "ca.crt"])
            .args(["--tlsCertFile", "tls.crt", "--tlsKeyFile", "tls.key"])
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let process = Process::new(program.display().to_string(), child);
        let is_ready = eventually(ISTIOD_LIMIT, || {
            fs::read_to_string(&log)
                .unwrap_or_default()
                .contains("starting webhook service")
        });
        if !is_ready {
            bail!(silent(&program, &log));
        }
        Ok(Self {
            name: "istiod",
            process,
            url: format!("https://{address}/inject"),
        })
    }

    /// Sends reviews for a second and stops where an answer is no patch; also warms up.
    pub(super) fn check(&self, wrk: &Path, review: &Review) -> anyhow::Result<()> {
        self.load(wrk, &review.check, 1, 1).map(drop)
    }

    pub(super) fn measure(
        &self,
        wrk: &Path,
        review: &Review,
        n_connections: u32,
        seconds: u32,
    ) -> anyhow::Result<Sample> {
        let before = cpu_us(&self.process)?;
        let run = self.load(wrk, &review.send, n_connections, seconds)?;
        Ok(Sample {
            run,
            cpu_us_per_review: (cpu_us(&self.process)? - before) / run.n_requests,
        })
    }

    fn load(
        &self,
        wrk: &Path,
        script: &Path,
        n_connections: u32,
        seconds: u32,
    ) -> anyhow::Result<wrk::Run> {
        let mut command = Command::new(wrk);
        wrk::configure(&mut command, n_connections, seconds);
        let output = command
            .arg("--script")
            .arg(script)
            .arg(&self.url)
            .output()
            .context("cannot run wrk")?;
        if !output.status.success() {
            bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        wrk::Run::parse(&String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("{} does not answer as it should", self.name))
    }
}

fn silent(program: &Path, log: &PathBuf) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    format!("{} does not listen:\n{text}", program.display())
}

/// Where a program is, whatever folder it is then run in.
fn found(program: &Path) -> anyhow::Result<PathBuf> {
    fs::canonicalize(program).with_context(|| format!("there is no {}", program.display()))
}

/// Where the injector's log says that it listens, once it is ready.
fn address_in(log: &str) -> Option<String> {
    let (_, rest) = log
        .contains("ready")
        .then(|| log.split_once("address="))
        .flatten()?;
    Some(rest.split_whitespace().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_once_the_injector_is_ready() {
        let listening = "INFO listening name=\"webhook\" address=127.0.0.1:19001\n";
        assert_eq!(address_in(listening), None);
        assert_eq!(
            address_in(&format!("{listening}INFO ready after_ms=0\n")).as_deref(),
            Some("127.0.0.1:19001")
        );
    }
}

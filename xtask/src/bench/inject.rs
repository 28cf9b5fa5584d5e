//! `cargo xtask bench inject`: what one review by the webhook costs.
//!
//! Starts the injector from files, without a cluster, and sends it the same review over and over on TLS connections that are kept.
//! With `--against`, another injector runs beside it and takes turns, so that the two compare.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use testkit::{
    process::{Process, eventually},
    reviews,
};

use super::{cpu_us, machine_load, wrk};
use crate::{lab, project};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often each measurement is made.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The injector to measure, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// An injector to compare with, such as one built before a change.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// What wrk and the kernel say of one measurement.
#[derive(Clone, Copy, Default)]
struct Sample {
    run: wrk::Run,
    cpu_us_per_review: f64,
}

/// An injector that serves reviews.
struct Injector {
    process: Process,
    url: String,
}

const CONNECTIONS: [u32; 2] = [1, 8];
const PODS: [(&str, usize); 2] = [("typical pod", 1), ("pod with 2000 variables", 2000)];
const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let wrk = wrk::find()?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let folder = files()?;
    let mut injectors = vec![Injector::start(&program, folder.path(), "this")?];
    if let Some(other) = &args.against {
        injectors.push(Injector::start(other, folder.path(), "other")?);
    }
    println!("load before: {}", machine_load()?);
    for injector in &injectors {
        println!(
            "resident idle: {} KiB, {}",
            lab::resident_kib(&injector.process)?,
            injector.process.name()
        );
    }
    for (name, n_variables) in PODS {
        let (load, check) = scripts(folder.path(), n_variables)?;
        for injector in &injectors {
            // Also warms up.
            injector.reviews(&wrk, &check, 1, 1)?;
        }
        for n_connections in CONNECTIONS {
            let mut samples = vec![Vec::new(); injectors.len()];
            for _ in 0..args.rounds {
                for (injector, samples) in injectors.iter().zip(&mut samples) {
                    samples.push(injector.measure(&wrk, &load, n_connections, args.seconds)?);
                }
            }
            let samples: Vec<Sample> = samples.iter().map(|samples| median(samples)).collect();
            report(name, n_connections, &samples);
        }
    }
    println!();
    for injector in &injectors {
        println!(
            "resident after load: {} KiB, {}",
            lab::resident_kib(&injector.process)?,
            injector.process.name()
        );
    }
    println!("load after: {}", machine_load()?);
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    let mut command = project::cargo();
    project::run(command.args(["build", "--release", "--locked", "--package", "injector"]))?;
    Ok(project::target_folder()?.join("release/injector"))
}

/// The chart's configuration as it is mounted, and a certificate.
fn files() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let chart = project::root().join("charts/minimesh");
    fs::create_dir(folder.path().join("inject"))?;
    for (from, to) in [
        ("files/config", "inject/config"),
        ("values.yaml", "inject/values"),
        ("files/mesh", "mesh"),
    ] {
        fs::copy(chart.join(from), folder.path().join(to))
            .with_context(|| format!("cannot copy the chart's {from}"))?;
    }
    let openssl = project::find_program("openssl")
        .context("openssl is not installed: apt-get install openssl")?;
    let output = Command::new(openssl)
        .current_dir(folder.path())
        .args([
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "1",
        ])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
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
    Ok(folder)
}

/// wrk's script that sends a review, and one that also stops where the answer is not a patch, which costs wrk time of its own.
fn scripts(folder: &Path, n_variables: usize) -> anyhow::Result<(PathBuf, PathBuf)> {
    let review = folder.join("review.json");
    fs::write(&review, reviews::review(n_variables).to_string())?;
    let send = format!(
        "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = io.open('{}'):read('*a')\n",
        review.display()
    );
    let check = "response = function(status, headers, body)\n  if not body:find('\"patchType\":\"JSONPatch\"', 1, true) then\n    print('Non-2xx, or no patch: ' .. body)\n    wrk.thread:stop()\n  end\nend\n";
    let (sends, checks) = (folder.join("send.lua"), folder.join("check.lua"));
    fs::write(&sends, &send)?;
    fs::write(&checks, send + check)?;
    Ok((sends, checks))
}

// === impl Injector ===

impl Injector {
    fn start(program: &Path, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let child = Command::new(program)
            .current_dir(folder)
            .args(["--https-addr", "127.0.0.1:0", "--inject-dir", "inject"])
            .args(["--mesh-config", "mesh"])
            .args(["--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key"])
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
        let address = address.with_context(|| {
            format!(
                "{} does not listen:\n{}",
                program.display(),
                fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        Ok(Self {
            process,
            url: format!("https://{address}/inject"),
        })
    }

    fn reviews(
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
    }

    fn measure(
        &self,
        wrk: &Path,
        script: &Path,
        n_connections: u32,
        seconds: u32,
    ) -> anyhow::Result<Sample> {
        let before = cpu_us(&self.process)?;
        let run = self.reviews(wrk, script, n_connections, seconds)?;
        Ok(Sample {
            run,
            cpu_us_per_review: (cpu_us(&self.process)? - before) / run.n_requests,
        })
    }
}

/// Where the injector's log says that it listens, once it is ready.
fn address_in(log: &str) -> Option<String> {
    let (_, rest) = log
        .contains("ready")
        .then(|| log.split_once("address="))
        .flatten()?;
    Some(rest.split_whitespace().next()?.to_owned())
}

/// The sample with the median time.
fn median(samples: &[Sample]) -> Sample {
    let mut samples = samples.to_vec();
    samples.sort_by(|a, b| a.run.p50_us.total_cmp(&b.run.p50_us));
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn report(pod: &str, n_connections: u32, samples: &[Sample]) {
    println!("\n{pod}, {n_connections} connections");
    let row = |name: &str, value: fn(&Sample) -> f64| {
        let values: Vec<f64> = samples.iter().map(value).collect();
        let columns: String = values
            .iter()
            .map(|value| format!("{value:>10.0}"))
            .collect();
        match *values.as_slice() {
            [this, other] => println!("  {name:<26}{columns}   ratio {:.2}", this / other),
            _ => println!("  {name:<26}{columns}"),
        }
    };
    row("reviews/s", |sample| sample.run.requests_per_second);
    row("p50 microseconds", |sample| sample.run.p50_us);
    row("p99 microseconds", |sample| sample.run.p99_us);
    row("CPU microseconds a review", |sample| {
        sample.cpu_us_per_review
    });
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

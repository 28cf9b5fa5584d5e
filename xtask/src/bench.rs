//! `cargo xtask bench path`: what two sidecars cost on the way of a request.
//!
//! Runs wrk against nginx in pods, directly and through two sidecars, alternating in one run, because timings of a shared
//! machine compare only side by side. Prints ratios and the machine's load with them; never part of a gate.

use std::{
    fs, net::IpAddr, os::unix::process::CommandExt, path::PathBuf, process::Command, thread,
    time::Duration,
};

use anyhow::{Context, bail};
use testkit::process::Process;

use super::{
    lab::{self, Lab, PlainPod},
    manifest::Manifest,
    project,
    userns::{self, Rights},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// HTTP/1.1 requests from one pod to another.
    Path(PathArgs),
}

#[derive(clap::Args)]
struct PathArgs {
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often each measurement is made.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Folder with the programs, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What wrk and the kernel say of one measurement.
#[derive(Clone, Copy, Default)]
struct Sample {
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us_per_request: [f64; 2],
}

const CONNECTIONS: [u32; 3] = [1, 32, 256];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let What::Path(args) = &args.what;
    let wrk = project::find_program("wrk").context("wrk is not installed: apt-get install wrk")?;
    project::find_program("nginx")
        .context("nginx is not installed: apt-get install nginx-light")?;
    if userns::rights() != Rights::Own {
        bail!("the bench makes network namespaces as root: run it with sudo");
    }
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => project::build_programs()?,
    };
    let lab = Lab::new(&programs)?;
    let output = lab
        .inject_command(&project::root().join("e2e/manifests/nginx.yaml"))
        .output()?;
    let manifest = Manifest::parse(&String::from_utf8(output.stdout)?)?;
    let (client, server) = (
        lab.start("client", &manifest)?,
        lab.start("server", &manifest)?,
    );
    let (near, far) = (lab.start_plain("near")?, lab.start_plain("far")?);
    println!(
        "load before: {}",
        fs::read_to_string("/proc/loadavg")?.trim()
    );
    let idle = [
        lab::resident_kib(&client.sidecar)?,
        lab::resident_kib(&server.sidecar)?,
    ];
    println!(
        "resident idle: client's sidecar {} KiB, server's {} KiB",
        idle[0], idle[1]
    );
    for n_connections in CONNECTIONS {
        let mut direct = Vec::new();
        let mut meshed = Vec::new();
        for _ in 0..args.rounds {
            let load = |from: &PlainPod, to: &PlainPod| {
                load(&wrk, from, to.pod.ip4().into(), n_connections, args.seconds)
            };
            direct.push(measure(&[], || load(&near, &far))?);
            meshed.push(measure(&[&client.sidecar, &server.sidecar], || {
                load(&client.plain, &server.plain)
            })?);
        }
        report(n_connections, median(&direct), median(&meshed));
    }
    let loaded = [
        lab::resident_kib(&client.sidecar)?,
        lab::resident_kib(&server.sidecar)?,
    ];
    println!(
        "resident after load: client's sidecar {} KiB, server's {} KiB",
        loaded[0], loaded[1]
    );
    println!(
        "load after: {}",
        fs::read_to_string("/proc/loadavg")?.trim()
    );
    Ok(())
}

/// Runs `load` and divides the CPU that `proxies` used meanwhile by the number of requests.
fn measure(
    proxies: &[&Process],
    load: impl FnOnce() -> anyhow::Result<(Sample, f64)>,
) -> anyhow::Result<Sample> {
    let before = proxies
        .iter()
        .map(|proxy| cpu_us(proxy))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (mut sample, n_requests) = load()?;
    for ((proxy, before), slot) in proxies
        .iter()
        .zip(before)
        .zip(&mut sample.cpu_us_per_request)
    {
        *slot = (cpu_us(proxy)? - before) / n_requests;
    }
    // The kernel closes the connections of one run before the next begins.
    thread::sleep(Duration::from_millis(200));
    Ok(sample)
}

fn load(
    wrk: &PathBuf,
    from: &PlainPod,
    to: IpAddr,
    n_connections: u32,
    seconds: u32,
) -> anyhow::Result<(Sample, f64)> {
    let mut command = Command::new(wrk);
    command
        .args(["--threads", "1", "--latency"])
        .args(["--connections", &n_connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg(format!("http://{to}:{}/", lab::APP_PORT))
        .uid(lab::APP_ID)
        .gid(lab::APP_ID);
    let output = from.pod.output(&mut command).context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!(
            "wrk reports failures:\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let field = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .map(str::trim)
            .with_context(|| format!("wrk printed no {key}:\n{text}"))
    };
    let n_requests = text
        .lines()
        .find_map(|line| line.split_once(" requests in "))
        .and_then(|(number, _)| number.trim().parse::<f64>().ok())
        .context("wrk printed no number of requests")?;
    let sample = Sample {
        requests_per_second: field("Requests/sec:")?.parse()?,
        p50_us: micros(field("50%")?)?,
        p99_us: micros(field("99%")?)?,
        ..Sample::default()
    };
    Ok((sample, n_requests))
}

/// Reads wrk's `12.30us`, `1.20ms`, `3.00s`.
fn micros(text: &str) -> anyhow::Result<f64> {
    let split = text
        .find(|letter: char| letter.is_alphabetic())
        .context("a time without a unit")?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => bail!("unknown unit of time in {text}"),
    };
    Ok(number.parse::<f64>()? * factor)
}

/// CPU time of a process so far, user and system, from the scheduler's own count in nanoseconds per thread.
fn cpu_us(process: &Process) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(format!("/proc/{}/task", process.id()))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanoseconds / 1e3)
}

/// The sample with the median rate.
fn median(samples: &[Sample]) -> Sample {
    let mut samples = samples.to_vec();
    samples.sort_by(|a, b| a.requests_per_second.total_cmp(&b.requests_per_second));
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn report(n_connections: u32, direct: Sample, meshed: Sample) {
    println!("\n{n_connections} connections          direct   two sidecars   ratio");
    let row = |name: &str, direct: f64, meshed: f64| {
        println!(
            "  {name:<18} {direct:>9.0} {meshed:>14.0} {:>7.2}",
            meshed / direct
        );
    };
    row(
        "requests/s",
        direct.requests_per_second,
        meshed.requests_per_second,
    );
    row("p50 microseconds", direct.p50_us, meshed.p50_us);
    row("p99 microseconds", direct.p99_us, meshed.p99_us);
    let [client, server] = meshed.cpu_us_per_request;
    println!("  CPU microseconds a request: client's sidecar {client:.1}, server's {server:.1}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk_are_read_in_every_unit() {
        for (text, expected) in [("250.00us", 250.0), ("1.50ms", 1500.0), ("2.00s", 2e6)] {
            assert!((micros(text).unwrap() - expected).abs() < 1e-6, "{text}");
        }
        assert!(micros("12").is_err());
    }
}

//! `cargo xtask bench path`: what two sidecars cost on the way of a request.
//!
//! Runs wrk against nginx in pods, directly and through two sidecars, alternating in one run, because timings of a shared
//! machine compare only side by side. Prints ratios and the machine's load with them; never part of a gate.

use std::{
    net::IpAddr, os::unix::process::CommandExt, path::PathBuf, process::Command, thread,
    time::Duration,
};

use anyhow::{Context, bail};
use testkit::process::Process;

use super::{cpu_us, machine_load, wrk};
use crate::{
    lab::{self, Lab, PlainPod},
    manifest::Manifest,
    project,
    userns::{self, Rights},
};

#[derive(clap::Args)]
pub(super) struct Args {
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
    run: wrk::Run,
    cpu_us_per_request: [f64; 2],
}

const CONNECTIONS: [u32; 3] = [1, 32, 256];

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let wrk = wrk::find()?;
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
    println!("load before: {}", machine_load()?);
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
    println!("load after: {}", machine_load()?);
    Ok(())
}

/// Runs `load` and divides the CPU that `proxies` used meanwhile by the number of requests.
fn measure(
    proxies: &[&Process],
    load: impl FnOnce() -> anyhow::Result<wrk::Run>,
) -> anyhow::Result<Sample> {
    let before = proxies
        .iter()
        .map(|proxy| cpu_us(proxy))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut sample = Sample {
        run: load()?,
        ..Sample::default()
    };
    for ((proxy, before), slot) in proxies
        .iter()
        .zip(before)
        .zip(&mut sample.cpu_us_per_request)
    {
        *slot = (cpu_us(proxy)? - before) / sample.run.n_requests;
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
) -> anyhow::Result<wrk::Run> {
    let mut command = Command::new(wrk);
    wrk::configure(&mut command, n_connections, seconds);
    command
        .arg(format!("http://{to}:{}/", lab::APP_PORT))
        .uid(lab::APP_ID)
        .gid(lab::APP_ID);
    let output = from.pod.output(&mut command).context("cannot run wrk")?;
    if !output.status.success() {
        bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    wrk::Run::parse(&String::from_utf8_lossy(&output.stdout))
}

/// The sample with the median rate.
fn median(samples: &[Sample]) -> Sample {
    let mut samples = samples.to_vec();
    samples.sort_by(|a, b| {
        a.run
            .requests_per_second
            .total_cmp(&b.run.requests_per_second)
    });
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
        direct.run.requests_per_second,
        meshed.run.requests_per_second,
    );
    row("p50 microseconds", direct.run.p50_us, meshed.run.p50_us);
    row("p99 microseconds", direct.run.p99_us, meshed.run.p99_us);
    let [client, server] = meshed.cpu_us_per_request;
    println!("  CPU microseconds a request: client's sidecar {client:.1}, server's {server:.1}");
}

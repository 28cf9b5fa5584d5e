//! The program that people type.
//!
//! Everything that decides is in `template`; here files are read and written, and errors get the names of files and flags.
//! A command prints its result on standard output and what a person should know on standard error.
//!
//! ```text
//! cluster, files ─► configuration ─┐
//!       manifest ─► kube_inject ───┴─► template::inject ─► kube_inject ─► standard output or --output
//!                     ├─ workload: which part of a resource is the pod
//!                     ├─ why: the same decision, told instead of done
//!                     └─ template: the configuration itself, checked and planned
//! sidecars, through the API server ─► certs: who holds what until when
//! ```

pub mod args;
pub mod certs;
pub mod kube_inject;
pub mod kube_uninject;
pub mod template;
pub mod why;
pub mod workload;

mod cluster;
mod configuration;
mod input;
mod manifest;
mod namespaces;
mod output;

use std::process::ExitCode;

use args::{Args, Command};

/// Runs the command that was asked for; gives the exit status, which is no failure even where it is not 0.
///
/// # Errors
/// What went wrong, for a person: the file, flag or resource, and the cause.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::KubeInject(args) => kube_inject::run(args)?,
        Command::KubeUninject(args) => kube_uninject::run(args)?,
        Command::Why(args) => return why::run(args),
        Command::Certs(args) => return certs::run(args),
        Command::Template(args) => return template::run(args),
        Command::Version => {
            output::write(None, &format!("minimesh {}\n", env!("CARGO_PKG_VERSION")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

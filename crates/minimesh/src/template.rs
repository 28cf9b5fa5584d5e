//! `minimesh template`: work on the injection configuration itself.
//!
//! Called by `run`; each command reads the configuration as `kube-inject` does and hands it to the crate `template`, which decides.
//! Nothing here writes to a cluster.

mod lint;
mod plan;
mod policy;

use std::process::ExitCode;

use crate::args::{TemplateArgs, TemplateCommand};

/// Runs a command of the group; gives the exit status.
///
/// # Errors
/// A file, the cluster or the configuration cannot be read.
pub fn run(args: &TemplateArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        TemplateCommand::Lint(args) => lint::run(args),
        TemplateCommand::Plan(args) => plan::run(args),
        TemplateCommand::Policy(args) => policy::run(args).map(|()| ExitCode::SUCCESS),
    }
}

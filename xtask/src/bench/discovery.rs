//! `cargo xtask bench discovery`: what it costs to tell a thousand sidecars who the others are.
//!
//! The bench is one of the injector's own, because it needs its insides: objects are made up instead of being listed. This runs it.

use super::machine_load;
use crate::project;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Profile to build with; figures count only with the one of releases.
    #[arg(long, default_value = "bench")]
    profile: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    println!("load before: {}", machine_load()?);
    let mut command = project::cargo();
    command.args(["bench", "--locked", "--package", "injector"]);
    project::run(command.args(["--bench", "discovery", "--profile", &args.profile]))?;
    println!("load after: {}", machine_load()?);
    Ok(())
}

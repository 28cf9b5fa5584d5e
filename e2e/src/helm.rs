//! Helm as a function, and the release that the tests run against.
//!
//! Called by tests that change the release; `cargo xtask e2e` has installed it under this name.

use std::process::Command;

use contract::control_plane::NAMESPACE;

use crate::{
    control_plane,
    environment::{environment, root},
    kubectl,
};

/// The release's name.
pub const RELEASE: &str = "minimesh";

/// Runs Helm.
///
/// # Errors
/// It fails.
pub fn run(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(&environment().helm);
    command.args(args);
    kubectl::finish(command, None)?.into_stdout(|| format!("helm {}", args.join(" ")))?;
    Ok(())
}

/// Upgrades the release to these values over those that it has, and waits for the control plane.
///
/// # Errors
/// Helm fails, or something does not become ready.
pub fn upgrade(values: &[&str]) -> anyhow::Result<()> {
    let chart = root().join("charts/minimesh");
    let chart = chart.to_string_lossy();
    let mut args = vec![
        "upgrade",
        RELEASE,
        &chart,
        "-n",
        NAMESPACE,
        "--reuse-values",
    ];
    args.extend(values.iter().flat_map(|value| ["--set", value]));
    args.extend(["--wait", "--timeout=120s"]);
    run(&args)?;
    control_plane::wait_rolled_out()
}

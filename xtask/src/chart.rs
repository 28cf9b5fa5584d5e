//! The chart's tests that need Helm: a step of `cargo xtask test`.
//!
//! Called by `test`; runs those of `xtask/tests/chart.rs` that plain `cargo test` leaves out.
//! Helm renders without a cluster, so this needs that one program and nothing else.

use super::project::{cargo, run as run_command};

/// Renders the chart in many ways and compares what comes of it.
pub(crate) fn run() -> anyhow::Result<()> {
    run_command(cargo().args([
        "test",
        "--package",
        "xtask",
        "--locked",
        "--quiet",
        "--test",
        "chart",
        "--",
        "--ignored",
    ]))
}

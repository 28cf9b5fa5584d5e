//! The sidecar's entry point.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cli::run(std::env::args_os().collect())
}

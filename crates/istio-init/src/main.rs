//! Sets the rules that send a pod's traffic to its sidecar, and exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(istio_init::app::run())
}

//! The sidecar: data plane, readiness, probes and metrics.
//!
//! `main` parses the arguments and hands over to [`cli::run`]; [`app`] wires the parts of the proxy together.
//! The data plane runs on worker threads of its own, everything else on one housekeeping thread.

pub mod pod_info;
pub mod workload;

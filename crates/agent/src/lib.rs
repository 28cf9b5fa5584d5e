//! The sidecar: data plane, readiness, probes and metrics.
//!
//! `main` hands the command line to [`cli::run`]; [`app`] wires the parts of the proxy together.
//! The data plane runs on worker threads of its own, everything else on one housekeeping thread.
//!
//! ```text
//! args ─► config ─► app ─┬─► data_plane   15001, 15006, 15021   worker threads
//!                        ├─► status       15020, 15090          housekeeping thread
//!                        ├─► admin        15000, loopback only   housekeeping thread
//!                        ├─► dns          15053, if captured    housekeeping thread
//!                        └─► ending       signals, /drain, /quitquitquit
//! cli ─► wait, request, init                                    without a proxy
//! ```

pub mod admin;
pub mod app;
pub mod args;
pub mod ca;
pub mod cli;
pub mod client;
pub mod config;
pub mod control_plane;
pub mod data_plane;
pub mod discovery;
pub mod dns;
pub mod files;
pub mod init;
pub mod mesh;
pub mod peer;
pub mod pod_info;
pub mod request;
pub mod spiffe;
pub mod status;
pub mod tls;
pub mod wait;
pub mod workload;

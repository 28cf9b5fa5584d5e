//! Scaffolding of the long-running programs: logs, tasks, lifecycle, readiness, metrics.
//!
//! The agent and the injector are built on it, so both start, report and stop in the same way; the library of those who connect to a cluster
//! takes only how names are looked up.
//! It knows no cluster, no TLS and no HTTP; nothing here opens a socket.
//!
//! ```text
//! main ─► log::init ─► task::Group ─ spawns ─► listeners, reloaders …  each holds a readiness::Guard until it works
//!                          ▲                        │
//!              cancels     │                        └─ all guards gone: Phase::Ready
//!         lifecycle::Lifecycle ◄─ SIGTERM, SIGINT: readiness off, Phase::Draining, deadline, Phase::Stopping
//! ```

pub mod backoff;
pub mod duration;
pub mod error;
pub mod files;
pub mod hosts;
pub mod lifecycle;
pub mod log;
pub mod metrics;
pub mod readiness;
pub mod task;

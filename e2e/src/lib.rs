//! A small harness for tests on a real cluster.
//!
//! Tests in `e2e/tests` call [`scenario`], which gives them namespaces of their own and collects what is needed to understand a
//! failure. Everything goes through `kubectl`, `helm` and the node's container, as a person would do it, and nothing is asynchronous.
//!
//! ```text
//! scenario ─► Scene ─► Namespace ─► Pod ─► exec, logs, metrics, access log
//!    │                    └─ deleted at the end      └─► node::Process: freeze, kill, rules
//!    └─ on failure: diagnose ─► $E2E_OUTPUT/SCENARIO/
//! ```

pub mod access_log;
pub mod control_plane;
mod diagnose;
pub mod environment;
pub mod helm;
pub mod kubectl;
pub mod load;
pub mod manifest;
pub mod metrics;
pub mod namespace;
pub mod node;
pub mod other_webhook;
pub mod pod;
pub mod policy;
pub mod report;
mod scenario;
pub mod wait;
pub mod wire;

pub use manifest::Manifest;
pub use namespace::{Injection, Namespace};
pub use pod::Pod;
pub use scenario::{Scene, scenario};
pub use wait::{Progress, wait_for};

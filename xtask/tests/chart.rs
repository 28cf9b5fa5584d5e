//! The chart: what its values may be, what comes of them, and which pods its webhook selects.
//!
//! Rendering needs Helm and no cluster; those tests run in `cargo xtask test`. What follows from the files alone is checked everywhere.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "chart/config.rs"]
mod config;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/objects.rs"]
mod objects;
#[path = "chart/refusals.rs"]
mod refusals;
#[path = "chart/values.rs"]
mod values;
#[path = "chart/webhook.rs"]
mod webhook;

//! The agent and a control plane that does everything wrong that one can.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod certificates;
mod connection;
mod harness;
mod rotation;
#[path = "../harness/server.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod server;
mod spiffe;

//! The agent and a control plane that does everything wrong that one can.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod certificates;
mod connection;
mod harness;
mod spiffe;

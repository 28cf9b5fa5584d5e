//! The client of discovery against a control plane that the test plays, over a real connection.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]

mod harness;
#[path = "../harness/server.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod server;
#[path = "../cli/program.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod start;

mod foreign;
mod life;
mod program;
mod stream;

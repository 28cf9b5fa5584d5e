//! The client of discovery against a control plane that the test plays, over a real connection.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]

mod harness;

mod life;
mod stream;

//! `cargo xtask bench ca`: what a certificate for a sidecar costs the injector.
//!
//! The bench itself is one of crate `injector`, which it starts with an API server of its own; it prints figures of P-256 and RSA keys, and of
//! a thousand sidecars that start at once.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::machine_load;

pub(super) fn run() -> anyhow::Result<()> {
    println!("load before: {}", machine_load()?);
    let status = Command::new(env!("CARGO"))
        .args(["bench", "-p", "injector", "--bench", "ca"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the bench failed");
    println!("load after: {}", machine_load()?);
    Ok(())
}

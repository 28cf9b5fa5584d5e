//! `cargo xtask codegen`: writes what is made of other files of the tree.
//!
//! The makers are tests, which hold the files to their sources in every test run and write them where they are told to, so that no
//! program of the project depends on a compiler of protobufs.

use crate::project::{cargo, run as run_command};

pub(crate) fn run() -> anyhow::Result<()> {
    run_command(
        cargo()
            .args([
                "test",
                "--package",
                "wire",
                "--test",
                "generated",
                "--quiet",
            ])
            .env("UPDATE_EXPECT", "1"),
    )
}

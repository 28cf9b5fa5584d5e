//! The program and control planes of others: a stock istiod's certificate authority and discovery.
//!
//! The programs are not part of this tree. `ISTIOD` names Istio's control plane, `pilot-discovery`; `cargo xtask test` runs these tests
//! where it is set, and says that they were not run where it is not.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]

mod cluster;
mod istiod;
#[path = "../cli/program.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod start;

mod told;

//! What the clients of the test server report.
//!
//! The other end of the JSON line that `test-server get` and its siblings print; fields that no test reads are left out.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Counts of one run of a client.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Requests, messages or round trips that were tried.
    pub requests: usize,
    /// How many of them failed.
    pub failed: usize,
    /// The failures by reason.
    pub failures: BTreeMap<String, usize>,
    /// Connections that were opened.
    pub connections: usize,
    /// Bytes of content that came back.
    pub bytes: u64,
}

// === impl Report ===

impl Report {
    /// Reads the line.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        serde_json::from_str(line).with_context(|| format!("no report: {line}"))
    }

    /// Passes the report on if nothing failed and at least `requests` were tried.
    ///
    /// # Errors
    /// Something failed, or too little was done.
    pub fn expect_clean(self, requests: usize) -> anyhow::Result<Self> {
        ensure!(
            self.failed == 0 && self.requests >= requests,
            "expected at least {requests} requests and no failure, saw {self:?}"
        );
        Ok(self)
    }
}

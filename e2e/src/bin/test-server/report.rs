//! What a client has seen, as the JSON line that tests read.
//!
//! Clients record as they go; `main` prints the report at the end, and the exit code says whether anything failed.
//! Failures are kept by reason, so that one line tells a refused connection from a wrong answer.

use std::{
    collections::BTreeMap,
    io::{Write as _, stdout},
    time::Duration,
};

use serde::Serialize;

/// Counts and latencies of one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Requests, messages or round trips that were tried.
    requests: usize,
    /// How many of them failed.
    failed: usize,
    /// The failures by reason.
    failures: BTreeMap<String, usize>,
    /// Answers by status; empty where the protocol has none.
    statuses: BTreeMap<u16, usize>,
    /// Connections that were opened.
    connections: usize,
    /// Bytes of content that came back.
    bytes: u64,
    /// Median time of a request in milliseconds.
    p50_ms: f64,
    /// The time that one request of a hundred exceeds, in milliseconds.
    p99_ms: f64,
    #[serde(skip)]
    times: Vec<Duration>,
}

/// Different reasons that are told apart; what comes after is counted together.
const MAX_REASONS: usize = 20;

// === impl Report ===

impl Report {
    /// A connection was opened.
    pub(crate) fn connected(&mut self) {
        self.connections += 1;
    }

    /// A request was answered with `status`.
    pub(crate) fn answered(&mut self, status: u16, bytes: u64, took: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        if (200..300).contains(&status) {
            self.succeeded(bytes, took);
        } else {
            self.fail(format!("status {status}"));
        }
    }

    /// A round trip came back as it should.
    pub(crate) fn succeeded(&mut self, bytes: u64, took: Duration) {
        self.requests += 1;
        self.bytes += bytes;
        self.times.push(took);
    }

    /// A request failed.
    pub(crate) fn fail(&mut self, reason: String) {
        self.requests += 1;
        self.failed += 1;
        let is_known = self.failures.contains_key(&reason) || self.failures.len() < MAX_REASONS;
        let reason = if is_known { reason } else { "other".to_owned() };
        *self.failures.entry(reason).or_default() += 1;
    }

    /// Adds what another client has seen.
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.times.extend(other.times);
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }

    /// How many connections were opened.
    pub(crate) fn n_connections(&self) -> usize {
        self.connections
    }

    /// Whether something was tried and nothing failed.
    pub(crate) fn is_clean(&self) -> bool {
        self.requests > 0 && self.failed == 0
    }

    /// Writes the line to standard output.
    pub(crate) fn print(mut self) -> anyhow::Result<bool> {
        self.times.sort_unstable();
        self.p50_ms = percentile(&self.times, 50);
        self.p99_ms = percentile(&self.times, 99);
        let is_clean = self.is_clean();
        writeln!(stdout(), "{}", serde_json::to_string(&self)?)?;
        Ok(is_clean)
    }
}

/// Milliseconds of the nearest rank; 0 of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted
        .get(rank)
        .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), 100.0);
        assert_eq!(percentile(&times, 99), 198.0);
        assert_eq!(percentile(&times[..1], 99), 1.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn only_answers_with_2xx_are_clean() {
        let mut report = Report::default();
        assert!(!report.is_clean(), "nothing was tried");
        report.answered(204, 0, Duration::ZERO);
        assert!(report.is_clean());
        report.answered(503, 0, Duration::ZERO);
        assert!(!report.is_clean());
        assert_eq!(report.failures["status 503"], 1);
    }

    #[test]
    fn reasons_are_bounded_and_none_is_lost() {
        let mut report = Report::default();
        for index in 0..100 {
            report.fail(format!("reason {index}"));
        }
        assert_eq!(report.failures.len(), MAX_REASONS + 1);
        assert_eq!(report.failures.values().sum::<usize>(), 100);
    }
}

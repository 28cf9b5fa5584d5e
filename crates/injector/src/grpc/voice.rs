//! A line for each call that is refused, within reason.
//!
//! Listeners and services ask a [`Voice`] before they write one. Whoever calls without a right to it decides how often, so no more than a few lines are written in a second; the next line after that
//! tells how many were left out. What was sent as a token is in none of them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::extract::Request;
use tokio::time::Instant;
use tracing::warn;

use super::Refusal;
use crate::server::Peer;

/// Lines within [`SPAN`], at most.
const LINES: u32 = 10;
/// The time that lines are counted over.
const SPAN: Duration = Duration::from_secs(1);

/// Writes the lines.
#[derive(Default)]
pub(crate) struct Voice(Mutex<Said>);

#[derive(Default)]
struct Said {
    since: Option<Instant>,
    n_lines: u32,
    n_left_out: u64,
}

// === impl Voice ===

impl Voice {
    /// Whether a line may be written now, and how many could not since the last one.
    pub(crate) fn line(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.line(Instant::now())
    }

    /// Says that `request` was refused.
    pub(super) fn refused(&self, request: &Request, refusal: &Refusal) {
        let Some(n_left_out) = self.line() else {
            return;
        };
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let path = request.uri().path();
        let path = path.get(..path.len().min(100)).unwrap_or_default();
        warn!(src.addr = ?peer, path, error = %refusal, n_left_out, "call refused");
    }
}

// === impl Said ===

impl Said {
    /// Whether a line may be written at `now`, and how many could not since the last one.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now >= since + SPAN) {
            self.since = Some(now);
            self.n_lines = 0;
        }
        if self.n_lines >= LINES {
            self.n_left_out = self.n_left_out.saturating_add(1);
            return None;
        }
        self.n_lines += 1;
        Some(std::mem::take(&mut self.n_left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_a_few_lines_and_a_number() {
        let (mut said, now) = (Said::default(), Instant::now());
        let n_lines = (0..1000).filter_map(|_| said.line(now)).count();
        assert_eq!(n_lines, 10);
        assert_eq!(said.line(now + SPAN), Some(990));
        assert_eq!(said.line(now + SPAN), Some(0));
    }
}

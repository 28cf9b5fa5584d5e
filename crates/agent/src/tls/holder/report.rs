//! What is said while certificates are waited for, renewed or refused.
//!
//! One voice for all who bring them: the program is unready until the first one, the same reason is logged once, and readiness tells it for as long as
//! it lasts.

use runtime::readiness::{Detail, Guard, Readiness};
use tracing::{debug, warn};

/// How it stands with the pod's certificate.
#[derive(Debug)]
pub struct Report {
    waiting: Option<Guard>,
    detail: Detail,
    said: Option<String>,
    has_failed: bool,
}

/// In readiness and its details.
const NAME: &str = "certificate";

// === impl Report ===

impl Report {
    /// Makes the program unready until there is a certificate.
    #[must_use]
    pub fn new(readiness: &Readiness) -> Self {
        Self {
            waiting: Some(readiness.register(NAME)),
            detail: readiness.detail(NAME),
            said: None,
            has_failed: false,
        }
    }

    /// There is a certificate, if perhaps not the newest.
    pub fn has_one(&mut self) {
        self.waiting = None;
    }

    /// There is a certificate, and none could be better.
    pub fn succeeded(&mut self) {
        self.has_one();
        self.said = None;
        self.has_failed = false;
        self.detail.clear();
    }

    /// There is no new certificate; `current` says what is in use.
    pub fn failed(&mut self, reason: String, current: &str) {
        self.has_failed = true;
        if self.said.as_ref() == Some(&reason) {
            debug!(error = reason, "not certified yet");
            return;
        }
        warn!(
            error = reason,
            current, "not certified, tried again; the same reason is not said again"
        );
        self.detail
            .set(format!("{current} is in use, and none is better: {reason}"));
        self.said = Some(reason);
    }

    /// Whether the last attempt has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }
}

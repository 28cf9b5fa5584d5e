//! What is said about files that changed.
//!
//! Each reloader has one [`Voice`]; it says the same thing in the log, in metrics, in readiness and, in a cluster, as an Event, so that whoever
//! looks at any of them learns that new contents are not in use.

use runtime::readiness::{Detail, Readiness};
use tracing::{error, info};

use crate::{
    cluster::events::{Events, Severity},
    metrics::Files as Metrics,
};

/// Says what becomes of a set of files.
pub struct Voice {
    name: &'static str,
    reasons: Reasons,
    detail: Detail,
    metrics: Metrics,
    events: Events,
    tell: Tell,
}

/// On which objects Events say it.
type Tell = fn(&Events, Severity, &'static str, &str);

/// Reasons of Events, in CamelCase.
#[derive(Clone, Copy, Debug)]
struct Reasons {
    accepted: &'static str,
    refused: &'static str,
}

// === impl Voice ===

impl Voice {
    /// For the injection configuration.
    #[must_use]
    pub fn of_configuration(readiness: &Readiness, metrics: Metrics, events: Events) -> Self {
        let reasons = Reasons {
            accepted: "ConfigurationAccepted",
            refused: "ConfigurationRefused",
        };
        Self::new(
            "configuration",
            reasons,
            readiness,
            metrics,
            (events, Events::configuration),
        )
    }

    /// For a serving certificate.
    #[must_use]
    pub fn of_certificate(readiness: &Readiness, metrics: Metrics, events: Events) -> Self {
        let reasons = Reasons {
            accepted: "CertificateAccepted",
            refused: "CertificateRefused",
        };
        Self::new(
            "certificate",
            reasons,
            readiness,
            metrics,
            (events, Events::pod),
        )
    }

    fn new(
        name: &'static str,
        reasons: Reasons,
        readiness: &Readiness,
        metrics: Metrics,
        (events, tell): (Events, Tell),
    ) -> Self {
        Self {
            name,
            reasons,
            detail: readiness.detail(name),
            metrics,
            events,
            tell,
        }
    }

    /// The first contents are in use.
    pub(super) fn loaded(&self) {
        self.metrics.loaded(self.name);
    }

    /// New contents are in use.
    pub(super) fn accepted(&self) {
        self.detail.clear();
        self.metrics.loaded(self.name);
        info!(files = self.name, "files changed and are in use");
        let note = format!("the new {} is in use", self.name);
        (self.tell)(&self.events, Severity::Normal, self.reasons.accepted, &note);
    }

    /// New contents are not used.
    pub(super) fn refused(&self, error: &str) {
        error!(files = self.name, %error, "files changed and are refused, the last good ones stay in use");
        self.metrics.refused(self.name);
        self.say(format!("refused, the last good one is in use: {error}"));
    }

    /// What is in use is doubtful, and nothing better is at hand.
    pub fn doubt(&self, error: &str) {
        error!(files = self.name, %error, "files are in use for want of better ones");
        self.say(format!("in use, but it does not work: {error}"));
    }

    fn say(&self, text: String) {
        let note = format!("{}: {text}", self.name);
        (self.tell)(&self.events, Severity::Warning, self.reasons.refused, &note);
        self.detail.set(text);
    }
}

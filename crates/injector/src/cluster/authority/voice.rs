//! What the keeper says, and to whom.
//!
//! A [`Voice`] turns findings and troubles into log lines, Events, the readiness detail and a metric. Each thing is said once for as long
//! as it lasts, and taken back when it is over.

use std::mem;

use contract::control_plane::GIVEN_CA_SECRET;
use identity::validity::Stamp;
use runtime::readiness::Detail;
use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::{Metrics, finding::Finding};
use crate::cluster::Context;

/// Says each thing once, and takes back what is over.
pub(super) struct Voice {
    context: Context,
    detail: Detail,
    metrics: Metrics,
    /// What was said of findings, and of trouble, each by its gist.
    found: Vec<String>,
    trouble: Option<String>,
    /// The last warning of an end, in days.
    warned: Option<i64>,
}

// === impl Voice ===

impl Voice {
    pub(super) fn new(context: &Context, metrics: Metrics) -> Self {
        Self {
            context: context.clone(),
            detail: context.readiness.detail("authority"),
            metrics,
            found: Vec::new(),
            trouble: None,
            warned: None,
        }
    }

    /// Says what was found and is being put right.
    pub(super) fn found(&mut self, findings: &[Finding]) {
        let before = mem::take(&mut self.found);
        for finding in findings {
            let (reason, note) = (finding.reason(), finding.note(&self.context.namespace));
            let gist = gist(&note);
            let is_known = before.contains(&gist);
            self.found.push(gist);
            if is_known {
                continue;
            }
            if finding.is_warning() {
                warn!(reason, note, "the authority is put right");
                self.context.events.warn(reason, note);
            } else {
                info!(reason, note, "the authority has changed");
                self.context.events.info(reason, note);
            }
        }
    }

    /// Says what a person has to put right.
    pub(super) fn trouble_of(&mut self, finding: &Finding) {
        self.trouble(finding.reason(), finding.note(&self.context.namespace));
    }

    /// Says what keeps the Secret from being in step, for as long as it does.
    pub(super) fn trouble(&mut self, reason: &'static str, text: String) {
        let gist = gist(&text);
        self.detail.set(text.clone());
        if self.trouble.replace(gist.clone()) == Some(gist) {
            return;
        }
        error!(reason, error = %text, "the authority's Secret cannot be kept in step");
        self.context.events.warn(reason, text);
        self.metrics.trouble(true);
    }

    /// Says when the authority ends, each time that fewer days are left than a warning is for.
    pub(super) fn end(&mut self, due: Option<(i64, OffsetDateTime)>) {
        let days = due.map(|(days, _)| days);
        if self.warned == days {
            return;
        }
        self.warned = days;
        if let Some((days, end)) = due {
            let note = format!(
                "the certificate of the mesh's authority or of its root ends at {}, in less than {days} days; \
                 give another one by Secret {}/{GIVEN_CA_SECRET}",
                Stamp(end),
                self.context.namespace
            );
            warn!(
                reason = "AuthorityExpiring",
                note, "the authority comes to its end"
            );
            self.context.events.warn("AuthorityExpiring", note);
        }
    }

    /// All is well.
    pub(super) fn well(&mut self) {
        if self.trouble.take().is_some() {
            let note = "the authority's Secret is in step again";
            info!("{note}");
            self.context.events.info("AuthorityRecovered", note);
            self.detail.clear();
            self.metrics.trouble(false);
        }
    }
}

/// A text without its numbers: what differs in times and versions only is said once.
fn gist(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_ascii_digit())
        .collect()
}

//! Events: what the injector tells people in the cluster itself.
//!
//! Every part that has something to say holds an [`Events`]: about the injector's own pod, about the ConfigMap of its configuration, or, from the
//! webhook, about the workload whose pod it was asked about. One task, made by [`channel`], writes them through the API server.
//! Saying something never waits and never fails: what cannot be written is dropped and counted, the log has it anyway.

mod ledger;
mod metrics;
mod object;
mod writer;

use std::sync::Arc;

use kube::Client;
use tokio::sync::mpsc;
use tracing::debug;

pub use metrics::Metrics;
pub use object::Object;
pub use writer::Writer;

/// What reports the events, `reportingController`.
const CONTROLLER: &str = "minimesh.io/injector";
/// The API's limit for a note, in bytes.
const MAX_NOTE_BYTES: usize = 1024;
/// How many of the injector's own may wait for an API server that is slow or away.
const OWN_QUEUE: usize = 32;
/// How many about workloads may wait; at some two kilobytes each.
const WORKLOAD_QUEUE: usize = 256;

/// Says things; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Events(Option<Arc<Voices>>);

#[derive(Debug)]
struct Voices {
    pod: Object,
    config_map: Object,
    own: mpsc::Sender<Notice>,
    /// None where workloads are not to be told anything.
    workloads: Option<mpsc::Sender<Notice>>,
    metrics: Metrics,
}

/// What Events are about beside workloads, and whether they are about workloads at all.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// The injector's own pod; its uid is asked for.
    pub pod: Object,
    /// The ConfigMap of the injection configuration; its uid is asked for.
    pub config_map: Object,
    /// Whether workloads are told what became of their pods.
    pub workloads: bool,
}

/// Something to be said about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub about: Object,
    /// Whether somebody should do something.
    pub severity: Severity,
    /// A word in CamelCase, one of a fixed set.
    pub reason: String,
    /// What was being done, a word in CamelCase.
    pub action: &'static str,
    /// What is so and what to do; cut after 1024 bytes.
    pub note: String,
}

/// The `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Somebody should do something.
    Warning,
}

/// A voice and the task that writes what it says.
#[must_use]
pub fn channel(client: Client, subjects: Subjects, metrics: Metrics) -> (Events, Writer) {
    let (own, of_own) = mpsc::channel(OWN_QUEUE);
    let (workloads, of_workloads) = mpsc::channel(WORKLOAD_QUEUE);
    let writer = Writer::new(
        client,
        subjects.pod.clone(),
        of_own,
        of_workloads,
        metrics.clone(),
    );
    let voices = Voices {
        pod: subjects.pod,
        config_map: subjects.config_map,
        own,
        workloads: subjects.workloads.then_some(workloads),
        metrics,
    };
    (Events(Some(Arc::new(voices))), writer)
}

// === impl Events ===

impl Events {
    /// A voice that nobody hears, for a program outside of any cluster.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// Something went wrong; `reason` is a word in CamelCase, `note` a sentence that says what to do.
    pub fn warn(&self, reason: &'static str, note: impl Into<String>) {
        self.pod(Severity::Warning, reason, &note.into());
    }

    /// Something that was wrong is right again.
    pub fn info(&self, reason: &'static str, note: impl Into<String>) {
        self.pod(Severity::Normal, reason, &note.into());
    }

    /// As [`Events::warn`] and [`Events::info`].
    pub fn pod(&self, severity: Severity, reason: &'static str, note: &str) {
        self.own(|voices| &voices.pod, severity, reason, note);
    }

    /// As [`Events::pod`], and on the ConfigMap as well, which is what whoever reads it is to correct.
    pub fn configuration(&self, severity: Severity, reason: &'static str, note: &str) {
        self.pod(severity, reason, note);
        self.own(|voices| &voices.config_map, severity, reason, note);
    }

    /// Something became of the pod of a workload.
    pub fn workload(&self, notice: Notice) {
        if let Some(voices) = &self.0
            && let Some(queue) = &voices.workloads
        {
            voices.send(queue, notice);
        }
    }

    fn own(
        &self,
        about: impl FnOnce(&Voices) -> &Object,
        severity: Severity,
        reason: &'static str,
        note: &str,
    ) {
        let Some(voices) = &self.0 else {
            return;
        };
        let notice = Notice {
            about: about(voices).clone(),
            severity,
            reason: reason.to_owned(),
            action: "Reconcile",
            note: note.to_owned(),
        };
        voices.send(&voices.own, notice);
    }
}

// === impl Voices ===

impl Voices {
    fn send(&self, queue: &mpsc::Sender<Notice>, mut notice: Notice) {
        let end = notice.note.floor_char_boundary(MAX_NOTE_BYTES);
        notice.note.truncate(end);
        if let Err(error) = queue.try_send(notice) {
            let notice = error.into_inner();
            debug!(reason = notice.reason, "event dropped");
            self.metrics.dropped();
        }
    }
}

// === impl Severity ===

impl Severity {
    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

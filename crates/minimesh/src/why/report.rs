//! What is said about each pod, for people and for programs.
//!
//! Filled by `why` and `judge`; [`render`] writes all of it in one go. The fields of the JSON form and the exit status are a contract with scripts.

use std::{fmt::Write as _, process::ExitCode};

use serde::Serialize;
use serde_json::{Value, json};

use super::{cause::Cause, webhooks::Served};

/// Exit status if a pod is not, or would not be, injected.
pub const NOT_INJECTED: u8 = 3;

/// All about one pod.
#[derive(Clone, Debug)]
pub(super) struct Report {
    kind: String,
    namespace: String,
    name: String,
    pub(super) verdict: Verdict,
    /// The first decides; each of the others would by itself.
    pub(super) reasons: Vec<Cause>,
    /// Who injects, where that is known.
    pub(super) webhook: Option<Served>,
    pub(super) surprises: Vec<Cause>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// The pod bears a sidecar.
    Injected,
    /// A new pod would be given one.
    WouldBeInjected,
    /// It is as it is.
    NotInjected,
    /// It would not be created.
    Refused,
}

// === impl Report ===

impl Report {
    pub(super) fn new(resource: &Value, namespace: &str) -> Self {
        let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
        Self {
            kind: text("/kind").unwrap_or("Pod").to_owned(),
            namespace: namespace.to_owned(),
            name: name.unwrap_or_default().to_owned(),
            verdict: Verdict::NotInjected,
            reasons: Vec::new(),
            webhook: None,
            surprises: Vec::new(),
        }
    }

    fn to_json(&self) -> Value {
        let reason = self.reasons.first();
        json!({
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "verdict": self.verdict,
            "reason": reason.map(|cause| cause.code),
            "message": reason.map(|cause| &cause.message),
            "fix": reason.map(|cause| cause.fix),
            "also": self.reasons.get(1..).unwrap_or_default(),
            "webhook": self.webhook,
            "surprises": self.surprises,
        })
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            ..
        } = self;
        writeln!(
            text,
            "{kind} \"{namespace}/{name}\" {}",
            self.verdict.shown()
        )?;
        if let Some(Served {
            name,
            configuration,
            revision,
        }) = &self.webhook
        {
            writeln!(
                text,
                "  webhook: {name} in {configuration}, revision {revision}"
            )?;
        }
        for cause in &self.reasons {
            writeln!(text, "  because: {} ({})", cause.message, cause.code)?;
            writeln!(text, "  to do:   {}", cause.fix)?;
        }
        for cause in &self.surprises {
            writeln!(text, "  note:    {} ({})", cause.message, cause.code)?;
            writeln!(text, "  to do:   {}", cause.fix)?;
        }
        Ok(())
    }
}

// === impl Verdict ===

impl Verdict {
    fn shown(self) -> &'static str {
        match self {
            Self::Injected => "is injected",
            Self::WouldBeInjected => "would be injected",
            Self::NotInjected => "is not injected",
            Self::Refused => "would be refused",
        }
    }
}

/// All reports as text, or as JSON, one object after the other.
pub(super) fn render(reports: &[Report], as_json: bool) -> String {
    let mut text = String::new();
    for report in reports {
        let written = if as_json {
            writeln!(text, "{:#}", report.to_json())
        } else {
            report.write_text(&mut text)
        };
        written.expect("writing to a string cannot fail");
    }
    text
}

/// The worst of the verdicts, as an exit status.
pub(super) fn exit_status(reports: &[Report]) -> ExitCode {
    let any = |verdict| reports.iter().any(|report| report.verdict == verdict);
    if any(Verdict::Refused) {
        ExitCode::FAILURE
    } else if any(Verdict::NotInjected) {
        ExitCode::from(NOT_INJECTED)
    } else {
        ExitCode::SUCCESS
    }
}

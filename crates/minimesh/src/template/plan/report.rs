//! What the plan says, for people and for programs.
//!
//! Filled by the planner; [`Report::render`] writes all of it. The fields of the JSON form and the exit status are a contract with scripts.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};

use super::difference::Change;

/// Exit status if something would change.
pub(super) const CHANGES: u8 = 2;

/// All workloads.
pub(super) struct Report {
    pub(super) workloads: Vec<Workload>,
    /// Pods and workloads that the configuration is not for.
    pub(super) skipped: usize,
}

/// A workload, or a pod that has none.
pub(super) struct Workload {
    kind: String,
    namespace: String,
    name: String,
    /// How many pods it has.
    pub(super) pods: usize,
    verdict: Verdict,
}

/// What would become of new pods.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// They would be as they are.
    Same,
    /// These fields would differ.
    Changed(Vec<Change>),
    /// They would be injected, and are not now.
    Injected,
    /// They would not be injected, for this reason, and are now.
    NotInjected(String),
    /// They would be refused, and are not now or not for this.
    Refused(String),
    /// They are refused, and would be.
    StillRefused(String),
}

/// Longer values are cut.
const MAX_VALUE: usize = 100;

// === impl Verdict ===

impl Verdict {
    pub(super) fn of(changes: Vec<Change>) -> Self {
        if changes.is_empty() {
            Self::Same
        } else {
            Self::Changed(changes)
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed(_) => "changed",
            Self::Injected => "injected",
            Self::NotInjected(_) => "not-injected",
            Self::Refused(_) => "refused",
            Self::StillRefused(_) => "still-refused",
        }
    }

    /// The sentence about it; empty where the changes say it.
    fn message(&self) -> String {
        match self {
            Self::Same | Self::Changed(_) => String::new(),
            Self::Injected => "would be injected".to_owned(),
            Self::NotInjected(why) => format!("would not be injected any more: {why}"),
            Self::Refused(why) => format!("would be refused: {why}"),
            Self::StillRefused(why) => format!("is refused, and would be: {why}"),
        }
    }

    fn is_change(&self) -> bool {
        !matches!(self, Self::Same | Self::StillRefused(_))
    }
}

// === impl Workload ===

impl Workload {
    pub(super) fn new(resource: &Value, namespace: &str, verdict: Verdict) -> Self {
        let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
        Self {
            kind: text("/kind").unwrap_or("Pod").to_owned(),
            namespace: namespace.to_owned(),
            name: name.unwrap_or_default().to_owned(),
            pods: 1,
            verdict,
        }
    }

    fn changes(&self) -> &[Change] {
        match &self.verdict {
            Verdict::Changed(changes) => changes,
            _ => &[],
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "pods": self.pods,
            "verdict": self.verdict.code(),
            "message": self.verdict.message(),
            "changes": self.changes(),
        })
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let pods = counted(self.pods, "pod");
        let (kind, namespace, name) = (&self.kind, &self.namespace, &self.name);
        writeln!(text, "{kind} \"{namespace}/{name}\" ({pods})")?;
        let message = self.verdict.message();
        if !message.is_empty() {
            writeln!(text, "  {message}")?;
        }
        for Change { path, from, to } in self.changes() {
            match (from, to) {
                (None, Some(to)) => writeln!(text, "  + {path}: {}", shown(to))?,
                (Some(from), None) => writeln!(text, "  - {path}: {}", shown(from))?,
                (Some(from), Some(to)) => {
                    let (from, to) = (shown(from), shown(to));
                    if from == to {
                        writeln!(text, "  ~ {path}: {from} changes behind what is shown")?;
                    } else {
                        writeln!(text, "  ~ {path}: {from} -> {to}")?;
                    }
                }
                (None, None) => {}
            }
        }
        Ok(())
    }
}

// === impl Report ===

impl Report {
    pub(super) fn render(&self, as_json: bool) -> String {
        if as_json {
            let workloads: Vec<_> = self.workloads.iter().map(Workload::to_json).collect();
            let summary = json!({
                "workloads": self.workloads.len(),
                "changing": self.changing().count(),
                "pods": self.changing().map(|workload| workload.pods).sum::<usize>(),
                "notServed": self.skipped,
            });
            return format!(
                "{:#}\n",
                json!({"workloads": workloads, "summary": summary})
            );
        }
        let mut text = String::new();
        let told = self.workloads.iter();
        for workload in told.filter(|workload| workload.verdict != Verdict::Same) {
            workload
                .write_text(&mut text)
                .expect("writing to a string cannot fail");
        }
        let pods = self.changing().map(|workload| workload.pods).sum();
        let summary = format!(
            "{} of {} would change, with {} to restart; nothing has been changed\n",
            self.changing().count(),
            counted(self.workloads.len(), "workload"),
            counted(pods, "pod"),
        );
        text.push_str(&summary);
        text
    }

    pub(super) fn exit_status(&self) -> ExitCode {
        if self.changing().next().is_some() {
            ExitCode::from(CHANGES)
        } else {
            ExitCode::SUCCESS
        }
    }

    fn changing(&self) -> impl Iterator<Item = &Workload> {
        let workloads = self.workloads.iter();
        workloads.filter(|workload| workload.verdict.is_change())
    }
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// A value on one line, shortened.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

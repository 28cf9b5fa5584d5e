//! A golden: remarks about a pod, and what became of it.
//!
//! Written by the library's test, read by the others, who compare it with what their program says.
//! The text is the injected manifest with the remarks as comments above it, or a single comment that says why there is none.

use std::fmt::{self, Display, Formatter};

/// What is expected of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What the pod's author is told, in order.
    pub remarks: Vec<Remark>,
    /// What became of the pod.
    pub end: End,
}

/// A warning or surprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Its stable code.
    pub code: String,
    /// The sentence.
    pub text: String,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The manifest with the sidecar, as YAML.
    Injected(String),
    /// It stays as it is.
    Skipped {
        /// The stable code of the reason.
        code: String,
        /// The reason.
        reason: String,
        /// What to do about it.
        fix: String,
    },
    /// The pod is refused with this message.
    Refused(String),
    /// The configuration is refused with this message.
    BadConfiguration(String),
}

const WARNING: &str = "# warning, ";
const SKIPPED: &str = "# skipped, ";
const REFUSED: &str = "# error: ";
const BAD_CONFIGURATION: &str = "# error in the configuration: ";

// === impl Expected ===

impl Expected {
    /// Reads a golden.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut remarks = Vec::new();
        let mut rest = text;
        while let Some(line) = rest.strip_prefix(WARNING) {
            let (line, after) = line.split_once('\n').unwrap_or((line, ""));
            let (code, text) = line.split_once(": ").expect("a code and a sentence");
            remarks.push(Remark {
                code: code.to_owned(),
                text: text.to_owned(),
            });
            rest = after;
        }
        let end = if let Some(line) = rest.strip_prefix(SKIPPED) {
            let (code, rest) = line.split_once(": ").expect("a code and a reason");
            let (reason, fix) = rest.split_once("; ").expect("a reason and a fix");
            End::Skipped {
                code: code.to_owned(),
                reason: reason.to_owned(),
                fix: fix.trim_end().to_owned(),
            }
        } else if let Some(message) = rest.strip_prefix(BAD_CONFIGURATION) {
            End::BadConfiguration(message.trim_end().to_owned())
        } else if let Some(message) = rest.strip_prefix(REFUSED) {
            End::Refused(message.trim_end().to_owned())
        } else {
            End::Injected(rest.to_owned())
        };
        Self { remarks, end }
    }
}

impl Display for Expected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for Remark { code, text } in &self.remarks {
            writeln!(f, "{WARNING}{code}: {text}")?;
        }
        match &self.end {
            End::Injected(manifest) => f.write_str(manifest),
            End::Skipped { code, reason, fix } => writeln!(f, "{SKIPPED}{code}: {reason}; {fix}"),
            End::Refused(message) => writeln!(f, "{REFUSED}{message}"),
            End::BadConfiguration(message) => writeln!(f, "{BAD_CONFIGURATION}{message}"),
        }
    }
}

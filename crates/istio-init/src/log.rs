//! Log lines on standard error, plain or JSON.
//!
//! Called by [`app`](crate::app) only: the layers below return what there is to say. One line is
//! one write, so lines of several containers do not mix; there is no time in them because the
//! kubelet puts it in front.

use std::io::{self, Write};

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `info rules applied`
    Plain,
    /// `{"level":"info","scope":"istio-init","msg":"rules applied"}`
    Json,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What was done.
    Info,
    /// Done, but look.
    Warn,
    /// Not done.
    Error,
}

// === impl Format ===

impl Format {
    /// The line for `message`, with its end.
    pub fn line(self, level: Level, message: &str) -> String {
        let level = match level {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        match self {
            Self::Plain => format!("{level} {message}\n"),
            Self::Json => {
                let message = serde_json::Value::from(message);
                format!("{{\"level\":\"{level}\",\"scope\":\"istio-init\",\"msg\":{message}}}\n")
            }
        }
    }

    /// Writes the line to standard error. If nobody can read it, the exit code still tells.
    pub fn write(self, level: Level, message: &str) {
        let _ = io::stderr().write_all(self.line(level, message).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_quotes_and_line_ends_stays_one_json_line() {
        let line = Format::Json.line(Level::Error, "no \"x\"\nin\u{7}it");
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).expect("the line is JSON");
        assert_eq!(value["msg"], "no \"x\"\nin\u{7}it");
        assert_eq!(value["level"], "error");
    }
}

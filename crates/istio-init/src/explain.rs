//! `istio-init explain`: what happens to a packet, and by which rule.
//!
//! Called by [`app`](crate::app) with the words behind `explain`; pure but for what the caller reads
//! and prints. The answer comes from the walk that the tests hold against the kernel, through the
//! plan that the same flags would set.
//!
//! ```text
//! istio-init explain --packet 'tcp out 10.0.0.1:80 uid 1000' -i '*' -b '*'
//! ```

mod packet;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use serde_json::{Value, json};

pub use packet::{InvalidPacket, USAGE, parse};

use crate::{
    plan::{Backend, Plan, Rule},
    trace,
    walk::{self, Packet, Verdict},
};

/// The word that asks for an explanation.
pub const COMMAND: &str = "explain";

/// What to explain, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The packets with the words that describe them.
    pub packets: Vec<(String, Packet)>,
    /// Whether the answer is for people or for programs.
    pub format: Format,
    /// Whether to walk through what this network namespace has instead of what the flags ask for.
    pub is_live: bool,
    /// The flags that say what is to be captured.
    pub flags: Vec<OsString>,
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is nothing to explain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// No packet.
    #[error("explain needs a packet: --packet 'tcp out 10.0.0.1:80 uid 1000'; {USAGE}")]
    NoPacket,
    /// A packet that cannot be read.
    #[error("--packet {words:?}: {source}")]
    Packet {
        /// As it was written.
        words: String,
        /// Which word is wrong.
        source: InvalidPacket,
    },
}

// === impl Request ===

impl Request {
    /// Reads the words behind `explain`; what is not for this command is left to the flags.
    ///
    /// # Errors
    /// Which word of which packet makes no sense.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, ExplainError> {
        let mut request = Self {
            packets: Vec::new(),
            format: Format::Text,
            is_live: false,
            flags: Vec::new(),
        };
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            let word = argument.to_string_lossy().into_owned();
            if let Some(words) = word.strip_prefix("--packet=") {
                request.packet(words)?;
            } else if word == "--packet" {
                let words = arguments.next().ok_or(ExplainError::NoPacket)?;
                request.packet(&words.to_string_lossy())?;
            } else if word == "--live" {
                request.is_live = true;
            } else if let Some(format) = joined_format(&word) {
                request.format = format;
            } else if matches!(word.as_str(), "-o" | "--output")
                && let Some(format) = arguments.peek().and_then(|next| format(next.to_str()?))
            {
                // Elsewhere these two say something else, with other values.
                arguments.next();
                request.format = format;
            } else {
                request.flags.push(argument);
            }
        }
        match request.packets.is_empty() {
            true => Err(ExplainError::NoPacket),
            false => Ok(request),
        }
    }

    fn packet(&mut self, words: &str) -> Result<(), ExplainError> {
        let words = words.to_owned();
        match parse(&words) {
            Ok(packet) => self.packets.push((words, packet)),
            Err(source) => return Err(ExplainError::Packet { words, source }),
        }
        Ok(())
    }

    /// The answer, a paragraph or a line of JSON for each packet.
    pub fn answer(&self, plan: &Plan, backend: Backend) -> String {
        let answers = self.packets.iter().map(|(words, packet)| {
            let outcome = walk::walk(plan, backend, packet);
            let (verdict, trace) = (outcome.verdict, outcome.trace);
            match self.format {
                Format::Text => text(words, verdict, &trace, backend),
                Format::Json => json(words, packet, verdict, &trace, backend),
            }
        });
        answers.collect()
    }
}

fn joined_format(word: &str) -> Option<Format> {
    let value = word.strip_prefix("--output=").or(word.strip_prefix("-o"))?;
    format(value.strip_prefix('=').unwrap_or(value))
}

fn format(text: &str) -> Option<Format> {
    match text {
        "json" => Some(Format::Json),
        "text" => Some(Format::Text),
        _ => None,
    }
}

fn text(words: &str, verdict: Verdict, trace: &[&Rule], backend: Backend) -> String {
    let rules = trace.iter().map(|rule| trace::text(rule, backend));
    let rules: String = rules.map(|rule| format!("  {rule}\n")).collect();
    let rules = match rules.is_empty() {
        true => "  no rule matches\n".to_owned(),
        false => rules,
    };
    format!("{words}\n{rules}  => {}\n", sentence(verdict))
}

fn sentence(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass => "passes: it goes where it is meant to go".to_owned(),
        Verdict::Redirect(port) => {
            format!("captured: redirected to port {port} of the pod itself")
        }
        Verdict::Tproxy(port) => {
            format!(
                "captured: handed to the transparent socket on port {port}, addresses unchanged"
            )
        }
        Verdict::Drop => "dropped: it goes nowhere".to_owned(),
    }
}

fn json(
    words: &str,
    packet: &Packet,
    verdict: Verdict,
    trace: &[&Rule],
    backend: Backend,
) -> String {
    let (verdict, port) = match verdict {
        Verdict::Pass => ("pass", None),
        Verdict::Redirect(port) => ("redirect", Some(port.get())),
        Verdict::Tproxy(port) => ("tproxy", Some(port.get())),
        Verdict::Drop => ("drop", None),
    };
    let rules: Vec<Value> = trace
        .iter()
        .map(|rule| {
            let text = trace::text(rule, backend);
            let (chain, text) = text.split_once(": ").unwrap_or_default();
            json!({ "table": rule.table.iptables_name(), "chain": chain, "rule": text })
        })
        .collect();
    let answer = json!({
        "packet": words,
        "interface": packet.interface,
        "source": packet.source,
        "destination": packet.destination,
        "verdict": verdict,
        "port": port,
        "rules": rules,
    });
    format!("{answer}\n")
}

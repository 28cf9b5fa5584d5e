//! The help text, from the table of options.
//!
//! Called for `--help`; pure. Every option appears with its variables and its default, so the text
//! is the reference.

use std::fmt::Write as _;

use super::options::{ALL, Spec, Takes};

/// The text that `--help` prints.
pub fn help() -> String {
    let mut text = "Sets the rules that send a pod's traffic to its sidecar, and exits.\n\n\
                    Usage: istio-init [flags]\n       \
                    istio-init explain --packet 'tcp out 10.0.0.1:80 uid 1000' [--live] [-o json] [flags]\n       \
                    istio-init install-cni --help\n\nFlags:\n"
        .to_owned();
    for spec in ALL.iter().filter(|spec| !spec.flag.is_empty()) {
        let short = spec
            .short
            .map_or("   ".to_owned(), |letter| format!("-{letter},"));
        let value = match spec.takes {
            Takes::Nothing => String::new(),
            Takes::Value(word) => format!(" {word}"),
        };
        line(
            &mut text,
            &format!("  {short} --{}{value}", spec.flag),
            spec,
        );
    }
    text.push_str("\nVariables without a flag:\n");
    for spec in ALL.iter().filter(|spec| spec.flag.is_empty()) {
        line(&mut text, &format!("      {}", spec.env.join(", ")), spec);
    }
    text.push_str("\nExit status: 0 done, 1 the kernel refused, 2 a flag is wrong, 126 the rules are not what was written.\n");
    text
}

fn line(text: &mut String, head: &str, spec: &Spec) {
    let mut notes = Vec::new();
    if !spec.flag.is_empty() && !spec.env.is_empty() {
        notes.push(format!("env {}", spec.env.join(", ")));
    }
    if !spec.default.is_empty() && spec.takes != Takes::Nothing {
        notes.push(format!("default {}", spec.default));
    }
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" [{}]", notes.join("; "))
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{head}\n          {}{notes}", spec.help);
}

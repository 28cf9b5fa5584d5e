//! `minimesh template lint`: what is wrong with a configuration, before it is applied.
//!
//! Called by the group's `run`. The findings are the crate `template`'s; here they are printed. The form of the JSON and the exit status are a
//! contract with scripts.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};
use template::{
    Options,
    lint::{Finding, Severity},
    yaml,
};

use crate::{
    args::{Format, LintArgs},
    configuration::Files,
    output,
};

/// Exit status if there are errors.
const FOUND: u8 = 3;

/// Checks the configuration and prints what is found.
///
/// # Errors
/// A file or the cluster cannot be read.
pub(super) fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let files = Files::read(&args.configuration)?;
    let cluster = files.connect(&args.configuration)?;
    let gathered = files.gather(&args.configuration, cluster.as_ref())?;
    let sources = gathered.sources();
    let options = match gathered.options(&args.configuration, cluster.as_ref()) {
        Ok(options) => options,
        // The switches stand in the values; what is wrong with those is a finding like any other.
        Err(_) if yaml::parse(sources.values.name, sources.values.text).is_err() => {
            Options::default()
        }
        Err(error) => return Err(error),
    };
    let findings = template::lint::lint(&sources, &options);
    let text = match args.output.format {
        Format::Text => text(&findings),
        Format::Json => format!("{:#}\n", as_json(&findings)),
    };
    output::write(None, &text)?;
    let is_fault = |finding: &Finding| {
        finding.severity == Severity::Error || args.strict && finding.severity == Severity::Warning
    };
    Ok(if findings.iter().any(is_fault) {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

fn as_json(findings: &[Finding]) -> Value {
    let findings = findings.iter().map(|finding| {
        let place = finding.place.as_ref();
        json!({
            "code": finding.code.as_str(),
            "severity": finding.severity.as_str(),
            "source": finding.origin,
            "key": finding.key,
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "templateLine": finding.in_template.map(|place| place.0),
            "templateColumn": finding.in_template.map(|place| place.1),
            "message": finding.message,
            "help": finding.help,
        })
    });
    findings.collect()
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        describe(&mut text, finding).expect("writing to a string cannot fail");
    }
    let count = |severity, word: &str| {
        let count = findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        format!("{count} {word}{}", if count == 1 { "" } else { "s" })
    };
    let counts = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
    ];
    text.push_str(&counts.join(", "));
    text.push('\n');
    text
}

fn describe(text: &mut String, finding: &Finding) -> std::fmt::Result {
    let Finding {
        code,
        severity,
        origin,
        key,
        message,
        help,
        ..
    } = finding;
    let of_template = match finding.in_template {
        Some((line, column)) => format!(" ({key}:{line}:{column})"),
        None if key.is_empty() => String::new(),
        None => format!(" ({key})"),
    };
    match &finding.place {
        None => writeln!(
            text,
            "{origin}: {severity}: {message} [{code}]{of_template}"
        )?,
        Some(place) => {
            let (line, column) = (place.line, place.column);
            writeln!(
                text,
                "{origin}:{line}:{column}: {severity}: {message} [{code}]{of_template}"
            )?;
            let (shown, before) = window(&place.excerpt, column);
            writeln!(text, "    {shown}")?;
            let length = place.length.min(WIDTH.saturating_sub(before).max(1));
            writeln!(text, "    {}{}", " ".repeat(before), "^".repeat(length))?;
        }
    }
    writeln!(text, "  help: {help}")
}

/// As much of a line as a terminal shows, and how many characters of it come before the column.
fn window(line: &str, column: usize) -> (String, usize) {
    let before = column.saturating_sub(1);
    let skipped = before.saturating_sub(WIDTH / 2);
    let skipped = if line.chars().count() <= WIDTH {
        0
    } else {
        skipped
    };
    // A tab is as wide as the terminal likes, a space is not.
    let shown = line.chars().skip(skipped).take(WIDTH);
    let shown = shown.map(|letter| if letter.is_control() { ' ' } else { letter });
    (shown.collect(), before - skipped)
}

const WIDTH: usize = 120;

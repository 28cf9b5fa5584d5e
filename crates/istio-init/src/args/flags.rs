//! The grammar of the command line, as Go's pflag reads it.
//!
//! Called by [`parse`](super::parse) with the arguments; knows the table of options and nothing of
//! values. Whatever is wrong is noted and reading goes on, so that one mistake does not hide
//! another.

use std::ffi::OsString;

use super::{
    Problem,
    options::{ALL, Spec, Takes},
};

/// Names of the command that a template may put first, because its image's entry point runs several
/// commands.
const COMMANDS: [&str; 2] = ["istio-iptables", "istio-init"];

/// Flags with their values, in the order of the command line; a switch without a value has `true`.
pub(super) fn parse(
    arguments: Vec<OsString>,
    problems: &mut Vec<Problem>,
) -> Vec<(&'static Spec, String)> {
    // What is no UTF-8 is no valid value of any flag either; the check names it.
    let mut words = arguments
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .peekable();
    words.next_if(|first| COMMANDS.contains(&first.as_str()));
    let mut given = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            problems.extend(
                words
                    .by_ref()
                    .map(|given| Problem::UnexpectedArgument { given }),
            );
        } else if let Some(flag) = word.strip_prefix("--") {
            long(flag, &mut words, &mut given, problems);
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            short(letters, &mut words, &mut given, problems);
        } else {
            problems.push(Problem::UnexpectedArgument { given: word });
        }
    }
    given
}

/// `--flag`, `--flag=value` or, if the flag takes one, `--flag value`.
fn long(
    text: &str,
    rest: &mut impl Iterator<Item = String>,
    given: &mut Vec<(&'static Spec, String)>,
    problems: &mut Vec<Problem>,
) {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let flag = format!("--{name}");
    let Some(spec) = ALL
        .iter()
        .find(|spec| !spec.flag.is_empty() && spec.flag == name)
    else {
        problems.push(Problem::UnknownFlag { given: flag });
        return;
    };
    let value = value.or_else(|| match spec.takes {
        Takes::Nothing => Some("true".to_owned()),
        Takes::Value(_) => rest.next(),
    });
    match value {
        Some(value) => given.push((spec, value)),
        None => problems.push(Problem::MissingValue { flag }),
    }
}

/// `-n`, `-n=false`, `-p 15001`, `-p15001`, `-p=15001`, and switches in a row before any of these.
fn short(
    letters: &str,
    rest: &mut impl Iterator<Item = String>,
    given: &mut Vec<(&'static Spec, String)>,
    problems: &mut Vec<Problem>,
) {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let flag = format!("-{letter}");
        let Some(spec) = ALL.iter().find(|spec| spec.short == Some(letter)) else {
            problems.push(Problem::UnknownFlag { given: flag });
            return;
        };
        let attached = letters.as_str();
        let value = match (attached.strip_prefix('='), spec.takes) {
            (Some(value), _) => Some(value.to_owned()),
            (None, Takes::Nothing) => {
                given.push((spec, "true".to_owned()));
                continue;
            }
            (None, Takes::Value(_)) if attached.is_empty() => rest.next(),
            (None, Takes::Value(_)) => Some(attached.to_owned()),
        };
        match value {
            Some(value) => given.push((spec, value)),
            None => problems.push(Problem::MissingValue { flag }),
        }
        return;
    }
}

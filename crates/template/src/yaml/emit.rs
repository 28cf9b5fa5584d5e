//! Writing a value as block-style YAML.
//!
//! Called for injected manifests and by the template function `toYaml`.
//! Keys are sorted, lists are not indented under their key (as kubectl prints), and a string is quoted wherever a reader of YAML 1.1 or 1.2 might
//! take it for something else: reading the text gives the value again.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

use super::scalar;

/// The longest key that is written before its colon; YAML allows 1024 characters there.
const MAX_SIMPLE_KEY: usize = 512;

/// Writes `value` as one YAML document, ended by a line break.
///
/// Example: `{"a": [1, "yes"]}` becomes `a:\n- 1\n- "yes"\n`.
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut emitter = Emitter { out: String::new() };
    match value {
        Value::Object(map) if !map.is_empty() => emitter.map(map, 0, false),
        Value::Array(list) if !list.is_empty() => emitter.list(list, 0, false),
        Value::String(text) => emitter.flow_string(text),
        other => emitter.scalar(other, 0),
    }
    if !emitter.out.ends_with('\n') {
        emitter.out.push('\n');
    }
    emitter.out
}

/// The text so far.
struct Emitter {
    out: String,
}

// === impl Emitter ===

impl Emitter {
    /// A map's entries at `indent`; the first on the current line where that has begun already (after `- `).
    fn map(&mut self, map: &Map<String, Value>, indent: usize, inline: bool) {
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        for (entry_idx, (key, value)) in entries.into_iter().enumerate() {
            if entry_idx > 0 || !inline {
                self.indent(indent);
            }
            if key.len() > MAX_SIMPLE_KEY {
                self.out.push_str("? ");
                self.flow_string(key);
                self.out.push('\n');
                self.indent(indent);
            } else {
                self.flow_string(key);
            }
            self.out.push(':');
            match value {
                Value::Object(map) if !map.is_empty() => {
                    self.out.push('\n');
                    self.map(map, indent + 2, false);
                }
                Value::Array(list) if !list.is_empty() => {
                    self.out.push('\n');
                    self.list(list, indent, false);
                }
                scalar => {
                    self.out.push(' ');
                    self.scalar(scalar, indent + 2);
                    self.out.push('\n');
                }
            }
        }
    }

    fn list(&mut self, list: &[Value], indent: usize, inline: bool) {
        for (item_idx, item) in list.iter().enumerate() {
            if item_idx > 0 || !inline {
                self.indent(indent);
            }
            self.out.push_str("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.map(map, indent + 2, true),
                Value::Array(list) if !list.is_empty() => self.list(list, indent + 2, true),
                scalar => {
                    self.scalar(scalar, indent + 2);
                    self.out.push('\n');
                }
            }
        }
    }

    /// A scalar or an empty collection; `indent` is where the lines of a literal block would stand.
    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(true) => self.out.push_str("true"),
            Value::Bool(false) => self.out.push_str("false"),
            Value::Number(number) => self.number(number),
            Value::String(text) if is_literal(text) => self.literal(text, indent),
            Value::String(text) => self.flow_string(text),
            Value::Array(_) => self.out.push_str("[]"),
            Value::Object(_) => self.out.push_str("{}"),
        }
    }

    fn number(&mut self, number: &Number) {
        let text = number.to_string();
        // YAML 1.1 wants a dot and a sign in `1e100`.
        match text.split_once('e') {
            Some((mantissa, exponent)) => {
                let dot = if mantissa.contains('.') { "" } else { ".0" };
                let sign = if exponent.starts_with(['+', '-']) {
                    ""
                } else {
                    "+"
                };
                self.push(format_args!("{mantissa}{dot}e{sign}{exponent}"));
            }
            None => self.out.push_str(&text),
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.out
            .push_str(if text.ends_with('\n') { "|" } else { "|-" });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.out.push('\n');
            if !line.is_empty() {
                self.indent(indent);
                self.out.push_str(line);
            }
        }
    }

    /// A string on one line: plain, in single quotes where that avoids backslashes, else in double quotes.
    fn flow_string(&mut self, text: &str) {
        if is_plain(text) {
            self.out.push_str(text);
        } else if text.contains(['"', '\\']) && text.chars().all(is_printable) {
            self.out.push('\'');
            self.out.push_str(&text.replace('\'', "''"));
            self.out.push('\'');
        } else {
            self.out.push('"');
            for character in text.chars() {
                self.escaped(character);
            }
            self.out.push('"');
        }
    }

    fn escaped(&mut self, character: char) {
        match character {
            '"' => self.out.push_str("\\\""),
            '\\' => self.out.push_str("\\\\"),
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            printable if is_printable(printable) => self.out.push(printable),
            other => match u32::from(other) {
                code @ 0..=0xff => self.push(format_args!("\\x{code:02x}")),
                code @ 0x100..=0xffff => self.push(format_args!("\\u{code:04x}")),
                code => self.push(format_args!("\\U{code:08x}")),
            },
        }
    }

    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.out
            .write_fmt(text)
            .expect("writing to a String does not fail");
    }
}

fn is_plain(text: &str) -> bool {
    let starts_plain = match text.as_bytes() {
        [] => false,
        [b'-', next, ..] => *next != b' ' && !text.starts_with("---"),
        [first, ..] => !b"-?:,[]{}#&*!|>'\"%@` ".contains(first) && !text.starts_with("..."),
    };
    starts_plain
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(is_printable)
        && !scalar::is_ambiguous(text)
}

/// Whether a literal block gives the text back: several lines, none of which could be mistaken for layout.
fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && body
            .rsplit('\n')
            .next()
            .is_some_and(|last| !last.trim().is_empty())
        && body.split('\n').all(|line| {
            !line.starts_with('\t')
                && line
                    .chars()
                    .all(|character| character == '\t' || is_printable(character))
        })
}

/// Printable for every YAML reader, and no kind of line break or byte order mark.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        other => other >= '\u{a1}',
    }
}

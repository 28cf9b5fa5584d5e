//! Values from and to JSON.
//! Functions whose names speak of JSON or YAML come here.
//! JSON text is written straight from values, in Go's way: compact, the keys of a map sorted, the fields of a struct in
//! the order in which Go declares them, because templates put such text into environment variables.
//! Computed values share their parts, so that a small one can be a large text: writing counts what it makes.

use std::collections::BTreeMap;

use serde_json::{Map as Object, Value as Json};

use super::arguments::{Given, Result};
use crate::gotemplate::limits::{Buffer, Limit, MAX_TEXT};
use crate::gotemplate::{List, Map, Text, Value, declared_position, number};

/// How JSON text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// `encoding/json`: safe inside of HTML.
    Compact,
    /// `protojson`, without the spaces that it puts in at random.
    Message,
    /// `encoding/json` with two spaces a level.
    Pretty,
}

/// The value as JSON text; nothing and absent fields are null.
pub(super) fn to_text(value: &Value<'_>, style: Style) -> Result<String> {
    let mut writer = Writer {
        buffer: Buffer::default(),
        style,
    };
    writer.value(value, 0)?;
    Ok(writer.buffer.into_string())
}

/// The given fields as the text of a JSON object.
pub(super) fn to_object_text(fields: &[(Text<'_>, Value<'_>)], style: Style) -> Result<String> {
    let mut writer = Writer {
        buffer: Buffer::default(),
        style,
    };
    writer.object(fields, 0)?;
    Ok(writer.buffer.into_string())
}

/// The entries of a map by key, or the fields of a struct as Go declares them.
pub(super) fn fields<'a>(map: &Map<'a>) -> Vec<(Text<'a>, Value<'a>)> {
    let mut entries = map.sorted();
    if map.is_struct() {
        entries.sort_by_key(|(key, _)| declared_position(key));
    }
    entries
}

/// The value of a JSON text; none when it is not JSON.
pub(super) fn decode<'a>(text: &str) -> Result<Option<Value<'a>>> {
    match serde_json::from_str(text) {
        Ok(json) => from_json(json).map(Some),
        Err(_) => Ok(None),
    }
}

/// The value as JSON.
pub(super) fn encode(value: &Value<'_>) -> Result<Json> {
    let mut budget = MAX_TEXT;
    encode_within(value, &mut budget)
}

type Written = std::result::Result<(), Limit>;

struct Writer {
    buffer: Buffer,
    style: Style,
}

// === impl Writer ===

impl Writer {
    fn value(&mut self, value: &Value<'_>, level: usize) -> Written {
        match value {
            Value::Missing | Value::Nil | Value::Absent => self.buffer.push("null"),
            Value::Bool(truth) => self.buffer.push(if *truth { "true" } else { "false" }),
            Value::Int(number) => self.buffer.push_fmt(format_args!("{number}")),
            Value::Float(number) | Value::Number(number) => self.number(*number),
            Value::String(text) => self.text(text),
            Value::List(list) if list.is_empty() => self.buffer.push("[]"),
            Value::List(list) => {
                self.buffer.push("[")?;
                for (index, item) in list.iter().enumerate() {
                    self.separate(index, level + 1)?;
                    self.value(&item, level + 1)?;
                }
                self.new_line(level)?;
                self.buffer.push("]")
            }
            Value::Map(map) => self.object(&fields(map), level),
            Value::Record(record) => {
                let fields = record.fields().iter();
                let fields = fields.map(|(name, value)| ((*name).into(), value.clone()));
                self.object(&fields.collect::<Vec<_>>(), level)
            }
        }
    }

    fn object(&mut self, fields: &[(Text<'_>, Value<'_>)], level: usize) -> Written {
        if fields.is_empty() {
            return self.buffer.push("{}");
        }
        self.buffer.push("{")?;
        for (index, (key, value)) in fields.iter().enumerate() {
            self.separate(index, level + 1)?;
            self.text(key)?;
            self.buffer.push(match self.style {
                Style::Pretty => ": ",
                Style::Compact | Style::Message => ":",
            })?;
            self.value(value, level + 1)?;
        }
        self.new_line(level)?;
        self.buffer.push("}")
    }

    fn separate(&mut self, index: usize, level: usize) -> Written {
        if index > 0 {
            self.buffer.push(",")?;
        }
        self.new_line(level)
    }

    fn new_line(&mut self, level: usize) -> Written {
        if self.style != Style::Pretty {
            return Ok(());
        }
        self.buffer.push("\n")?;
        self.buffer.push_repeated("  ", level)
    }

    /// Whole numbers have no point, and only very large and very small ones have an exponent.
    fn number(&mut self, number: f64) -> Written {
        let magnitude = number.abs();
        if !number.is_finite() {
            return self.buffer.push("null");
        }
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            let text = number::exponential(number, None);
            // One digit of exponent is enough here.
            return self.buffer.push(&text.replace("e-0", "e-"));
        }
        self.buffer.push(&number::fixed(number, None))
    }

    fn text(&mut self, text: &str) -> Written {
        self.buffer.push("\"")?;
        let mut plain = 0;
        for (start, letter) in text.char_indices() {
            let code = u32::from(letter);
            let escape = match letter {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                '\0'..='\u{1f}' => "",
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if self.style != Style::Message => "",
                _ => continue,
            };
            self.buffer
                .push(text.get(plain..start).unwrap_or_default())?;
            plain = start + letter.len_utf8();
            if escape.is_empty() {
                self.buffer.push_fmt(format_args!("\\u{code:04x}"))?;
            } else {
                self.buffer.push(escape)?;
            }
        }
        self.buffer.push(text.get(plain..).unwrap_or_default())?;
        self.buffer.push("\"")
    }
}

/// An owned value of decoded JSON. Its numbers print as those of a configuration.
fn from_json<'a>(json: Json) -> Given<'a> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::from(text),
        Json::Array(items) => {
            let items: Result<Vec<_>> = items.into_iter().map(from_json).collect();
            Value::List(List::new(items?)?)
        }
        Json::Object(entries) => {
            let entries: Result<BTreeMap<Box<str>, _>> = entries
                .into_iter()
                .map(|(key, value)| Ok((key.into(), from_json(value)?)))
                .collect();
            Value::Map(Map::new(entries?)?)
        }
    })
}

fn encode_within(value: &Value<'_>, budget: &mut usize) -> Result<Json> {
    let spent = match value {
        Value::String(text) => text.len() + NODE,
        _ => NODE,
    };
    *budget = budget.checked_sub(spent).ok_or(Limit::Text)?;
    Ok(match value {
        Value::Missing | Value::Nil | Value::Absent => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        // A whole number is written without a point, whatever type it has.
        Value::Float(number) | Value::Number(number) => match number::whole(*number) {
            Some(number) => Json::from(number),
            None => Json::from(*number),
        },
        Value::String(text) => Json::String((**text).to_owned()),
        Value::List(list) => list
            .iter()
            .map(|item| encode_within(&item, budget))
            .collect::<Result<Vec<_>>>()?
            .into(),
        Value::Map(map) => {
            let mut object = Object::new();
            for (key, item) in map.sorted() {
                *budget = budget.checked_sub(key.len() + NODE).ok_or(Limit::Text)?;
                object.insert((*key).to_owned(), encode_within(&item, budget)?);
            }
            object.into()
        }
        Value::Record(record) => {
            let mut object = Object::new();
            for (name, item) in record.fields() {
                object.insert((*name).to_owned(), encode_within(item, budget)?);
            }
            object.into()
        }
    })
}

/// What a value counts for in memory, besides its text.
const NODE: usize = size_of::<Json>();

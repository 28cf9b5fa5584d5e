//! Values from and to JSON.
//! Functions whose names speak of JSON or YAML come here.
//! Computed values share their parts, so that a small one can be a large text: converting counts what it makes.

use std::collections::BTreeMap;

use serde_json::{Map as Object, Value as Json};

use super::arguments::{Given, Result};
use crate::gotemplate::limits::{Limit, MAX_TEXT};
use crate::gotemplate::{List, Map, Value, number};

/// The value as JSON; nothing and absent fields are null.
pub(super) fn encode(value: &Value<'_>) -> Result<Json> {
    encode_within(value, &mut MAX_TEXT.clone())
}

/// The value as JSON text, as Go's `encoding/json` writes it: compact, safe inside of HTML.
pub(super) fn to_text(value: &Value<'_>) -> Result<String> {
    bounded(encode(value)?.to_string())
}

/// The value as JSON text with two spaces a level.
pub(super) fn to_pretty_text(value: &Value<'_>) -> Result<String> {
    let json = encode(value)?;
    bounded(serde_json::to_string_pretty(&json).unwrap_or_default())
}

/// The value of a JSON text; none when it is not JSON.
pub(super) fn decode<'a>(text: &str) -> Result<Option<Value<'a>>> {
    match serde_json::from_str(text) {
        Ok(json) => from_json(json).map(Some),
        Err(_) => Ok(None),
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
        Value::String(text) => text.len() + 1,
        _ => 1,
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
                *budget = budget.checked_sub(key.len()).ok_or(Limit::Text)?;
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

/// The text with the characters escaped that mean something in HTML, unless it is too long.
fn bounded(text: String) -> Result<String> {
    if text.len() > MAX_TEXT {
        return Err(Limit::Text.into());
    }
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Ok(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        // Outside of strings, JSON has none of them.
        match letter {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            letter => escaped.push(letter),
        }
    }
    Ok(escaped)
}

//! How functions read their arguments and make their results.
//! All function bodies use these helpers, so that every function refuses a wrong argument in the same words.
//! An absent field of a struct is the zero value of whatever type a function wants.

use super::FunctionError;
use crate::gotemplate::limits::{Limit, MAX_ITEMS};
use crate::gotemplate::{List, Map, Text, Value, number};

pub(super) type Result<T> = std::result::Result<T, FunctionError>;

/// What a function gives.
pub(super) type Given<'a> = Result<Value<'a>>;

/// The argument at `index`. The parser has checked the number of arguments; nothing stands for a missing one.
pub(super) fn any<'s, 'a>(arguments: &'s [Value<'a>], index: usize) -> &'s Value<'a> {
    arguments.get(index).unwrap_or(&Value::Missing)
}

/// The arguments from `index` on.
pub(super) fn from<'s, 'a>(arguments: &'s [Value<'a>], index: usize) -> &'s [Value<'a>] {
    arguments.get(index..).unwrap_or_default()
}

pub(super) fn text<'a>(arguments: &[Value<'a>], index: usize) -> Result<Text<'a>> {
    match any(arguments, index) {
        Value::String(text) => Ok(text.clone()),
        Value::Absent => Ok(Text::Borrowed("")),
        other => Err(wrong("string", other)),
    }
}

/// Any whole number, wherever it comes from.
pub(super) fn integer(arguments: &[Value<'_>], index: usize) -> Result<i64> {
    let value = any(arguments, index);
    match value {
        Value::Int(number) => Ok(*number),
        Value::Absent => Ok(0),
        Value::Float(number) | Value::Number(number) => {
            number::whole(*number).ok_or_else(|| wrong("int", value))
        }
        other => Err(wrong("int", other)),
    }
}

pub(super) fn boolean(arguments: &[Value<'_>], index: usize) -> Result<bool> {
    match any(arguments, index) {
        Value::Bool(truth) => Ok(*truth),
        Value::Absent => Ok(false),
        other => Err(wrong("bool", other)),
    }
}

pub(super) fn list<'a>(arguments: &[Value<'a>], index: usize) -> Result<List<'a>> {
    match any(arguments, index) {
        Value::List(list) => Ok(list.clone()),
        Value::Absent => Ok(List::new(Vec::new())?),
        other => Err(wrong("slice", other)),
    }
}

/// A map; nothing is an empty one, as a nil map is in Go.
pub(super) fn map<'a>(arguments: &[Value<'a>], index: usize) -> Result<Map<'a>> {
    match any(arguments, index) {
        Value::Map(map) => Ok(map.clone()),
        Value::Missing | Value::Nil | Value::Absent => Ok(Map::of_texts([])),
        other => Err(wrong("map", other)),
    }
}

pub(super) fn new_list(items: Vec<Value<'_>>) -> Given<'_> {
    if items.len() > MAX_ITEMS {
        return Err(Limit::Items.into());
    }
    Ok(Value::List(List::new(items)?))
}

pub(super) fn wrong(expected: &'static str, value: &Value<'_>) -> FunctionError {
    if value.is_nil() {
        return FunctionError::Nil { expected };
    }
    FunctionError::Type {
        expected,
        got: value.type_name(),
    }
}

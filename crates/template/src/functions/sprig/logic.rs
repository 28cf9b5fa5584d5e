//! Choices between values, their types, and JSON.
//! A value is empty when it is not true in Go's sense.

use crate::functions::FunctionError;
use crate::functions::arguments::{Given, any, boolean, from, text};
use crate::functions::json::{self, Style};
use crate::gotemplate::Value;

/// `default fallback value`.
pub(super) fn default<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let given = from(arguments, 1).first().filter(|value| value.truth());
    Ok(given.unwrap_or(any(arguments, 0)).clone())
}

pub(super) fn empty<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Bool(!any(arguments, 0).truth()))
}

/// The first value that is not empty.
pub(super) fn coalesce<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let found = arguments.iter().find(|value| value.truth());
    Ok(found.cloned().unwrap_or(Value::Nil))
}

/// `ternary yes no condition`.
pub(super) fn ternary<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let index = if boolean(arguments, 2)? { 0 } else { 1 };
    Ok(any(arguments, index).clone())
}

pub(super) fn kind_of<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(any(arguments, 0).kind()))
}

/// `kindIs kind value`.
pub(super) fn kind_is<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let kind = text(arguments, 0)?;
    Ok(Value::Bool(*kind == *any(arguments, 1).kind()))
}

pub(super) fn type_of<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(any(arguments, 0).type_name()))
}

/// Refuses the data with a message.
pub(super) fn fail<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Err(FunctionError::Failed((*text(arguments, 0)?).to_owned()))
}

/// The value of a JSON text, or nothing when it is none.
pub(super) fn from_json<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(json::decode(&text(arguments, 0)?)?.unwrap_or(Value::Nil))
}

pub(super) fn to_json<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(json::to_text(
        any(arguments, 0),
        Style::Compact,
    )?))
}

pub(super) fn to_pretty_json<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(json::to_text(
        any(arguments, 0),
        Style::Pretty,
    )?))
}

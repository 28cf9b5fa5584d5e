//! Go's own functions.
//! Every template may call these, whatever else is registered; comparisons are in [`super::compare`], `printf` in
//! [`super::printf`].
//! `and` and `or` are evaluated by the executor, because they do not evaluate all of their operands.

use super::arguments::{Given, Result, any, from, text, wrong};
use super::{Arity, Function, FunctionError, compare, printf};
use crate::gotemplate::limits::Buffer;
use crate::gotemplate::print::{is_printable, print};
use crate::gotemplate::{List, Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::until("and", false),
    Function::until("or", true),
    Function::new("call", Arity::at_least(1), call),
    Function::new("eq", Arity::at_least(2), compare::eq),
    Function::new("ge", Arity::exactly(2), compare::ge),
    Function::new("gt", Arity::exactly(2), compare::gt),
    Function::new("html", Arity::at_least(0), html),
    Function::new("index", Arity::at_least(1), index),
    Function::new("js", Arity::at_least(0), js),
    Function::new("le", Arity::exactly(2), compare::le),
    Function::new("len", Arity::exactly(1), len),
    Function::new("lt", Arity::exactly(2), compare::lt),
    Function::new("ne", Arity::exactly(2), compare::ne),
    Function::new("not", Arity::exactly(1), not),
    Function::new("print", Arity::at_least(0), print_all),
    Function::new("printf", Arity::at_least(1), printf::printf),
    Function::new("println", Arity::at_least(0), println),
    Function::new("slice", Arity::at_least(1), slice),
    Function::new("urlquery", Arity::at_least(0), urlquery),
];

fn call<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Err(FunctionError::NotAFunction(any(arguments, 0).type_name()))
}

fn not<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Bool(!any(arguments, 0).truth()))
}

fn len<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let length = match any(arguments, 0) {
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) if !map.is_struct() => map.len(),
        Value::Absent => 0,
        Value::Missing | Value::Nil => return Err(FunctionError::OfNil("len")),
        other => return Err(FunctionError::NoElements("len", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut item = any(arguments, 0).clone();
    if item.is_nil() {
        return Err(FunctionError::OfNil("index"));
    }
    for key in from(arguments, 1) {
        item = match &item {
            Value::String(text) => {
                let position = position(key)?;
                let byte = text
                    .as_bytes()
                    .get(usize::try_from(position).unwrap_or(usize::MAX));
                let byte = byte.ok_or(FunctionError::OutOfRange(position))?;
                Value::Int(i64::from(*byte))
            }
            Value::List(list) => {
                let position = position(key)?;
                list.get(usize::try_from(position).unwrap_or(usize::MAX))
                    .ok_or(FunctionError::OutOfRange(position))?
            }
            Value::Map(map) => entry(map, key)?,
            Value::Absent => Value::Absent,
            Value::Missing | Value::Nil => return Err(FunctionError::OfNil("index")),
            other => return Err(FunctionError::NoElements("index", other.type_name())),
        };
    }
    Ok(item)
}

fn entry<'a>(map: &Map<'a>, key: &Value<'_>) -> Given<'a> {
    match key {
        Value::String(key) => Ok(map.get(key).unwrap_or_else(|| map.default_element())),
        Value::Absent => Ok(map.default_element()),
        other => Err(wrong("string", other)),
    }
}

/// An integer to index with. The floating-point numbers of a configuration are refused, as in Go.
fn position(index: &Value<'_>) -> Result<i64> {
    match index {
        Value::Int(position) => Ok(*position),
        Value::Absent => Ok(0),
        other => Err(wrong("int", other)),
    }
}

fn slice<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let item = any(arguments, 0);
    let length = match item {
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Absent => return Ok(Value::Absent),
        Value::Missing | Value::Nil => return Err(FunctionError::OfNil("slice")),
        other => return Err(FunctionError::NoElements("slice", other.type_name())),
    };
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let most = if matches!(item, Value::String(_)) {
        2
    } else {
        3
    };
    if arguments.len() > most + 1 {
        return Err(FunctionError::TooManyIndices(arguments.len() - 1));
    }
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(from(arguments, 1)) {
        let position = position(index)?;
        if position < 0 || position > length {
            return Err(FunctionError::OutOfRange(position));
        }
        *bound = position;
    }
    let [start, end, capacity] = bounds;
    for (low, high) in [(start, end), (end, capacity)] {
        if low > high {
            return Err(FunctionError::SliceOrder(low, high));
        }
    }
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    match item {
        Value::String(text) => Ok(Value::from(cut(text, range.start, range.end))),
        Value::List(list) => {
            let items = list.iter().take(range.end).skip(range.start).collect();
            Ok(Value::List(List::new(items)?))
        }
        other => Err(FunctionError::NoElements("slice", other.type_name())),
    }
}

/// The bytes from `start` to `end`, without characters that the cut would break.
pub(super) fn cut<'a>(text: &Text<'a>, start: usize, end: usize) -> Text<'a> {
    let start = text.ceil_char_boundary(start);
    let end = text.floor_char_boundary(end);
    match text {
        Text::Borrowed(text) => Text::Borrowed(text.get(start..end).unwrap_or_default()),
        Text::Shared(text) => text.get(start..end).unwrap_or_default().to_owned().into(),
    }
}

fn print_all<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(joined(arguments)?.into_string()))
}

fn println<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut buffer = Buffer::default();
    for (index, value) in arguments.iter().enumerate() {
        if index > 0 {
            buffer.push(" ")?;
        }
        print(&mut buffer, value)?;
    }
    buffer.push("\n")?;
    Ok(Value::from(buffer.into_string()))
}

/// The values one after another, with a space between two that are not texts.
fn joined(arguments: &[Value<'_>]) -> Result<Buffer> {
    let mut buffer = Buffer::default();
    let mut after_text = true;
    for value in arguments {
        let is_text = matches!(value, Value::String(_) | Value::Absent);
        if !after_text && !is_text {
            buffer.push(" ")?;
        }
        print(&mut buffer, value)?;
        after_text = is_text;
    }
    Ok(buffer)
}

/// What the escaping functions escape: the values as an action would print them.
fn printed(arguments: &[Value<'_>]) -> Result<String> {
    let shown: Vec<Value<'_>> = arguments
        .iter()
        .map(|value| match value {
            Value::Missing | Value::Nil => Value::from("<no value>"),
            other => other.clone(),
        })
        .collect();
    Ok(joined(&shown)?.into_string())
}

fn html<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut buffer = Buffer::default();
    for letter in printed(arguments)?.chars() {
        match letter {
            '\0' => buffer.push("\u{fffd}")?,
            '"' => buffer.push("&#34;")?,
            '\'' => buffer.push("&#39;")?,
            '&' => buffer.push("&amp;")?,
            '<' => buffer.push("&lt;")?,
            '>' => buffer.push("&gt;")?,
            letter => buffer.push_char(letter)?,
        }
    }
    Ok(Value::from(buffer.into_string()))
}

fn js<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut buffer = Buffer::default();
    for letter in printed(arguments)?.chars() {
        let code = u32::from(letter);
        match letter {
            '\\' => buffer.push("\\\\")?,
            '\'' => buffer.push("\\'")?,
            '"' => buffer.push("\\\"")?,
            '<' | '>' | '&' | '=' => buffer.push_fmt(format_args!("\\u{code:04X}"))?,
            letter if !letter.is_control() && (letter.is_ascii() || is_printable(letter)) => {
                buffer.push_char(letter)?;
            }
            '\u{7f}' => buffer.push_char(letter)?,
            _ => buffer.push_fmt(format_args!("\\u{code:04X}"))?,
        }
    }
    Ok(Value::from(buffer.into_string()))
}

fn urlquery<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut buffer = Buffer::default();
    for byte in printed(arguments)?.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                buffer.push_char(char::from(byte))?;
            }
            b' ' => buffer.push("+")?,
            byte => buffer.push_fmt(format_args!("%{byte:02X}"))?,
        }
    }
    Ok(Value::from(buffer.into_string()))
}

/// The argument at `index` as a text, or none when there is no such argument.
pub(super) fn optional_text<'a>(arguments: &[Value<'a>], index: usize) -> Result<Option<Text<'a>>> {
    if arguments.len() > index {
        text(arguments, index).map(Some)
    } else {
        Ok(None)
    }
}

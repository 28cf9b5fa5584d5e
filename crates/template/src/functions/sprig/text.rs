//! Functions of texts.
//! Positions are in bytes, as in Go, but a cut never breaks a character.
//! What can grow asks its buffer first, so that no result is longer than a text may be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::functions::FunctionError;
use crate::functions::arguments::{Given, Result, any, integer, list, new_list, text};
use crate::functions::go::cut;
use crate::gotemplate::limits::{Buffer, Limit, MAX_TEXT};
use crate::gotemplate::{Map, Text, Value, print};

pub(super) fn b64enc<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let plain = text(arguments, 0)?;
    if plain.len() > MAX_TEXT / 4 * 3 {
        return Err(Limit::Text.into());
    }
    Ok(Value::from(STANDARD.encode(plain.as_bytes())))
}

pub(super) fn b64dec<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let bytes = STANDARD.decode(text(arguments, 0)?.as_bytes());
    let bytes = bytes.map_err(|_| FunctionError::Base64)?;
    Ok(Value::from(String::from_utf8_lossy(&bytes).into_owned()))
}

pub(super) fn cat<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    joined(arguments, " ", print::print)
}

pub(super) fn quote<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    joined(arguments, " ", |buffer, value| {
        print::quote(buffer, &print::text(value)?, false)
    })
}

pub(super) fn squote<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    joined(arguments, " ", |buffer, value| {
        buffer.push("'")?;
        print::print(buffer, value)?;
        buffer.push("'")
    })
}

/// `join separator list`; a value that is no list counts as a list of itself.
pub(super) fn join<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let separator = text(arguments, 0)?;
    joined(&elements(any(arguments, 1)), &separator, |buffer, value| {
        print::print(buffer, value)
    })
}

pub(super) fn to_string<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    match any(arguments, 0) {
        Value::String(text) => Ok(Value::String(text.clone())),
        other => Ok(Value::from(print::text(other)?.into_owned())),
    }
}

pub(super) fn to_strings<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let texts: Result<Vec<_>> = elements(any(arguments, 0))
        .into_iter()
        .filter(|item| !item.is_nil())
        .map(|item| to_string(&[item]))
        .collect();
    new_list(texts?)
}

/// `contains needle haystack`.
pub(in crate::functions) fn contains<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (needle, haystack) = (text(arguments, 0)?, text(arguments, 1)?);
    Ok(Value::Bool(haystack.contains(&*needle)))
}

pub(super) fn has_prefix<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (prefix, whole) = (text(arguments, 0)?, text(arguments, 1)?);
    Ok(Value::Bool(whole.starts_with(&*prefix)))
}

pub(super) fn has_suffix<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (suffix, whole) = (text(arguments, 0)?, text(arguments, 1)?);
    Ok(Value::Bool(whole.ends_with(&*suffix)))
}

pub(in crate::functions) fn lower<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(text(arguments, 0)?.to_lowercase()))
}

pub(super) fn upper<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::from(text(arguments, 0)?.to_uppercase()))
}

pub(super) fn title<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut previous = ' ';
    map_letters(arguments, |letter| {
        let starts_word = !(previous.is_alphanumeric() || previous == '_')
            && (previous.is_ascii() || previous.is_whitespace());
        previous = letter;
        if starts_word {
            upper_case(letter)
        } else {
            letter
        }
    })
}

pub(super) fn untitle<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut previous = ' ';
    map_letters(arguments, |letter| {
        let starts_word = previous.is_whitespace();
        previous = letter;
        if starts_word {
            lower_case(letter)
        } else {
            letter
        }
    })
}

pub(super) fn nospace<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let text = text(arguments, 0)?;
    let kept: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    Ok(Value::from(kept))
}

pub(super) fn trim<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    trimmed(arguments, 0, str::trim)
}

pub(super) fn trim_all<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let letters = text(arguments, 0)?;
    trimmed(arguments, 1, |text| {
        text.trim_matches(|c| letters.contains(c))
    })
}

pub(super) fn trim_prefix<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let prefix = text(arguments, 0)?;
    trimmed(arguments, 1, |text| {
        text.strip_prefix(&*prefix).unwrap_or(text)
    })
}

pub(super) fn trim_suffix<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let suffix = text(arguments, 0)?;
    trimmed(arguments, 1, |text| {
        text.strip_suffix(&*suffix).unwrap_or(text)
    })
}

/// `trunc length text`; a negative length keeps the end.
pub(super) fn trunc<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (length, text) = (integer(arguments, 0)?, text(arguments, 1)?);
    let kept = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    Ok(Value::String(if length < 0 {
        cut(&text, text.len().saturating_sub(kept), text.len())
    } else {
        cut(&text, 0, kept.min(text.len()))
    }))
}

/// `substr start end text`; a negative start or end is none.
pub(super) fn substr<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (start, end) = (integer(arguments, 0)?, integer(arguments, 1)?);
    let text = text(arguments, 2)?;
    let first = usize::try_from(start).unwrap_or(0);
    let last = match usize::try_from(end) {
        Ok(last) if last <= text.len() => last,
        Ok(_) if start < 0 => return Err(FunctionError::OutOfRange(end)),
        Err(_) if start < 0 => return Err(FunctionError::OutOfRange(end)),
        _ => text.len(),
    };
    if first > last {
        return Err(FunctionError::SliceOrder(start, end));
    }
    Ok(Value::String(cut(&text, first, last)))
}

/// `repeat count text`.
pub(super) fn repeat<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let count = integer(arguments, 0)?;
    let count = usize::try_from(count).map_err(|_| FunctionError::OutOfRange(count))?;
    let mut buffer = Buffer::default();
    buffer.push_repeated(&text(arguments, 1)?, count)?;
    Ok(Value::from(buffer.into_string()))
}

/// `replace old new text`.
pub(super) fn replace<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (old, new) = (text(arguments, 0)?, text(arguments, 1)?);
    let text = text(arguments, 2)?;
    let count = text.matches(&*old).count();
    let grown = new.len().saturating_mul(count).saturating_add(text.len());
    if grown.saturating_sub(old.len().saturating_mul(count)) > MAX_TEXT {
        return Err(Limit::Text.into());
    }
    Ok(Value::from(text.replace(&*old, &new)))
}

/// `nindent spaces text`: a new line, and each line indented.
pub(super) fn nindent<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let spaces = integer(arguments, 0)?;
    let spaces = usize::try_from(spaces).map_err(|_| FunctionError::OutOfRange(spaces))?;
    let mut buffer = Buffer::default();
    for line in text(arguments, 1)?.split('\n') {
        buffer.push("\n")?;
        buffer.push_repeated(" ", spaces)?;
        buffer.push(line)?;
    }
    Ok(Value::from(buffer.into_string()))
}

/// `split separator text`: a map with the keys `_0`, `_1` and so on.
pub(super) fn split<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let parts = parts(arguments)?;
    let entries = parts.into_iter().enumerate().map(|(index, part)| {
        let key = format!("_{index}");
        (key.into_boxed_str(), part)
    });
    Ok(Value::Map(Map::of_texts(entries)))
}

pub(super) fn split_list<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    new_list(parts(arguments)?.into_iter().map(Value::String).collect())
}

/// The parts of the second argument between the first; its characters when that is empty.
fn parts<'a>(arguments: &[Value<'a>]) -> Result<Vec<Text<'a>>> {
    let (separator, whole) = (text(arguments, 0)?, text(arguments, 1)?);
    let mut parts = Vec::new();
    if separator.is_empty() {
        let mut letters = whole.char_indices().map(|(start, _)| start).peekable();
        while let Some(start) = letters.next() {
            let end = letters.peek().copied().unwrap_or(whole.len());
            parts.push(cut(&whole, start, end));
        }
        return Ok(parts);
    }
    let mut start = 0;
    for (end, found) in whole.match_indices(&*separator) {
        parts.push(cut(&whole, start, end));
        start = end + found.len();
    }
    parts.push(cut(&whole, start, whole.len()));
    Ok(parts)
}

/// The elements of a list; any other value counts as a list of itself, and nothing as an empty list.
fn elements<'a>(value: &Value<'a>) -> Vec<Value<'a>> {
    match value {
        Value::Missing | Value::Nil | Value::Absent => Vec::new(),
        value @ Value::List(_) => list(std::slice::from_ref(value), 0)
            .map(|list| list.iter().collect())
            .unwrap_or_default(),
        other => vec![other.clone()],
    }
}

/// What `write` makes of each value that is not nothing, with `separator` between them.
fn joined<'a>(
    values: &[Value<'a>],
    separator: &str,
    write: impl Fn(&mut Buffer, &Value<'_>) -> std::result::Result<(), Limit>,
) -> Given<'a> {
    let mut buffer = Buffer::default();
    let mut first = true;
    for value in values.iter().filter(|value| !value.is_nil()) {
        if !first {
            buffer.push(separator)?;
        }
        first = false;
        write(&mut buffer, value)?;
    }
    Ok(Value::from(buffer.into_string()))
}

fn trimmed<'a>(arguments: &[Value<'a>], index: usize, trim: impl Fn(&str) -> &str) -> Given<'a> {
    let text = text(arguments, index)?;
    Ok(match &text {
        Text::Borrowed(text) => Value::from(trim(text)),
        Text::Shared(text) => Value::from(trim(text).to_owned()),
    })
}

fn map_letters<'a>(arguments: &[Value<'a>], map: impl FnMut(char) -> char) -> Given<'a> {
    let text = text(arguments, 0)?;
    Ok(Value::from(text.chars().map(map).collect::<String>()))
}

/// The upper-case letter; a letter that becomes several stays as it is, as in Go.
fn upper_case(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => letter,
    }
}

fn lower_case(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => letter,
    }
}

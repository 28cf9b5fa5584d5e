//! Values as text, the way Go's `%v` prints them.
//! Actions print through this module, and so do the functions that turn any value into a text.
//! Whatever the value, the text stays within the limit of its buffer.

use std::borrow::Cow;

use super::limits::{Buffer, Limit};
use super::number;
use super::value::Value;

/// Appends `value` to `buffer`.
pub(crate) fn print(buffer: &mut Buffer, value: &Value<'_>) -> Result<(), Limit> {
    match value {
        Value::Missing | Value::Nil => buffer.push("<nil>"),
        Value::Absent => Ok(()),
        Value::Bool(truth) => buffer.push(if *truth { "true" } else { "false" }),
        Value::Int(number) => buffer.push_fmt(format_args!("{number}")),
        Value::Float(number) => buffer.push(&number::shortest(*number)),
        Value::Number(number) => buffer.push(&number::configured(*number)),
        Value::String(text) => buffer.push(text),
        Value::List(list) => {
            buffer.push("[")?;
            for (index, item) in list.iter().enumerate() {
                separate(buffer, index)?;
                print(buffer, &item)?;
            }
            buffer.push("]")
        }
        Value::Map(map) => {
            buffer.push("map[")?;
            for (index, (key, item)) in map.sorted().into_iter().enumerate() {
                separate(buffer, index)?;
                entry(buffer, &key, &item)?;
            }
            buffer.push("]")
        }
        Value::Record(record) => {
            buffer.push("{")?;
            for (index, (name, item)) in record.fields().iter().enumerate() {
                separate(buffer, index)?;
                entry(buffer, name, item)?;
            }
            buffer.push("}")
        }
    }
}

/// The text of `value`, borrowed when it is one.
pub(crate) fn text<'v>(value: &'v Value<'_>) -> Result<Cow<'v, str>, Limit> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        value => {
            let mut buffer = Buffer::default();
            print(&mut buffer, value)?;
            Ok(Cow::Owned(buffer.into_string()))
        }
    }
}

/// `text` between double quotes, as Go's `%q` writes it; with nothing but ASCII if asked.
pub(crate) fn quote(buffer: &mut Buffer, text: &str, only_ascii: bool) -> Result<(), Limit> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(byte);
    buffer.push("\"")?;
    // Most texts are plain to their end.
    let n_plain = text.bytes().take_while(is_plain).count();
    let (plain, rest) = text.split_at(n_plain);
    buffer.push(plain)?;
    for letter in rest.chars() {
        match letter {
            '"' => buffer.push("\\\"")?,
            letter => escape(buffer, letter, only_ascii)?,
        }
    }
    buffer.push("\"")
}

/// A letter inside quotes, without the quote itself.
pub(crate) fn escape(buffer: &mut Buffer, letter: char, only_ascii: bool) -> Result<(), Limit> {
    match letter {
        '\\' => buffer.push("\\\\"),
        '\u{7}' => buffer.push("\\a"),
        '\u{8}' => buffer.push("\\b"),
        '\u{c}' => buffer.push("\\f"),
        '\n' => buffer.push("\\n"),
        '\r' => buffer.push("\\r"),
        '\t' => buffer.push("\\t"),
        '\u{b}' => buffer.push("\\v"),
        letter if is_printable(letter) && (letter.is_ascii() || !only_ascii) => {
            buffer.push_char(letter)
        }
        letter if u32::from(letter) < 0x80 => {
            buffer.push_fmt(format_args!("\\x{:02x}", u32::from(letter)))
        }
        letter if u32::from(letter) < 0x1_0000 => {
            buffer.push_fmt(format_args!("\\u{:04x}", u32::from(letter)))
        }
        letter => buffer.push_fmt(format_args!("\\U{:08x}", u32::from(letter))),
    }
}

/// Go's idea of a printable letter: anything visible, and of the spaces only the ASCII one.
pub(crate) fn is_printable(letter: char) -> bool {
    if letter.is_ascii() {
        return matches!(letter, ' '..='~');
    }
    // Behind a letter the standard library escapes what has no glyph, but no combining marks.
    !letter.is_whitespace()
        && ['a', letter]
            .iter()
            .collect::<String>()
            .escape_debug()
            .count()
            == 2
}

fn entry(buffer: &mut Buffer, key: &str, value: &Value<'_>) -> Result<(), Limit> {
    buffer.push(key)?;
    buffer.push(":")?;
    print(buffer, value)
}

fn separate(buffer: &mut Buffer, index: usize) -> Result<(), Limit> {
    if index > 0 {
        buffer.push(" ")?;
    }
    Ok(())
}

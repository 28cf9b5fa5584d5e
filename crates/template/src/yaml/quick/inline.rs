//! Scalars of one line and flow collections.
//!
//! Called by the quick reader for what stands behind a key or a dash; each function takes the text and gives the value and the text behind it.
//! What is not surely one value that ends where it seems to end is not read.

use serde_json::{Map, Value};

use super::{MAX_DEPTH, key, line, scalar};

type Read<'t, T> = Option<(T, &'t str)>;

/// A scalar or a flow collection; lines that go on with one are indented more than `column`.
pub(super) fn value(text: &str, column: usize) -> Read<'_, Value> {
    match text.as_bytes().first()? {
        b'"' | b'\'' | b'{' | b'[' => flow(text, column, 0),
        _ => plain(text),
    }
}

/// A plain scalar that fills the line.
fn plain(text: &str) -> Read<'_, Value> {
    let line = line(text);
    let content = line.trim_end_matches(' ');
    let mut bytes = content.bytes();
    let begins = match bytes.next()? {
        b'-' => bytes.next().is_some_and(|second| second != b' '),
        first => first.is_ascii_alphanumeric() || b"/._$(+~".contains(&first),
    };
    let is_mark = |pair: &[u8]| matches!(pair, b": " | b" #");
    if !begins || content.ends_with(':') || content.as_bytes().windows(2).any(is_mark) {
        return None;
    }
    Some((scalar::resolve(content).ok()?, text.get(line.len()..)?))
}

/// A value within a flow collection, or one whose end can be told without the line's.
fn flow(text: &str, column: usize, depth: usize) -> Read<'_, Value> {
    match text.as_bytes().first()? {
        b'{' => flow_map(text, column, depth + 1),
        b'[' => flow_list(text, column, depth + 1),
        b'"' => double_quoted(text).map(|(content, rest)| (Value::String(content), rest)),
        b'\'' => single_quoted(text).map(|(content, rest)| (Value::String(content), rest)),
        _ => flow_plain(text),
    }
}

fn flow_map(text: &str, column: usize, depth: usize) -> Read<'_, Value> {
    let mut map = Map::new();
    let mut rest = opened(text, column, depth)?;
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((Value::Object(map), rest));
        }
        let (name, after) = flow_key(rest)?;
        let (value, after) = flow(after.trim_start_matches(' '), column, depth)?;
        if map.insert(name, value).is_some() {
            return None;
        }
        rest = separated(after, '}', column)?;
    }
}

fn flow_list(text: &str, column: usize, depth: usize) -> Read<'_, Value> {
    let mut list = Vec::new();
    let mut rest = opened(text, column, depth)?;
    loop {
        if let Some(rest) = rest.strip_prefix(']') {
            return Some((Value::Array(list), rest));
        }
        let (value, after) = flow(rest, column, depth)?;
        list.push(value);
        rest = separated(after, ']', column)?;
    }
}

/// Goes past an opening bracket.
fn opened(text: &str, column: usize, depth: usize) -> Option<&str> {
    if depth > MAX_DEPTH {
        return None;
    }
    gap(text.get(1..)?, column)
}

/// Goes past the comma behind an entry, or to the bracket that closes the collection.
fn separated(text: &str, close: char, column: usize) -> Option<&str> {
    let rest = gap(text, column)?;
    match rest.strip_prefix(',') {
        Some(rest) => gap(rest, column),
        None => rest.starts_with(close).then_some(rest),
    }
}

/// Goes past spaces and line breaks.
fn gap(text: &str, column: usize) -> Option<&str> {
    let rest = text.trim_start_matches([' ', '\n']);
    let skipped = text.get(..text.len() - rest.len())?;
    match skipped.rsplit_once('\n') {
        Some((_, indentation)) if indentation.len() <= column => None,
        _ => Some(rest),
    }
}

fn flow_key(text: &str) -> Read<'_, String> {
    let (name, rest) = match text.as_bytes().first()? {
        b'"' => double_quoted(text)?,
        b'\'' => single_quoted(text)?,
        _ => return key(text).map(|(name, rest)| (name.to_owned(), rest)),
    };
    Some((name, rest.strip_prefix(':')?))
}

/// A plain scalar of letters, digits and the marks of names and quantities.
fn flow_plain(text: &str) -> Read<'_, Value> {
    let first = text.as_bytes().first()?;
    if !(first.is_ascii_alphanumeric() || *first == b'/') {
        return None;
    }
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./$+-".contains(byte);
    let (content, rest) = text.split_at_checked(text.bytes().take_while(is_inner).count())?;
    Some((scalar::resolve(content).ok()?, rest))
}

fn double_quoted(text: &str) -> Read<'_, String> {
    let mut rest = text.strip_prefix('"')?;
    let mut content = String::new();
    loop {
        let is_stop = |byte: u8| matches!(byte, b'"' | b'\\' | b'\n');
        let (clean, stop) = rest.split_at_checked(rest.bytes().position(is_stop)?)?;
        content.push_str(clean);
        let (mark, after) = stop.split_at_checked(1)?;
        match mark {
            "\"" => return Some((content, after)),
            "\\" => {
                let (letter, after) = escape(after)?;
                content.push(letter);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// The escapes that JSON and Go's `%q` have in common.
fn escape(text: &str) -> Read<'_, char> {
    let (mark, rest) = text.split_at_checked(1)?;
    let letter = match mark {
        "\"" => '"',
        "\\" => '\\',
        "/" => '/',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => {
            let (digits, rest) = rest.split_at_checked(4)?;
            let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let code = is_number.then(|| u32::from_str_radix(digits, 16).ok())??;
            return Some((char::from_u32(code)?, rest));
        }
        _ => return None,
    };
    Some((letter, rest))
}

fn single_quoted(text: &str) -> Read<'_, String> {
    let mut rest = text.strip_prefix('\'')?;
    let mut content = String::new();
    loop {
        let (clean, stop) = rest.split_at_checked(rest.find(['\'', '\n'])?)?;
        content.push_str(clean);
        let after = stop.strip_prefix('\'')?;
        match after.strip_prefix('\'') {
            Some(after) => {
                content.push('\'');
                rest = after;
            }
            None => return Some((content, after)),
        }
    }
}

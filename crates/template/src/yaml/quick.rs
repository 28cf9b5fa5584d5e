//! The YAML that templates render, read in one pass.
//!
//! Called by the loader before `saphyr_parser`, which knows all of YAML and takes several times as long. Read here are block maps and lists, literal
//! blocks, flow collections and scalars of one line, all in ASCII.
//! Whatever is given here is what the full reader would give; of all that is unusual or wrong nothing is given, so that rare forms and errors are the
//! full reader's alone.

mod inline;

use serde_json::{Map, Value};

use super::scalar;

/// Nesting that is read here; deeper text is not what templates render.
const MAX_DEPTH: usize = 32;

/// Keys that are read here: well below the 1024 characters that YAML allows on one line.
const MAX_KEY: usize = 512;

/// Reads `text`, if it is a map in the forms that are known here.
pub(super) fn read(text: &str) -> Option<Value> {
    let is_known = |byte: u8| byte == b'\n' || (b' '..=b'~').contains(&byte);
    // Without stopping at the first, which lets the compiler look at many bytes at once.
    if !text.bytes().fold(true, |all, byte| all & is_known(byte)) {
        return None;
    }
    let mut reader = Reader {
        rest: "",
        column: 0,
        depth: 0,
    };
    reader.seek(text)?;
    key(reader.rest)?;
    let map = reader.map()?;
    reader.rest.is_empty().then_some(map)
}

struct Reader<'t> {
    /// The text from the next line with content on, without that line's indentation; empty at the end.
    rest: &'t str,
    /// The indentation of that line.
    column: usize,
    depth: usize,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    /// The map whose first key is next.
    fn map(&mut self) -> Option<Value> {
        self.descend()?;
        let column = self.column;
        let mut map = Map::new();
        while self.is_at(column) {
            let (name, after) = key(self.rest)?;
            let value = self.value(after, column)?;
            if map.insert(name.to_owned(), value).is_some() {
                return None;
            }
        }
        self.depth -= 1;
        Some(Value::Object(map))
    }

    /// The list whose first item is next.
    fn list(&mut self) -> Option<Value> {
        self.descend()?;
        let column = self.column;
        let mut list = Vec::new();
        while self.is_at(column)
            && let Some(after) = item(self.rest)
        {
            list.push(self.item(after, column)?);
        }
        self.depth -= 1;
        Some(Value::Array(list))
    }

    /// What stands behind a dash, which itself is at `column`.
    fn item(&mut self, after: &'t str, column: usize) -> Option<Value> {
        let text = after.trim_start_matches(' ');
        if key(text).is_none() {
            return self.scalar(text, column);
        }
        self.column = column + 1 + (after.len() - text.len());
        self.rest = text;
        let map = self.map()?;
        self.is_closed(column).then_some(map)
    }

    /// What stands behind the colon of a key, which itself is at `column`.
    fn value(&mut self, after: &'t str, column: usize) -> Option<Value> {
        let text = after.trim_start_matches(' ');
        if !(text.is_empty() || text.starts_with('\n')) {
            return self.scalar(text, column);
        }
        self.seek(text)?;
        let is_list = item(self.rest).is_some();
        let value = if self.rest.is_empty() || self.column < column {
            Value::Null
        } else if is_list {
            // The dashes may stand right below the key.
            self.list()?
        } else if self.column > column {
            self.map()?
        } else {
            Value::Null
        };
        self.is_closed(column).then_some(value)
    }

    /// A value that begins in the line of its key or dash, which is at `column`.
    fn scalar(&mut self, text: &'t str, column: usize) -> Option<Value> {
        let (value, rest) = if text.starts_with('|') {
            literal(text, column)?
        } else {
            let (value, rest) = inline::value(text, column)?;
            let rest = rest.trim_start_matches(' ');
            if !(rest.is_empty() || rest.starts_with('\n')) {
                return None;
            }
            (value, rest)
        };
        self.seek(rest)?;
        self.is_closed(column).then_some(value)
    }

    fn is_at(&self, column: usize) -> bool {
        !self.rest.is_empty() && self.column == column
    }

    /// Whether an entry at `column` is over; otherwise the next line goes on with it in a way that is not known here.
    fn is_closed(&self, column: usize) -> bool {
        self.rest.is_empty() || self.column <= column
    }

    fn descend(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    /// Goes to the next line with content, at the beginning or the end of a line.
    fn seek(&mut self, mut text: &'t str) -> Option<()> {
        loop {
            let content = text.trim_start_matches(' ');
            match content.as_bytes().first() {
                Some(b'\n') => text = content.get(1..)?,
                Some(b'#') => text = content.get(line(content).len()..)?,
                _ => {
                    self.column = text.len() - content.len();
                    self.rest = content;
                    let is_marker = content.starts_with("---") || content.starts_with("...");
                    return (self.column > 0 || !is_marker).then_some(());
                }
            }
        }
    }
}

/// The first line, without its line break.
fn line(text: &str) -> &str {
    text.split_once('\n').map_or(text, |(line, _)| line)
}

/// What follows the dash of a list's item.
fn item(text: &str) -> Option<&str> {
    let after = text.strip_prefix('-')?;
    (after.is_empty() || after.starts_with([' ', '\n'])).then_some(after)
}

/// A plain key that can only be a string, and what follows its colon.
fn key(text: &str) -> Option<(&str, &str)> {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./$-".contains(byte);
    let first = text.as_bytes().first()?;
    if !(first.is_ascii_alphabetic() || b"_$".contains(first)) {
        return None;
    }
    let length = text.bytes().take_while(is_inner).count();
    let (name, after) = text.split_at_checked(length)?;
    let after = after.strip_prefix(':')?;
    let is_key = (after.is_empty() || after.starts_with([' ', '\n']))
        && length <= MAX_KEY
        && !scalar::is_ambiguous(name);
    is_key.then_some((name, after))
}

/// A literal block, and the line behind it. Its lines are indented more than `column`, all by as much as the first.
fn literal(text: &str, column: usize) -> Option<(Value, &str)> {
    let (header, mut rest) = text.split_once('\n')?;
    let strips = match header.trim_end_matches(' ') {
        "|" => false,
        "|-" => true,
        _ => return None,
    };
    let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let first = line(rest);
    let width = indentation(first);
    if width <= column || width == first.len() {
        return None;
    }
    let mut content = String::new();
    let mut n_breaks = 0;
    while !rest.is_empty() {
        let (line, next) = rest.split_once('\n')?;
        let indentation = indentation(line);
        if indentation >= width && line.len() > width {
            content.extend(std::iter::repeat_n('\n', n_breaks));
            content.push_str(line.get(width..)?);
            n_breaks = 1;
        } else if indentation == line.len() {
            n_breaks += 1;
        } else if indentation <= column {
            break;
        } else {
            return None;
        }
        rest = next;
    }
    if !strips {
        content.push('\n');
    }
    Some((Value::String(content), rest))
}

#[cfg(test)]
mod tests;

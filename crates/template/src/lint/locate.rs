//! Where a key, or a line of a template, stands in a text.
//!
//! Asked for each finding. The text is scanned once, for the first question; a text that is not YAML has no keys, and then only lines are known.
//! A line of a template is looked for where the block should have it and given only if the text has it there, so folded and quoted
//! templates are never pointed into wrongly.

use std::{cell::OnceCell, collections::HashMap};

use saphyr_parser::{Event, Parser};

use super::Place;

/// A text whose keys can be found.
pub(super) struct Located<'a> {
    text: &'a str,
    scanned: OnceCell<HashMap<String, Node>>,
}

/// A key and its value.
#[derive(Clone, Debug)]
struct Node {
    /// Of the key, or of the item in a list.
    line: usize,
    column: usize,
    length: usize,
    /// The line in which the value begins.
    value_line: usize,
    /// What a scalar says.
    scalar: Option<String>,
}

/// A collection that is open.
enum Open {
    List {
        path: String,
        index: usize,
    },
    Map {
        path: String,
        key: Option<(String, usize, usize)>,
    },
}

/// Keys that are looked at; a text may be of any size.
const MAX_KEYS: usize = 20_000;

// === impl Located ===

impl<'a> Located<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            scanned: OnceCell::new(),
        }
    }

    /// The place of a key, such as `aliases.web` or `neverInjectSelector[0]`, or of the nearest one around it.
    pub(super) fn key(&self, key: &str) -> Option<Place> {
        let nodes = self.nodes();
        let mut key = key;
        loop {
            if let Some(node) = nodes.get(key) {
                return self.line(node.line, node.column, node.length);
            }
            let cut = key.rfind(['.', '['])?;
            key = key.get(..cut)?;
        }
    }

    /// A place by its line and column.
    pub(super) fn line(&self, line: usize, column: usize, length: usize) -> Option<Place> {
        let excerpt = self.text.lines().nth(line.checked_sub(1)?)?;
        let rest = excerpt
            .chars()
            .count()
            .saturating_sub(column - column.min(1));
        Some(Place {
            line,
            column,
            length: length.min(rest).max(1),
            excerpt: excerpt.to_owned(),
        })
    }

    /// The place of a line and column of the scalar at `key`.
    pub(super) fn in_scalar(
        &self,
        key: &str,
        line: usize,
        column: usize,
        length: usize,
    ) -> Option<Place> {
        let Some(node) = self.nodes().get(key) else {
            // A bare template is the whole text.
            return self.line(line, column, length);
        };
        let scalar = node.scalar.as_deref()?;
        let wanted = scalar.lines().nth(line.checked_sub(1)?)?;
        let is_block = scalar.contains('\n');
        let at = if is_block {
            node.value_line + line
        } else {
            node.value_line
        };
        for candidate in [at, at.saturating_sub(1)] {
            let Some(found) = self.text.lines().nth(candidate.saturating_sub(1)) else {
                continue;
            };
            let indent = match found.find(wanted) {
                Some(indent) if !is_block || found.ends_with(wanted) => indent,
                _ => continue,
            };
            let indent = found.get(..indent).unwrap_or_default().chars().count();
            if !wanted.is_empty() {
                return self.line(candidate, column + indent, length);
            }
        }
        self.line(node.line, node.column, node.length)
    }

    fn nodes(&self) -> &HashMap<String, Node> {
        self.scanned.get_or_init(|| scan(self.text))
    }
}

/// All keys of the first document by their paths; as many as there are before something that is not YAML.
fn scan(text: &str) -> HashMap<String, Node> {
    let mut nodes = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(value, ..) => {
                if let Some(Open::Map {
                    key: key @ None, ..
                }) = open.last_mut()
                {
                    *key = Some((value.into_owned(), line, column));
                } else {
                    begin(
                        &mut nodes,
                        &mut open,
                        line,
                        column,
                        Some(value.into_owned()),
                    );
                }
            }
            Event::Alias(_) => {
                begin(&mut nodes, &mut open, line, column, None);
            }
            Event::SequenceStart(..) => {
                let path = begin(&mut nodes, &mut open, line, column, None);
                open.push(Open::List { path, index: 0 });
            }
            Event::MappingStart(..) => {
                let path = begin(&mut nodes, &mut open, line, column, None);
                open.push(Open::Map { path, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
            }
            Event::DocumentEnd => break,
            _ => {}
        }
        if nodes.len() > MAX_KEYS {
            break;
        }
    }
    nodes
}

/// Notes that a value begins; gives its path.
fn begin(
    nodes: &mut HashMap<String, Node>,
    open: &mut [Open],
    line: usize,
    column: usize,
    scalar: Option<String>,
) -> String {
    let (path, key_line, key_column, length) = match open.last_mut() {
        None => (String::new(), line, column, 1),
        Some(Open::List { path, index }) => {
            *index += 1;
            (format!("{path}[{}]", *index - 1), line, column, 1)
        }
        Some(Open::Map { path, key }) => {
            let (name, line, column) = key.take().unwrap_or_default();
            let length = name.chars().count();
            let path = if path.is_empty() {
                name
            } else {
                format!("{path}.{name}")
            };
            (path, line, column, length)
        }
    };
    nodes.insert(
        path.clone(),
        Node {
            line: key_line,
            column: key_column,
            length,
            value_line: line,
            scalar,
        },
    );
    path
}

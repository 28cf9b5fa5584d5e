//! Cutting a stream of documents into pieces without touching a byte.
//!
//! Called by programs that change some documents of a file and must pass the others through as they are.
//! The pieces, put together again, are the input; `---` and `...` count only at the start of a line, where YAML itself forbids them in content.

use serde_json::Value;

use super::{Error, load};

/// One document of a stream, with everything around it: marker, comments, line ends, byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// The very text, from its `---` line (if it has one) up to the next document.
    pub raw: &'a str,
    /// Lines of the stream before this document.
    pub lines_before: usize,
}

// === impl Document ===

impl Document<'_> {
    /// Reads the document; `origin` names the stream in errors, whose lines count from the stream's start.
    ///
    /// An empty document is `Null`.
    ///
    /// # Errors
    /// An [`Error`] with line and column.
    pub fn parse(&self, origin: &str) -> Result<Value, Error> {
        load::single(origin, self.raw, self.lines_before)
    }

    /// Whether the document begins with a `---` line.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.raw.lines().any(|line| is_marker(line, "---"))
    }
}

/// The documents of a stream, in order; their `raw` texts put together are `text`.
#[must_use]
pub fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut end = 0;
    let mut start_line = 0;
    let mut state = State::Preamble { directives: false };
    for (line_idx, line) in text.split_inclusive('\n').enumerate() {
        let (cut_before, next) = state.after(line.trim_start_matches('\u{feff}'));
        if cut_before && end > start {
            documents.push(Document {
                raw: text.get(start..end).unwrap_or_default(),
                lines_before: start_line,
            });
            start = end;
            start_line = line_idx;
        }
        state = next;
        end += line.len();
    }
    if end > start {
        documents.push(Document {
            raw: text.get(start..end).unwrap_or_default(),
            lines_before: start_line,
        });
    }
    documents
}

/// Where the splitter stands within the current piece.
#[derive(Clone, Copy)]
enum State {
    /// Nothing but comments, blank lines and `%` directives so far.
    Preamble { directives: bool },
    /// A marker or content was seen.
    Content,
    /// A `...` line ended the document.
    Ended,
}

// === impl State ===

impl State {
    /// Whether a new piece begins with `line`, and the state after it.
    fn after(self, line: &str) -> (bool, Self) {
        let idle = line.trim().is_empty() || line.starts_with('#');
        if is_marker(line, "---") {
            let cut = !matches!(self, Self::Preamble { directives: true });
            return (cut, Self::Content);
        }
        if is_marker(line, "...") {
            return (false, Self::Ended);
        }
        match self {
            Self::Preamble { .. } if line.starts_with('%') => {
                (false, Self::Preamble { directives: true })
            }
            Self::Preamble { .. } if idle => (false, self),
            Self::Ended if idle => (false, self),
            Self::Ended if line.starts_with('%') => (true, Self::Preamble { directives: true }),
            Self::Ended => (true, Self::Content),
            Self::Preamble { .. } | Self::Content => (false, Self::Content),
        }
    }
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

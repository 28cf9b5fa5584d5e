//! What a template may use up.
//! The parser and the executor count against these limits, and functions that can grow their result ask before they
//! do.
//! With them a hostile template ends in an error after a bounded time and with bounded memory, whatever it says.

use std::fmt::{self, Write};

/// How many bytes the result of an execution, or any text on the way to it, may have.
pub const MAX_TEXT: usize = 8 << 20;

/// How many elements a list made by a function may have.
pub const MAX_ITEMS: usize = 1 << 17;

/// How many bytes all values computed in one execution may have together, freed ones included.
pub const MAX_WORK: usize = 512 << 20;

/// How many actions, texts and loop rounds one execution may run.
pub const MAX_STEPS: u32 = 2_000_000;

/// How deeply parentheses and control structures may be nested in a template.
pub const MAX_NESTING: u32 = 100;

/// How deeply control structures, parentheses and template calls may be nested during execution.
///
/// What is nested as deeply as allowed takes 1.2 MiB of stack without optimisation and 0.2 MiB with it; the threads of
/// asynchronous programs have 2 MiB.
pub const MAX_DEPTH: u32 = 200;

/// A limit that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// A text would be too long.
    #[error("a text is longer than {MAX_TEXT} bytes")]
    Text,
    /// A list would be too long.
    #[error("a list has more than {MAX_ITEMS} elements")]
    Items,
    /// Too much was computed.
    #[error("the values computed take more than {MAX_WORK} bytes")]
    Work,
    /// Too many steps were taken.
    #[error("the template runs for more than {MAX_STEPS} steps")]
    Steps,
    /// Templates call each other, or structures are nested, too deeply.
    #[error("control structures and template calls are nested more than {MAX_DEPTH} deep")]
    Depth,
}

/// A text under construction that refuses to become longer than [`MAX_TEXT`].
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    text: String,
}

// === impl Buffer ===

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            text: String::with_capacity(capacity.min(MAX_TEXT)),
        }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<(), Limit> {
        if text.len() > MAX_TEXT - self.text.len() {
            return Err(Limit::Text);
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(crate) fn push_char(&mut self, letter: char) -> Result<(), Limit> {
        self.push(letter.encode_utf8(&mut [0; 4]))
    }

    pub(crate) fn push_repeated(&mut self, text: &str, count: usize) -> Result<(), Limit> {
        if text.len().saturating_mul(count) > MAX_TEXT - self.text.len() {
            return Err(Limit::Text);
        }
        self.text.push_str(&text.repeat(count));
        Ok(())
    }

    pub(crate) fn push_fmt(&mut self, arguments: fmt::Arguments<'_>) -> Result<(), Limit> {
        self.write_fmt(arguments).map_err(|fmt::Error| Limit::Text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).map_err(|_| fmt::Error)
    }
}

//! From the text of a template to tokens.
//! [`tokenize`] cuts the text at the delimiters, drops comments, trims the text beside `{{- ` and ` -}}` and hands what
//! is inside an action to the scanner of [`action`]; the parser reads the result.
//! Tokens are ranges of the text in ascending order, and when a token cannot be read an [`TokenKind::Error`] is the
//! last one.

mod action;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::Delimiters;
use super::error::ParseReason;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Where it stands in the text, in bytes.
    pub(super) span: Range<usize>,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Text,
    LeftDelimiter,
    RightDelimiter,
    Space,
    Identifier,
    Keyword(Keyword),
    /// `.Name`, the dot included.
    Field,
    /// `$name` or `$`, the dollar included.
    Variable,
    Dot,
    Nil,
    Bool(bool),
    Number,
    Char,
    String,
    RawString,
    Pipe,
    LeftParen,
    RightParen,
    Assign,
    Declare,
    Comma,
    /// Punctuation without a meaning.
    Other,
    End,
    Error(ParseReason),
}

/// A word that begins a control structure, or stands for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// A token that cannot be read, and where.
type Fault = (ParseReason, Range<usize>);

struct Lexer<'t> {
    text: &'t str,
    delimiters: Delimiters<'t>,
    position: usize,
    tokens: Vec<Token>,
}

// === impl Lexer ===

impl<'t> Lexer<'t> {
    fn run(&mut self) -> Result<(), Fault> {
        while let Some(offset) = self.rest().find(self.delimiters.left) {
            let start = self.position + offset;
            let after = start + self.delimiters.left.len();
            let trims = has_left_trim_marker(self.text.get(after..).unwrap_or_default());
            self.push_text(start, trims);
            self.position = after + if trims { TRIM_MARKER_LENGTH } else { 0 };
            if self.rest().starts_with("/*") {
                self.comment(start)?;
            } else {
                self.push(TokenKind::LeftDelimiter, start);
                self.action(start)?;
            }
        }
        self.push_text(self.text.len(), false);
        Ok(())
    }

    /// The text between the current position and `end`.
    fn push_text(&mut self, end: usize, trims_end: bool) {
        let start = self.position;
        let text = self.text.get(start..end).unwrap_or_default();
        let text = if trims_end {
            text.trim_end_matches(is_space)
        } else {
            text
        };
        self.position = start + text.len();
        if !text.is_empty() {
            self.push(TokenKind::Text, start);
        }
    }

    /// Skips a comment, whose action began at `start`.
    fn comment(&mut self, start: usize) -> Result<(), Fault> {
        let Some(length) = self.rest().find("*/") else {
            return Err((ParseReason::UnclosedComment, start..self.text.len()));
        };
        self.position += length + "*/".len();
        if self.right_delimiter().is_none() {
            return Err((ParseReason::CommentNotAlone, start..self.position));
        }
        self.skip_right_delimiter();
        Ok(())
    }

    /// Whether a right delimiter stands here, and whether it trims the text after it.
    fn right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest)
            && rest
                .get(TRIM_MARKER_LENGTH..)
                .is_some_and(|rest| rest.starts_with(self.delimiters.right))
        {
            return Some(true);
        }
        rest.starts_with(self.delimiters.right).then_some(false)
    }

    /// Goes behind the right delimiter that stands here, and behind what it trims; gives the end of the delimiter.
    fn skip_right_delimiter(&mut self) -> usize {
        let trims = self.right_delimiter() == Some(true);
        self.position += self.delimiters.right.len();
        if trims {
            self.position += TRIM_MARKER_LENGTH;
        }
        let end = self.position;
        if trims {
            let rest = self.rest();
            self.position += rest.len() - rest.trim_start_matches(is_space).len();
        }
        end
    }

    /// A token from `start` to the current position.
    fn push(&mut self, kind: TokenKind, start: usize) {
        let span = start..self.position;
        self.tokens.push(Token { kind, span });
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or_default()
    }
}

/// The tokens of `text`; the last one is [`TokenKind::End`] or [`TokenKind::Error`].
pub(super) fn tokenize(text: &str, delimiters: Delimiters<'_>) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        delimiters,
        position: 0,
        tokens: Vec::new(),
    };
    let (kind, span) = match lexer.run() {
        Ok(()) => (TokenKind::End, text.len()..text.len()),
        Err((reason, span)) => (TokenKind::Error(reason), span),
    };
    lexer.tokens.push(Token { kind, span });
    lexer.tokens
}

fn has_left_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', space, ..] if is_space(char::from(*space)))
}

fn has_right_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [space, b'-', ..] if is_space(char::from(*space)))
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

/// A trim marker is a minus sign and a space.
const TRIM_MARKER_LENGTH: usize = 2;

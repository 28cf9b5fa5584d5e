//! The tokens inside an action.
//! The lexer comes here behind each left delimiter and goes on behind the right one; spaces are tokens, because they
//! separate operands.

use super::{Fault, Keyword, Lexer, TokenKind, is_space};
use crate::gotemplate::error::ParseReason;

impl Lexer<'_> {
    /// Scans an action whose left delimiter, at `start`, is past.
    pub(super) fn action(&mut self, start: usize) -> Result<(), Fault> {
        let mut parentheses = 0_usize;
        loop {
            let position = self.position;
            if self.right_delimiter().is_some() {
                if parentheses > 0 {
                    let span = start..position;
                    return Err((ParseReason::UnclosedParenthesis, span));
                }
                let end = self.skip_right_delimiter();
                self.push(TokenKind::RightDelimiter, position);
                if let Some(token) = self.tokens.last_mut() {
                    token.span.end = end;
                }
                return Ok(());
            }
            let Some(letter) = self.bump() else {
                return Err((ParseReason::UnclosedAction, start..self.text.len()));
            };
            let kind = match letter {
                '(' => {
                    parentheses += 1;
                    TokenKind::LeftParen
                }
                ')' if parentheses == 0 => {
                    let span = position..self.position;
                    return Err((ParseReason::UnexpectedRightParenthesis, span));
                }
                ')' => {
                    parentheses -= 1;
                    TokenKind::RightParen
                }
                letter => self.token(letter, position)?,
            };
            self.push(kind, position);
        }
    }

    /// The token that begins with `letter`, which is past and stood at `start`.
    fn token(&mut self, letter: char, start: usize) -> Result<TokenKind, Fault> {
        match letter {
            letter if is_space(letter) => {
                self.spaces();
                Ok(TokenKind::Space)
            }
            '=' => Ok(TokenKind::Assign),
            ':' if self.eat('=') => Ok(TokenKind::Declare),
            ':' => Err((ParseReason::ExpectedDeclare, start..self.position)),
            '|' => Ok(TokenKind::Pipe),
            ',' => Ok(TokenKind::Comma),
            '"' => self.quoted('"', "quoted string", start, TokenKind::String),
            '\'' => self.quoted('\'', "character constant", start, TokenKind::Char),
            '`' => self.raw(start),
            '$' => self.name(start, TokenKind::Variable),
            '.' if !self.rest().starts_with(|next: char| next.is_ascii_digit()) => {
                if self.at_terminator() {
                    Ok(TokenKind::Dot)
                } else {
                    self.name(start, TokenKind::Field)
                }
            }
            '.' | '+' | '-' | '0'..='9' => self.number(start),
            letter if is_alphanumeric(letter) => {
                let kind = self.name(start, TokenKind::Identifier)?;
                let word = self.text.get(start..self.position).unwrap_or_default();
                Ok(keyword(word).unwrap_or(kind))
            }
            letter if letter.is_ascii_graphic() => Ok(TokenKind::Other),
            letter => Err((
                ParseReason::UnrecognizedCharacter(letter),
                start..self.position,
            )),
        }
    }

    /// Skips spaces, but leaves the one that belongs to a trim marker.
    fn spaces(&mut self) {
        while self.rest().starts_with(is_space) && self.right_delimiter().is_none() {
            self.position += 1;
        }
    }

    /// The rest of a name.
    fn name(&mut self, start: usize, kind: TokenKind) -> Result<TokenKind, Fault> {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches(is_alphanumeric).len();
        if self.at_terminator() {
            return Ok(kind);
        }
        let next = self.rest().chars().next().unwrap_or_default();
        let end = self.position + next.len_utf8();
        Err((ParseReason::BadCharacter(next), start..end))
    }

    /// The rest of a number. What it accepts need not be a number yet: the parser has the last word.
    fn number(&mut self, start: usize) -> Result<TokenKind, Fault> {
        self.position = start;
        let text = self.rest();
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let lower = |letter: Option<char>| letter.unwrap_or_default().to_ascii_lowercase();
        let mut letters = unsigned.chars();
        let hexadecimal = lower(letters.next()) == '0' && lower(letters.next()) == 'x';
        let exponent = if hexadecimal { 'p' } else { 'e' };
        let mut previous = '\0';
        let length = unsigned
            .find(|letter: char| {
                let sign = matches!(letter, '+' | '-') && previous == exponent;
                previous = letter.to_ascii_lowercase();
                !(sign || letter == '.' || is_alphanumeric(letter))
            })
            .unwrap_or(unsigned.len());
        self.position += text.len() - unsigned.len() + length;
        if self.rest().starts_with(['+', '-']) {
            let text = self.text.get(start..=self.position).unwrap_or_default();
            let reason = ParseReason::BadNumber(text.to_owned());
            return Err((reason, start..self.position + 1));
        }
        Ok(TokenKind::Number)
    }

    /// The rest of a literal that ends with `quote` on the same line.
    fn quoted(
        &mut self,
        quote: char,
        what: &'static str,
        start: usize,
        kind: TokenKind,
    ) -> Result<TokenKind, Fault> {
        loop {
            match self.bump() {
                Some('\\') if !matches!(self.bump(), None | Some('\n')) => {}
                Some('\\' | '\n') | None => {
                    return Err((ParseReason::Unterminated(what), start..self.position));
                }
                Some(letter) if letter == quote => return Ok(kind),
                Some(_) => {}
            }
        }
    }

    /// The rest of a literal between back-ticks.
    fn raw(&mut self, start: usize) -> Result<TokenKind, Fault> {
        let Some(length) = self.rest().find('`') else {
            let reason = ParseReason::Unterminated("raw quoted string");
            return Err((reason, start..self.text.len()));
        };
        self.position += length + 1;
        Ok(TokenKind::RawString)
    }

    /// Whether what stands here may follow a name: `$x+2` must not pass for arithmetic.
    fn at_terminator(&self) -> bool {
        let rest = self.rest();
        rest.is_empty()
            || rest.starts_with(is_space)
            || rest.starts_with(['.', ',', '|', ':', ')', '('])
            || rest.starts_with(self.delimiters.right)
    }

    fn bump(&mut self) -> Option<char> {
        let letter = self.rest().chars().next()?;
        self.position += letter.len_utf8();
        Some(letter)
    }

    fn eat(&mut self, letter: char) -> bool {
        let eaten = self.rest().starts_with(letter);
        if eaten {
            self.position += letter.len_utf8();
        }
        eaten
    }
}

fn keyword(word: &str) -> Option<TokenKind> {
    Some(TokenKind::Keyword(match word {
        "block" => Keyword::Block,
        "break" => Keyword::Break,
        "continue" => Keyword::Continue,
        "define" => Keyword::Define,
        "else" => Keyword::Else,
        "end" => Keyword::End,
        "if" => Keyword::If,
        "range" => Keyword::Range,
        "template" => Keyword::Template,
        "with" => Keyword::With,
        "nil" => return Some(TokenKind::Nil),
        "true" => return Some(TokenKind::Bool(true)),
        "false" => return Some(TokenKind::Bool(false)),
        _ => return None,
    }))
}

fn is_alphanumeric(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

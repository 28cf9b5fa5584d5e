//! From tokens to a tree.
//! [`parse`] is called once per template, when a configuration is loaded; pipelines are in [`pipeline`], literals in
//! [`literal`].
//! A tree that comes out is complete: every function, variable and template that it names exists, and its nesting is
//! bounded, so that the executor's recursion is too.

mod control;
mod definitions;
pub(crate) mod literal;
mod pipeline;

use definitions::Definitions;

use super::Delimiters;
use super::error::{ParseError, ParseReason, Place};
use super::lexer::{Keyword, Token, TokenKind, tokenize};
use super::limits::MAX_NESTING;
use super::tree::{Block, Definition, Node, Pipeline, Span};
use crate::functions::Functions;

struct Parser<'t> {
    text: &'t str,
    functions: &'t Functions,
    tokens: Vec<Token>,
    position: usize,
    /// Where the token before the current one ends.
    end: usize,
    definitions: Definitions,
    scope: Scope<'t>,
    nesting: u32,
}

/// The variables that can be seen, and the most there were at any time.
struct Scope<'t> {
    variables: Vec<&'t str>,
    slots: usize,
    loops: u32,
}

/// What is wrong, and where.
struct Fault {
    reason: ParseReason,
    span: Span,
}

type Parsed<T> = Result<T, Fault>;

/// A node, if the action leaves any, or what ends the list of nodes.
type NodeOrEnding = Result<Option<Node>, (Ending, Span)>;

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    End,
    Else,
    ElseIf,
    ElseWith,
}

// === impl Parser ===

impl<'t> Parser<'t> {
    fn template(&mut self, name: &str) -> Parsed<()> {
        let mut body = Block::new();
        loop {
            let token = self.next_token();
            match token.kind {
                TokenKind::End => break,
                TokenKind::LeftDelimiter if self.peek_keyword() == Some(Keyword::Define) => {
                    self.next_token();
                    self.define()?;
                }
                _ => match self.text_or_action(token)? {
                    Ok(node) => body.extend(node),
                    Err((_, span)) => return Err(self.unexpected_at(span, "input")),
                },
            }
        }
        let slots = self.scope.slots;
        self.definitions.add(name, body, slots, 0..0)
    }

    /// `define "name"`; the keyword is past.
    fn define(&mut self) -> Parsed<()> {
        let (name, span) = self.template_name("define clause")?;
        self.right_delimiter("define clause")?;
        let (body, slots) = self.definition_body("define", &span)?;
        self.definitions.add(&name, body, slots, span)
    }

    /// A body that sees no variables but `$`, up to its `end`.
    fn definition_body(&mut self, context: &'static str, opened: &Span) -> Parsed<(Block, usize)> {
        let outer = std::mem::take(&mut self.scope);
        let (body, ending, span) = self.block(context, opened)?;
        if ending != Ending::End {
            return Err(self.unexpected_at(span, context));
        }
        let inner = std::mem::replace(&mut self.scope, outer);
        Ok((body, inner.slots))
    }

    /// Nodes up to `end` or `else`, of the structure that was opened there.
    fn block(&mut self, context: &'static str, opened: &Span) -> Parsed<(Block, Ending, Span)> {
        self.deeper(|parser| {
            let mut nodes = Block::new();
            loop {
                let token = parser.next_token();
                if token.kind == TokenKind::End {
                    return Err(Fault {
                        reason: ParseReason::NoEnd(context),
                        span: opened.clone(),
                    });
                }
                match parser.text_or_action(token)? {
                    Ok(node) => nodes.extend(node),
                    Err((ending, span)) => return Ok((nodes, ending, span)),
                }
            }
        })
    }

    /// The node that begins with `token`, or the ending of the list it is in.
    fn text_or_action(&mut self, token: Token) -> Parsed<NodeOrEnding> {
        match token.kind {
            TokenKind::Text => Ok(Ok(Some(Node::Text(self.source(&token.span).into())))),
            TokenKind::LeftDelimiter => {
                self.skip_space();
                let Some(keyword) = self.peek_keyword() else {
                    return Ok(Ok(Some(Node::Action(self.action_pipeline("command")?))));
                };
                let span = self.next_token().span;
                self.control(keyword, span)
            }
            _ => Err(self.unexpected(token, "input")),
        }
    }

    fn template_name(&mut self, context: &'static str) -> Parsed<(String, Span)> {
        self.skip_space();
        let token = self.next_token();
        let text = self.source(&token.span);
        let name = match token.kind {
            TokenKind::String => literal::unquote(text),
            TokenKind::RawString => Ok(literal::raw(text)),
            _ => return Err(self.unexpected(token, context)),
        };
        match name {
            Ok(name) => Ok((name, token.span)),
            Err(reason) => Err(Fault {
                reason,
                span: token.span,
            }),
        }
    }

    /// A pipeline that ends with the action.
    fn action_pipeline(&mut self, context: &'static str) -> Parsed<Pipeline> {
        self.pipeline(context, &TokenKind::RightDelimiter)
    }

    fn right_delimiter(&mut self, context: &'static str) -> Parsed<()> {
        self.skip_space();
        let token = self.next_token();
        if token.kind == TokenKind::RightDelimiter {
            return Ok(());
        }
        Err(self.unexpected(token, context))
    }

    /// Runs `parse` one level further down.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return Err(Fault {
                reason: ParseReason::TooDeep,
                span: self.end..self.end + 1,
            });
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn next_token(&mut self) -> Token {
        let end = self.text.len();
        let token = self.tokens.get(self.position).cloned().unwrap_or(Token {
            kind: TokenKind::End,
            span: end..end,
        });
        self.position += 1;
        self.end = token.span.end;
        token
    }

    fn peek_kind(&self) -> Option<&TokenKind> {
        self.tokens.get(self.position).map(|token| &token.kind)
    }

    /// The keyword that comes next, behind spaces, which are skipped.
    fn peek_keyword(&mut self) -> Option<Keyword> {
        self.skip_space();
        match self.peek_kind() {
            Some(TokenKind::Keyword(keyword)) => Some(*keyword),
            _ => None,
        }
    }

    /// Skips spaces; says whether there were any.
    fn skip_space(&mut self) -> bool {
        let mut skipped = false;
        while self.peek_kind() == Some(&TokenKind::Space) {
            self.position += 1;
            skipped = true;
        }
        skipped
    }

    fn source(&self, span: &Span) -> &'t str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    fn unexpected(&self, token: Token, context: &'static str) -> Fault {
        match token.kind {
            TokenKind::Error(reason) => Fault {
                reason,
                span: token.span,
            },
            _ => self.unexpected_at(token.span, context),
        }
    }

    fn unexpected_at(&self, span: Span, context: &'static str) -> Fault {
        let found = format!("{:?}", self.source(&span));
        Fault {
            reason: ParseReason::Unexpected { found, context },
            span,
        }
    }
}

// === impl Scope ===

impl Default for Scope<'_> {
    fn default() -> Self {
        Self {
            variables: vec!["$"],
            slots: 1,
            loops: 0,
        }
    }
}

impl<'t> Scope<'t> {
    /// The slot of the innermost variable of this name.
    fn find(&self, name: &str) -> Option<usize> {
        self.variables.iter().rposition(|known| *known == name)
    }

    fn declare(&mut self, name: &'t str) -> usize {
        self.variables.push(name);
        self.slots = self.slots.max(self.variables.len());
        self.variables.len() - 1
    }
}

/// The definitions of `text`; the first one is the template itself.
pub(super) fn parse(
    name: &str,
    text: &str,
    delimiters: Delimiters<'_>,
    functions: &Functions,
) -> Result<Vec<Definition>, ParseError> {
    let mut parser = Parser {
        text,
        functions,
        tokens: tokenize(text, delimiters),
        position: 0,
        end: text.len(),
        definitions: Definitions::new(name),
        scope: Scope::default(),
        nesting: 0,
    };
    let parsed = parser
        .template(name)
        .and_then(|()| parser.definitions.finish());
    parsed.map_err(|fault| ParseError {
        place: Place::new(name, text, fault.span),
        reason: fault.reason,
    })
}

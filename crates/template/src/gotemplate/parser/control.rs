//! Control structures: what begins with a keyword.
//! The parser comes here when a keyword follows a left delimiter, and goes on behind the structure's `end`.
//! Variables that a structure declares are out of sight when it ends.

use super::{Ending, Fault, NodeOrEnding, Parsed, Parser};
use crate::gotemplate::error::ParseReason;
use crate::gotemplate::lexer::{Keyword, TokenKind};
use crate::gotemplate::tree::{Block, Loop, Node, Span};

/// The control structures that have branches.
#[derive(Clone, Copy, PartialEq)]
enum Branching {
    If,
    With,
}

impl Parser<'_> {
    /// The control structure whose keyword, at `span`, is past.
    pub(super) fn control(&mut self, keyword: Keyword, span: Span) -> Parsed<NodeOrEnding> {
        let node = match keyword {
            Keyword::If => self.branches(Branching::If, span)?,
            Keyword::With => self.branches(Branching::With, span)?,
            Keyword::Range => self.range(&span)?,
            Keyword::Template => self.template_call(span)?,
            Keyword::Block => self.inline_definition(span)?,
            Keyword::Break => self.leave_loop("break", Node::Break, span)?,
            Keyword::Continue => self.leave_loop("continue", Node::Continue, span)?,
            Keyword::End => {
                self.right_delimiter("end")?;
                return Ok(Err((Ending::End, span)));
            }
            Keyword::Else => return Ok(Err((self.else_ending()?, span))),
            Keyword::Define => return Err(self.unexpected_at(span, "command")),
        };
        Ok(Ok(Some(node)))
    }

    /// What follows the keyword `else`.
    fn else_ending(&mut self) -> Parsed<Ending> {
        self.skip_space();
        let ending = match self.peek_keyword() {
            Some(Keyword::If) => Ending::ElseIf,
            Some(Keyword::With) => Ending::ElseWith,
            _ => {
                self.right_delimiter("else")?;
                return Ok(Ending::Else);
            }
        };
        self.next_token();
        Ok(ending)
    }

    /// `if` or `with` with all of its branches. A chain of `else if` is a list, not a nest: it may be long.
    fn branches(&mut self, kind: Branching, mut opened: Span) -> Parsed<Node> {
        let visible = self.scope.variables.len();
        let mut branches = Vec::new();
        let mut otherwise = Block::new();
        let (context, chained) = match kind {
            Branching::If => ("if", Ending::ElseIf),
            Branching::With => ("with", Ending::ElseWith),
        };
        loop {
            let condition = self.action_pipeline(context)?;
            let (body, ending, span) = self.block(context, &opened)?;
            branches.push((condition, body));
            if ending == Ending::Else {
                otherwise = self.last_block(context, &opened)?;
            } else if ending != Ending::End && ending != chained {
                return Err(self.unexpected_at(span, context));
            }
            if ending != chained {
                break;
            }
            opened = span;
        }
        self.scope.variables.truncate(visible);
        Ok(match kind {
            Branching::If => Node::If {
                branches,
                otherwise,
            },
            Branching::With => Node::With {
                branches,
                otherwise,
            },
        })
    }

    fn range(&mut self, opened: &Span) -> Parsed<Node> {
        let visible = self.scope.variables.len();
        let over = self.action_pipeline("range")?;
        self.scope.loops += 1;
        let (body, ending, span) = self.block("range", opened)?;
        self.scope.loops -= 1;
        let otherwise = match ending {
            Ending::End => Block::new(),
            Ending::Else => self.last_block("range", opened)?,
            Ending::ElseIf | Ending::ElseWith => return Err(self.unexpected_at(span, "range")),
        };
        self.scope.variables.truncate(visible);
        Ok(Node::Loop(Box::new(Loop {
            over,
            body,
            otherwise,
        })))
    }

    /// The block of an `else`, which only `end` may close.
    fn last_block(&mut self, context: &'static str, opened: &Span) -> Parsed<Block> {
        let (body, ending, span) = self.block(context, opened)?;
        if ending == Ending::End {
            Ok(body)
        } else {
            Err(self.unexpected_at(span, context))
        }
    }

    /// `template "name"`, with or without data.
    fn template_call(&mut self, span: Span) -> Parsed<Node> {
        let (name, name_span) = self.template_name("template clause")?;
        self.skip_space();
        let data = if self.peek_kind() == Some(&TokenKind::RightDelimiter) {
            self.next_token();
            None
        } else {
            Some(self.action_pipeline("template clause")?)
        };
        Ok(Node::Template {
            definition: self.definitions.call(&name, name_span),
            data,
            span: span.start..self.end,
        })
    }

    /// `block "name" data`: a definition and a call of it.
    fn inline_definition(&mut self, span: Span) -> Parsed<Node> {
        let (name, name_span) = self.template_name("block clause")?;
        let data = self.action_pipeline("block clause")?;
        let span = span.start..self.end;
        let (body, slots) = self.definition_body("block", &span)?;
        self.definitions
            .add(&name, body, slots, name_span.clone())?;
        Ok(Node::Template {
            definition: self.definitions.call(&name, name_span),
            data: Some(data),
            span,
        })
    }

    fn leave_loop(&mut self, keyword: &'static str, node: Node, span: Span) -> Parsed<Node> {
        self.right_delimiter(keyword)?;
        if self.scope.loops == 0 {
            let reason = ParseReason::OutsideRange(keyword);
            return Err(Fault { reason, span });
        }
        Ok(node)
    }
}

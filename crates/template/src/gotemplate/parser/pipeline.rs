//! Pipelines, commands and operands.
//! Actions and control structures come here for what stands between their keyword and the delimiter, and so do
//! parentheses.
//! Functions and variables are resolved here, and the number of a function's arguments is checked.

use super::{Fault, Parsed, Parser, literal};
use crate::functions::Function;
use crate::gotemplate::error::ParseReason;
use crate::gotemplate::lexer::{Token, TokenKind};
use crate::gotemplate::names::FieldName;
use crate::gotemplate::tree::{Call, Expression, Path, Pipeline, Span};
use crate::gotemplate::value::{Text, Value};

/// An operand, and whether it names a function.
enum Operand {
    Function(Function, Span),
    Expression(Expression, Span),
}

/// A command, before it is known whether it is given a value.
struct Command {
    first: Operand,
    arguments: Vec<Expression>,
    span: Span,
}

/// How a pipeline treats the variables before it.
enum Variables<'t> {
    None,
    Declare(Vec<&'t str>),
    Assign(Vec<usize>),
}

impl<'t> Parser<'t> {
    /// A pipeline up to and including the token `end`.
    pub(super) fn pipeline(&mut self, context: &'static str, end: &TokenKind) -> Parsed<Pipeline> {
        self.skip_space();
        let mut span = self.end..self.end;
        let variables = self.variables(context)?;
        let mut first = None;
        let mut rest = Vec::new();
        loop {
            self.skip_space();
            if self.peek_kind() == Some(end) {
                let last = self.next_token();
                // What is empty can only be shown by what ends it.
                if first.is_none() {
                    span.end = last.span.end;
                }
                break;
            }
            let stage = rest.len() + 2;
            let command = self.command(context)?;
            span.end = command.span.end;
            if first.is_none() {
                first = Some(self.starting(command)?);
            } else {
                rest.push(self.continuing(command, stage)?);
            }
        }
        // Declared behind its value: in `$x := $x` the second is that of the enclosing scope.
        let variables = match variables {
            Variables::None => Vec::new(),
            Variables::Assign(slots) => slots,
            Variables::Declare(names) => names
                .into_iter()
                .map(|name| self.scope.declare(name))
                .collect(),
        };
        match first {
            Some(first) => Ok(Pipeline {
                variables,
                first,
                rest,
                span,
            }),
            None => Err(Fault {
                reason: ParseReason::MissingValue(context),
                span,
            }),
        }
    }

    /// `$x :=`, `$i, $x :=` or `$x =` at the beginning of a pipeline.
    fn variables(&mut self, context: &'static str) -> Parsed<Variables<'t>> {
        let mut names: Vec<(&'t str, Span)> = Vec::new();
        let mut back = self.position;
        loop {
            if self.peek_kind() != Some(&TokenKind::Variable) {
                if names.is_empty() {
                    return Ok(Variables::None);
                }
                let token = self.next_token();
                return Err(Fault {
                    reason: ParseReason::RangeVariables,
                    span: token.span,
                });
            }
            let token = self.next_token();
            let name = self.source(&token.span);
            self.skip_space();
            match self.peek_kind() {
                Some(TokenKind::Declare) => {
                    self.next_token();
                    names.push((name, token.span));
                    let names = names.into_iter().map(|(name, _)| name).collect();
                    return Ok(Variables::Declare(names));
                }
                Some(TokenKind::Assign) => {
                    self.next_token();
                    names.push((name, token.span));
                    return self.assigned(names);
                }
                Some(TokenKind::Comma) => {
                    let comma = self.next_token();
                    names.push((name, token.span));
                    if context != "range" || names.len() > 1 {
                        return Err(Fault {
                            reason: ParseReason::TooManyDeclarations(context),
                            span: comma.span,
                        });
                    }
                    self.skip_space();
                    back = self.position;
                }
                _ if names.is_empty() => {
                    self.position = back;
                    return Ok(Variables::None);
                }
                _ => {
                    let span = token.span;
                    return Err(self.unexpected_at(span, context));
                }
            }
        }
    }

    fn assigned(&self, names: Vec<(&'t str, Span)>) -> Parsed<Variables<'t>> {
        let slots: Parsed<Vec<usize>> = names
            .into_iter()
            .map(|(name, span)| self.slot(name, span))
            .collect();
        slots.map(Variables::Assign)
    }

    /// Operands up to a `|`, which is consumed, or to what ends the pipeline.
    fn command(&mut self, context: &'static str) -> Parsed<Command> {
        let mut operands = Vec::new();
        let start = self.tokens.get(self.position).map(|token| token.span.start);
        let start = start.unwrap_or(self.end);
        let mut span = start..start;
        loop {
            self.skip_space();
            if let Some(operand) = self.operand(context)? {
                operands.push(operand);
                span.end = self.end;
            }
            match self.peek_kind() {
                Some(TokenKind::Space) => {}
                Some(TokenKind::RightDelimiter | TokenKind::RightParen) => break,
                Some(TokenKind::Pipe) => {
                    self.next_token();
                    break;
                }
                _ => {
                    let token = self.next_token();
                    return Err(self.unexpected(token, context));
                }
            }
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else {
            return Err(Fault {
                reason: ParseReason::EmptyCommand,
                span: start..self.end,
            });
        };
        Ok(Command {
            first,
            arguments: operands.map(argument).collect::<Parsed<_>>()?,
            span,
        })
    }

    /// The first command of a pipeline: a call or a value.
    fn starting(&self, command: Command) -> Parsed<Expression> {
        match command.first {
            Operand::Function(function, _) => {
                let call = call(function, command.arguments, command.span, 0)?;
                Ok(Expression::Call(Box::new(call)))
            }
            Operand::Expression(_, span) if !command.arguments.is_empty() => {
                Err(self.not_a_function(span))
            }
            Operand::Expression(Expression::Nil, span) => Err(Fault {
                reason: ParseReason::NilCommand,
                span,
            }),
            Operand::Expression(value, _) => Ok(value),
        }
    }

    /// A later command, which must take the value of the one before.
    fn continuing(&self, command: Command, stage: usize) -> Parsed<Call> {
        match command.first {
            Operand::Function(function, _) => call(function, command.arguments, command.span, 1),
            Operand::Expression(
                Expression::Dot | Expression::Nil | Expression::Constant(_),
                span,
            ) => Err(Fault {
                reason: ParseReason::NotExecutable(stage),
                span,
            }),
            Operand::Expression(_, span) => Err(self.not_a_function(span)),
        }
    }

    fn not_a_function(&self, span: Span) -> Fault {
        Fault {
            reason: ParseReason::NotAFunction(self.source(&span).to_owned()),
            span,
        }
    }

    /// A term and the fields asked of it. None when the next token begins no term.
    fn operand(&mut self, context: &'static str) -> Parsed<Option<Operand>> {
        let Some(term) = self.term(context)? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while self.peek_kind() == Some(&TokenKind::Field) {
            let token = self.next_token();
            fields.push(self.field_name(&token.span));
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        let (term, start) = match term {
            Operand::Function(_, ref span) | Operand::Expression(_, ref span) => {
                let start = span.start;
                (argument(term)?, start)
            }
        };
        let span = start..self.end;
        let path = |fields| Path {
            fields,
            span: span.clone(),
        };
        let expression = match term {
            Expression::Dot | Expression::Nil | Expression::Constant(_) => {
                let literal = self.source(&span).to_owned();
                return Err(Fault {
                    reason: ParseReason::FieldOfLiteral(literal),
                    span,
                });
            }
            Expression::Field(mut known) => {
                known.fields.append(&mut fields);
                Expression::Field(path(known.fields))
            }
            Expression::Variable(slot) => Expression::VariableField(slot, path(fields)),
            other => Expression::Chain(Box::new(other), path(fields)),
        };
        Ok(Some(Operand::Expression(expression, span)))
    }

    fn term(&mut self, context: &'static str) -> Parsed<Option<Operand>> {
        let Some(Token { kind, span }) = self.tokens.get(self.position).cloned() else {
            return Ok(None);
        };
        let text = self.source(&span);
        let expression = match kind {
            TokenKind::Identifier => {
                self.next_token();
                let Some(function) = self.functions.get(text) else {
                    return Err(Fault {
                        reason: ParseReason::UnknownFunction(text.to_owned()),
                        span,
                    });
                };
                return Ok(Some(Operand::Function(function, span)));
            }
            TokenKind::Dot => Ok(Expression::Dot),
            TokenKind::Nil => Ok(Expression::Nil),
            TokenKind::Bool(truth) => Ok(Expression::Constant(Value::Bool(truth))),
            TokenKind::Field => Ok(Expression::Field(Path {
                fields: vec![self.field_name(&span)],
                span: span.clone(),
            })),
            TokenKind::Variable => Ok(Expression::Variable(self.slot(text, span.clone())?)),
            TokenKind::Number => literal::number(text).map(Expression::Constant),
            TokenKind::Char => literal::character(text).map(Expression::Constant),
            TokenKind::String => literal::unquote(text).map(constant_text),
            TokenKind::RawString => Ok(constant_text(literal::raw(text))),
            TokenKind::LeftParen => return self.parenthesis(span).map(Some),
            TokenKind::Error(_) | TokenKind::End => {
                let token = self.next_token();
                return Err(self.unexpected(token, context));
            }
            _ => return Ok(None),
        };
        self.next_token();
        match expression {
            Ok(expression) => Ok(Some(Operand::Expression(expression, span))),
            Err(reason) => Err(Fault { reason, span }),
        }
    }

    fn parenthesis(&mut self, open: Span) -> Parsed<Operand> {
        self.next_token();
        let pipeline = self
            .deeper(|parser| parser.pipeline("parenthesized pipeline", &TokenKind::RightParen))?;
        let span = open.start..self.end;
        let expression = Expression::Pipeline(Box::new(pipeline));
        Ok(Operand::Expression(expression, span))
    }

    /// The name of a field token, whose dot is part of it.
    fn field_name(&self, span: &Span) -> FieldName {
        FieldName::new(self.source(span).trim_start_matches('.'))
    }

    fn slot(&self, name: &str, span: Span) -> Parsed<usize> {
        self.scope.find(name).ok_or_else(|| Fault {
            reason: ParseReason::UndefinedVariable(name.to_owned()),
            span,
        })
    }
}

/// The operand as an argument: a bare function name is a call without arguments.
fn argument(operand: Operand) -> Parsed<Expression> {
    match operand {
        Operand::Expression(expression, _) => Ok(expression),
        Operand::Function(function, span) => {
            let call = call(function, Vec::new(), span, 0)?;
            Ok(Expression::Call(Box::new(call)))
        }
    }
}

/// A call with the given arguments and `piped` more.
fn call(function: Function, arguments: Vec<Expression>, span: Span, piped: usize) -> Parsed<Call> {
    let got = arguments.len() + piped;
    if !function.arity().accepts(got) {
        return Err(Fault {
            reason: ParseReason::WrongArguments {
                function: function.name(),
                want: function.arity().to_string(),
                got,
            },
            span,
        });
    }
    Ok(Call {
        function,
        arguments,
        span,
    })
}

fn constant_text(text: String) -> Expression {
    Expression::Constant(Value::String(Text::from(text)))
}

//! What can be wrong with a template, and where.
//! The parser makes [`ParseError`]s when a configuration is loaded, the executor makes [`ExecError`]s when a pod is
//! rendered.
//! Both print as a Go user expects, `template: NAME:LINE:COLUMN: …`, with lines and columns counted from 1.

use std::ops::Range;

use super::limits::{Limit, MAX_NESTING};
use crate::functions::FunctionError;

/// A position in the text of a template, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The name of the template.
    pub template: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The piece of the template that is meant, shortened when it is long.
    pub snippet: String,
}

/// A template that cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("template: {}:{}:{}: {reason}, at <{}>", place.template, place.line, place.column, place.snippet)]
pub struct ParseError {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub reason: ParseReason,
}

/// What is wrong with the text of a template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReason {
    /// A comment has no end.
    #[error("unclosed comment")]
    UnclosedComment,
    /// A comment is not alone in its action.
    #[error("comment ends before closing delimiter")]
    CommentNotAlone,
    /// An action has no end.
    #[error("unclosed action")]
    UnclosedAction,
    /// A parenthesis has no end.
    #[error("unclosed left paren")]
    UnclosedParenthesis,
    /// A parenthesis has no beginning.
    #[error("unexpected right paren")]
    UnexpectedRightParenthesis,
    /// A quoted literal has no end on its line.
    #[error("unterminated {0}")]
    Unterminated(&'static str),
    /// A character that cannot stand in an action.
    #[error("unrecognized character in action: {0:?}")]
    UnrecognizedCharacter(char),
    /// A character that cannot follow a name.
    #[error("bad character {0:?}")]
    BadCharacter(char),
    /// `:` without `=`.
    #[error("expected :=")]
    ExpectedDeclare,
    /// A number that is none.
    #[error("bad number syntax: {0:?}")]
    BadNumber(String),
    /// A string or character literal that is none.
    #[error("invalid syntax in {0}")]
    BadLiteral(&'static str),
    /// Something that cannot stand here.
    #[error("unexpected {found} in {context}")]
    Unexpected {
        /// What was found.
        found: String,
        /// The construct that it was found in.
        context: &'static str,
    },
    /// The text ends inside a control structure.
    #[error("{0} has no end")]
    NoEnd(&'static str),
    /// A function that is not registered.
    #[error("function {0:?} not defined")]
    UnknownFunction(String),
    /// A function with too few or too many arguments.
    #[error("wrong number of args for {function}: want {want} got {got}")]
    WrongArguments {
        /// The function.
        function: &'static str,
        /// How many it takes, in words.
        want: String,
        /// How many it was given.
        got: usize,
    },
    /// A variable that no enclosing scope declares.
    #[error("undefined variable {0:?}")]
    UndefinedVariable(String),
    /// Arguments for something that takes none.
    #[error("can't give argument to non-function {0}")]
    NotAFunction(String),
    /// `nil` alone.
    #[error("nil is not a command")]
    NilCommand,
    /// A field of `nil`, or of another literal.
    #[error("unexpected . after term {0:?}")]
    FieldOfLiteral(String),
    /// A pipeline without commands.
    #[error("missing value for {0}")]
    MissingValue(&'static str),
    /// A command without operands.
    #[error("empty command")]
    EmptyCommand,
    /// A literal after the first `|`.
    #[error("non executable command in pipeline stage {0}")]
    NotExecutable(usize),
    /// Too many variables before `:=`.
    #[error("too many declarations in {0}")]
    TooManyDeclarations(&'static str),
    /// `range $i, …` without a second variable.
    #[error("range can only initialize variables")]
    RangeVariables,
    /// `break` or `continue` outside a loop.
    #[error("{{{{{0}}}}} outside {{{{range}}}}")]
    OutsideRange(&'static str),
    /// A template that is defined twice.
    #[error("multiple definition of template {0:?}")]
    MultipleDefinition(String),
    /// A template that is called but not defined.
    #[error("template {0:?} not defined")]
    UndefinedTemplate(String),
    /// Parentheses or control structures are nested too deeply.
    #[error("expressions and control structures are nested more than {MAX_NESTING} deep")]
    TooDeep,
}

/// A template that cannot be executed with the given data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("template: {}:{}:{}: executing {definition:?} at <{}>: {reason}", place.template, place.line, place.column, place.snippet)]
pub struct ExecError {
    /// Where.
    pub place: Box<Place>,
    /// The definition that was being executed; the name of the template outside of any `define`.
    pub definition: String,
    /// What is wrong there.
    pub reason: ExecReason,
}

/// What is wrong with executing a template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecReason {
    /// A null was asked for a field.
    #[error("nil pointer evaluating interface {{}}.{0}")]
    FieldOfNil(String),
    /// A value was asked for a field that it does not have.
    #[error("can't evaluate field {field} in type {type_name}")]
    NoField {
        /// The field.
        field: String,
        /// The type of the value.
        type_name: &'static str,
    },
    /// A function refused its arguments.
    #[error("error calling {function}: {error}")]
    Call {
        /// The function.
        function: &'static str,
        /// Why it refused.
        error: FunctionError,
    },
    /// A value that cannot be looped over.
    #[error("range can't iterate over a value of type {0}")]
    Range(&'static str),
    /// A loop with two variables over a number.
    #[error("can't use {0} to iterate over more than one variable")]
    RangeNumber(i64),
    /// A limit was reached.
    #[error("{0}")]
    Limit(Limit),
}

impl From<Limit> for ExecReason {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

// === impl Place ===

impl Place {
    /// The position of `span` in `source`; a span outside of it counts as its end.
    pub(crate) fn new(template: &str, source: &str, span: Range<usize>) -> Self {
        let before = source.get(..span.start).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let in_line = before.get(line_start..).unwrap_or_default();
        Self {
            template: template.to_owned(),
            line: before.matches('\n').count() + 1,
            column: in_line.chars().count() + 1,
            snippet: shorten(source.get(span).unwrap_or_default()),
        }
    }
}

/// One line of at most [`SNIPPET_LENGTH`] characters.
fn shorten(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let mut letters = line.trim_end().chars();
    let mut snippet: String = letters.by_ref().take(SNIPPET_LENGTH).collect();
    if letters.next().is_some() || line.len() < text.trim().len() {
        snippet.push_str("...");
    }
    snippet
}

const SNIPPET_LENGTH: usize = 80;

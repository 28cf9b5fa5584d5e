//! A template as the executor wants it.
//! The parser builds these types once, when a configuration is loaded: variables are numbered, functions and called
//! templates are resolved, constants are values and field names are prepared.
//! A tree never changes and holds no data of any execution.

use std::ops::Range;

use super::names::FieldName;
use super::value::Value;
use crate::functions::Function;

/// A piece of the template's text, in bytes, for error messages.
pub(super) type Span = Range<usize>;

/// The body of the template, of a `define` or of a `block`.
#[derive(Clone, Debug, Default)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) body: Block,
    /// How many variables it has at most, `$` included.
    pub(super) slots: usize,
}

/// What runs one after another.
pub(super) type Block = Vec<Node>;

/// A text or an action.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(Box<str>),
    Action(Pipeline),
    /// `if … else if … else`.
    If {
        branches: Vec<(Pipeline, Block)>,
        otherwise: Block,
    },
    /// `with … else with … else`.
    With {
        branches: Vec<(Pipeline, Block)>,
        otherwise: Block,
    },
    Loop(Box<Loop>),
    Template {
        /// The index of the definition.
        definition: usize,
        data: Option<Pipeline>,
        span: Span,
    },
    Break,
    Continue,
}

/// A loop.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) over: Pipeline,
    pub(super) body: Block,
    pub(super) otherwise: Block,
}

/// Commands, each of which gives its value to the next.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    /// The variables that take the value.
    pub(super) variables: Vec<usize>,
    pub(super) first: Expression,
    /// The functions that the value goes through, as their last argument.
    pub(super) rest: Vec<Call>,
    pub(super) span: Span,
}

/// A function and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Expression>,
    pub(super) span: Span,
}

/// What has a value.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Dot,
    Nil,
    Constant(Value<'static>),
    Variable(usize),
    /// `.A.B`, of the dot.
    Field(Path),
    /// `$x.A.B`.
    VariableField(usize, Path),
    /// `(…).A.B`.
    Chain(Box<Self>, Path),
    Pipeline(Box<Pipeline>),
    Call(Box<Call>),
}

/// A chain of fields.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) fields: Vec<FieldName>,
    pub(super) span: Span,
}

//! An interpreter for the Go template language.
//! A configuration's templates are parsed once, with [`Template::parse`], and executed for each pod, with
//! [`Template::execute`].
//! Text goes in and text comes out: the language knows nothing of YAML or pods, and what data says is never read as
//! template text.
//!
//! ```text
//!  text ─► lexer ─► tokens ─► parser ─► tree ─┬─► exec ─► text
//!                               ▲             │     ▲
//!                          functions        data ───┘
//! ```
//!
//! # Differences to Go
//! Everything that Go's `text/template` executes gives the same text here, with these exceptions:
//! - Whole numbers that come from configuration values print without exponent: a port of 1000000 is `1000000`, where
//!   Go prints `1e+06`.
//! - What Go finds out when it executes an action is refused when the template is parsed, where that is possible: calls
//!   of undefined templates, wrong numbers of arguments, arguments for what is not a function.
//! - Structs have no type tables. A field that a struct does not have counts as the zero value of an unknown type
//!   ([`Value::Absent`]), and so do its fields, where Go would refuse the name or stumble over a nil pointer.
//! - Texts are UTF-8; cutting one in the middle of a character leaves the character out.
//! - There are no complex numbers, channels, functions as values or methods with arguments.
//! - Output, work, steps and depth are limited ([`limits`]).

pub(crate) mod analyse;
mod error;
mod exec;
mod lexer;
pub mod limits;
mod names;
pub(crate) mod number;
mod parser;
pub(crate) mod partial;
pub(crate) mod print;
mod tree;
mod value;

use std::sync::Arc;

pub use error::{ExecError, ExecReason, ParseError, ParseReason, Place};
pub use value::{List, Map, Record, Shape, Text, TooDeep, Value};

use crate::functions::{Body, Function, FunctionError, Functions};
use tree::Definition;

pub(crate) use names::{FieldName, declared_position};
pub(crate) use parser::literal;

/// A parsed template. Cheap to clone and to execute.
#[derive(Clone, Debug)]
pub struct Template {
    inner: Arc<Inner>,
}

/// What opens and closes an action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delimiters<'d> {
    left: &'d str,
    right: &'d str,
}

/// Looks on while a template is executed, or steps in.
pub(crate) trait Observer {
    /// Calls a function: `body` with `arguments`, or with others.
    ///
    /// # Errors
    /// When the function refuses its arguments.
    fn call<'a>(
        &self,
        function: &Function,
        body: Body,
        arguments: &[Value<'a>],
    ) -> Result<Value<'a>, FunctionError>;

    /// Hears of a value that is about to be printed.
    fn print(&self, value: &Value<'_>);
}

#[derive(Debug)]
struct Inner {
    name: String,
    source: String,
    /// The template itself, then what it defines.
    definitions: Vec<Definition>,
}

// === impl Template ===

impl Template {
    /// Parses `text`, which may call any of `functions`. `name` is what errors call the template.
    ///
    /// # Errors
    /// When the text is not a template, or names a function, variable or template that does not exist.
    pub fn parse(
        name: &str,
        text: &str,
        delimiters: Delimiters<'_>,
        functions: &Functions,
    ) -> Result<Self, ParseError> {
        let definitions = parser::parse(name, text, delimiters, functions)?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                source: text.to_owned(),
                definitions,
            }),
        })
    }

    /// Executes the template with `data` as the dot.
    ///
    /// # Errors
    /// When a function refuses its arguments, a value does not have what is asked of it, or a limit is reached. The
    /// error names the place in the template.
    pub fn execute(&self, data: &Value<'_>) -> Result<String, ExecError> {
        exec::execute(&self.inner, data, None)
    }

    /// As [`Self::execute`], while somebody looks on.
    pub(crate) fn execute_observed<'a>(
        &'a self,
        data: &Value<'a>,
        observer: Option<&'a dyn Observer>,
    ) -> Result<String, ExecError> {
        exec::execute(&self.inner, data, observer)
    }

    /// The name given when it was parsed.
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

// === impl Delimiters ===

impl<'d> Delimiters<'d> {
    /// `{{` and `}}`, Go's own.
    pub const CURLY: Self = Self {
        left: "{{",
        right: "}}",
    };

    /// `[[` and `]]`, of the first injection templates.
    pub const SQUARE: Self = Self {
        left: "[[",
        right: "]]",
    };

    /// Any other delimiters; an empty one stands for Go's own.
    pub fn new(left: &'d str, right: &'d str) -> Self {
        let or = |text: &'d str, default| if text.is_empty() { default } else { text };
        Self {
            left: or(left, Self::CURLY.left),
            right: or(right, Self::CURLY.right),
        }
    }
}

impl Default for Delimiters<'_> {
    fn default() -> Self {
        Self::CURLY
    }
}

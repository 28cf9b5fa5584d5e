//! The functions that a template may call.
//! The parser looks names up in [`Functions`] and checks the number of arguments; the executor calls what it found.
//! A function is pure: it sees its arguments and nothing else, so that the same pod and configuration always give the
//! same result. Functions that would read the environment, the clock or randomness are left out, except `env`, which
//! knows the control plane's environment as far as the configuration says it.
//!
//! Three families share one table, and where two have the same name the later one wins, as in Istio:
//! Go's own, the helpers that authors know from sprig, and Istio's.
//!
//! # Differences to sprig
//! - Values never change. `set`, `unset` and `merge` give a new map; when their first argument is a variable, the variable
//!   takes it, so that `{{ $_ := set $map "key" "value" }}` works as usual, but a map inside of a map does not change.
//! - `keys` and `values` are in the order of the keys.
//! - Parameters of type `int` take any whole number, where Go refuses those of a configuration (`float64`).
//! - `b64dec` refuses what is not base64, instead of giving the text of an error.

mod arguments;
mod compare;
mod go;
mod istio;
mod json;
mod printf;
mod sprig;

use std::collections::HashMap;
use std::fmt;

use crate::gotemplate::limits::Limit;
use crate::gotemplate::{TooDeep, Value};

/// A named function.
#[derive(Clone, Copy)]
pub struct Function {
    name: &'static str,
    arity: Arity,
    evaluation: Evaluation,
}

/// What a function does with its arguments.
pub type Body = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, FunctionError>;

/// What the data of the template has to add to a call with these arguments.
pub(crate) type Source = for<'a> fn(data: &Value<'a>, arguments: &[Value<'a>]) -> Option<Value<'a>>;

/// How many arguments a function takes; no maximum means any number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arity {
    min: usize,
    max: Option<usize>,
}

/// How a call is evaluated.
#[derive(Clone, Copy)]
pub(crate) enum Evaluation {
    /// All arguments are evaluated and given to the body.
    All(Body),
    /// As `All`, and a variable that is the first argument takes the result.
    Update(Body),
    /// As `All`, with one argument more where the data of the template has something to add.
    Informed(Body, Source),
    /// `and` and `or`: arguments are evaluated until one has this truth.
    Until(bool),
}

/// The functions that a template may call, by name.
#[derive(Clone, Debug)]
pub struct Functions {
    by_name: HashMap<&'static str, Function>,
}

/// Why a function refused its arguments.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// Nothing where a value is needed.
    #[error("invalid value; expected {expected}")]
    Nil {
        /// The type that is needed.
        expected: &'static str,
    },
    /// A value of another type than is needed.
    #[error("wrong type for value; expected {expected}; got {got}")]
    Type {
        /// The type that is needed.
        expected: &'static str,
        /// The type of the value.
        got: &'static str,
    },
    /// Two values of types that cannot be compared with each other.
    #[error("incompatible types for comparison: {0} and {1}")]
    Incompatible(&'static str, &'static str),
    /// A value of a type that cannot be compared.
    #[error("non-comparable type {0}")]
    NotComparable(&'static str),
    /// A value of a type that has no order.
    #[error("invalid type for comparison")]
    NotOrdered,
    /// `len`, `index` or `slice` of nothing.
    #[error("{0} of untyped nil")]
    OfNil(&'static str),
    /// `len`, `index` or `slice` of a value that has no elements.
    #[error("can't {0} item of type {1}")]
    NoElements(&'static str, &'static str),
    /// A position outside of a text or a list.
    #[error("index out of range: {0}")]
    OutOfRange(i64),
    /// A slice whose end is before its start.
    #[error("invalid slice index: {0} > {1}")]
    SliceOrder(i64, i64),
    /// `slice` with more positions than the value has.
    #[error("too many slice indexes: {0}")]
    TooManyIndices(usize),
    /// `call` of anything: there are no functions as values.
    #[error("non-function of type {0}")]
    NotAFunction(&'static str),
    /// `div` or `mod` by zero.
    #[error("integer divide by zero")]
    DivisionByZero,
    /// `b64dec` of something else.
    #[error("illegal base64 data")]
    Base64,
    /// `fail`: the template refuses the data.
    #[error("{0}")]
    Failed(String),
    /// `render` of a text with actions: what data says is never read as a template.
    #[error("the text has actions, which are not executed; write them into the template")]
    Actions,
    /// A limit was reached.
    #[error("{0}")]
    Limit(Limit),
    /// Collections would be nested too deeply.
    #[error("{0}")]
    TooDeep(TooDeep),
}

// === impl Function ===

impl Function {
    /// A function of its own, to be added to [`Functions`].
    pub const fn new(name: &'static str, arity: Arity, body: Body) -> Self {
        Self {
            name,
            arity,
            evaluation: Evaluation::All(body),
        }
    }

    /// The name that templates call it by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many arguments it takes.
    pub fn arity(&self) -> Arity {
        self.arity
    }

    pub(crate) fn evaluation(&self) -> Evaluation {
        self.evaluation
    }

    const fn updating(name: &'static str, arity: Arity, body: Body) -> Self {
        Self {
            name,
            arity,
            evaluation: Evaluation::Update(body),
        }
    }

    const fn informed(name: &'static str, arity: Arity, body: Body, source: Source) -> Self {
        Self {
            name,
            arity,
            evaluation: Evaluation::Informed(body, source),
        }
    }

    const fn until(name: &'static str, truth: bool) -> Self {
        Self {
            name,
            arity: Arity::at_least(1),
            evaluation: Evaluation::Until(truth),
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.arity)
    }
}

// === impl Arity ===

impl Arity {
    /// Exactly `count` arguments.
    pub const fn exactly(count: usize) -> Self {
        Self {
            min: count,
            max: Some(count),
        }
    }

    /// `count` arguments or more.
    pub const fn at_least(count: usize) -> Self {
        Self {
            min: count,
            max: None,
        }
    }

    /// Whether `count` arguments are right.
    pub fn accepts(self, count: usize) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }
}

impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            Some(max) if max == self.min => write!(f, "{max}"),
            Some(max) => write!(f, "{} to {max}", self.min),
            None => write!(f, "at least {}", self.min),
        }
    }
}

// === impl Functions ===

impl Functions {
    /// Go's own functions only.
    pub fn go() -> Self {
        Self {
            by_name: HashMap::new(),
        }
        .with(go::FUNCTIONS)
    }

    /// All functions that injection templates may call.
    pub fn injection() -> Self {
        Self::go().with(sprig::FUNCTIONS).with(istio::FUNCTIONS)
    }

    /// All functions that injection templates of the first format may call.
    pub fn first_injection() -> Self {
        Self::injection().with(istio::FIRST_FUNCTIONS)
    }

    /// Adds functions; one that has the name of a known one takes its place.
    #[must_use]
    pub fn with(mut self, functions: &[Function]) -> Self {
        for function in functions {
            self.by_name.insert(function.name, *function);
        }
        self
    }

    /// The function called `name`.
    pub fn get(&self, name: &str) -> Option<Function> {
        self.by_name.get(name).copied()
    }

    /// The names of all functions, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.by_name.keys().copied()
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self::injection()
    }
}

// === impl FunctionError ===

impl FunctionError {
    /// Whether other arguments of the same types would be refused as well.
    pub(crate) fn is_of_types(&self) -> bool {
        matches!(
            self,
            Self::Nil { .. }
                | Self::Type { .. }
                | Self::Incompatible(..)
                | Self::NotComparable(_)
                | Self::NotOrdered
                | Self::OfNil(_)
                | Self::NoElements(..)
                | Self::NotAFunction(_)
                | Self::TooManyIndices(_)
        )
    }
}

impl From<Limit> for FunctionError {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

impl From<TooDeep> for FunctionError {
    fn from(too_deep: TooDeep) -> Self {
        Self::TooDeep(too_deep)
    }
}

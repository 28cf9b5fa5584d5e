//! Calls of functions, with what is known in place of values.
//!
//! A function is called with the very values where all are known; else it is tried with samples of what its arguments may be, and only if it
//! refuses all of them by their types is the call wrong.

use super::{
    Analyser, Known, MAX_WORK,
    known::{Origin, join},
};
use crate::{
    functions::{Evaluation, FunctionError},
    gotemplate::{
        ExecReason, Value,
        tree::{Call, Expression, Span},
    },
    schema::Kind,
};

/// Functions that give a boolean.
const GIVE_BOOLEANS: &[&str] = &[
    "contains",
    "empty",
    "eq",
    "ge",
    "gt",
    "has",
    "hasKey",
    "hasPrefix",
    "hasSuffix",
    "isset",
    "kindIs",
    "le",
    "lt",
    "ne",
    "not",
];

/// Functions that give a text.
const GIVE_TEXTS: &[&str] = &[
    "annotation",
    "appendMultusNetwork",
    "applicationPorts",
    "b64dec",
    "b64enc",
    "cat",
    "directory",
    "env",
    "excludeInboundPort",
    "formatDuration",
    "html",
    "includeInboundPorts",
    "indent",
    "join",
    "js",
    "lower",
    "nindent",
    "nospace",
    "otelResourceAttributes",
    "print",
    "printf",
    "println",
    "protoToJSON",
    "quote",
    "repeat",
    "replace",
    "squote",
    "structToJSON",
    "substr",
    "title",
    "toJSON",
    "toJson",
    "toLower",
    "toString",
    "toYaml",
    "trim",
    "trimAll",
    "trimPrefix",
    "trimSuffix",
    "trunc",
    "upper",
    "urlquery",
];

/// Functions that print what they are given, nothing included.
const PRINT: &[&str] = &["print", "printf", "println"];

/// Functions by which a template refuses on purpose.
const REFUSE: &[&str] = &["fail", "required"];

/// Functions that take elements out of what they are given, so that samples say nothing.
const TAKE_APART: &[&str] = &[
    "call", "first", "get", "index", "initial", "last", "rest", "slice",
];

/// Combinations of samples that are tried.
const MAX_TRIALS: usize = 400;

impl<'a> Analyser<'a> {
    pub(super) fn call(
        &mut self,
        call: &'a Call,
        dot: &Known<'a>,
        piped: Option<Known<'a>>,
    ) -> Known<'a> {
        let body = match call.function.evaluation() {
            Evaluation::All(body) | Evaluation::Update(body) | Evaluation::Informed(body, _) => {
                body
            }
            Evaluation::Until(truth) => return self.first(truth, call, dot, piped),
        };
        let arguments = call.arguments.iter();
        let mut arguments: Vec<_> = arguments
            .map(|argument| self.expression(argument, dot))
            .collect();
        arguments.extend(piped);
        let name = call.function.name();
        let index = if name == "index" {
            self.index(&arguments, &call.span)
        } else {
            None
        };
        if let Some(found) = index {
            return found;
        }
        for argument in &arguments {
            self.used(argument);
        }
        if PRINT.contains(&name) {
            for argument in &arguments {
                self.missing(argument, &call.span);
            }
        }
        if matches!(call.function.evaluation(), Evaluation::Informed(..)) {
            // What the data adds to it is not known here.
            return Known::Unknown;
        }
        let result = self.try_call(call, body, &arguments);
        if let (Evaluation::Update(_), Some(Expression::Variable(variable))) =
            (call.function.evaluation(), call.arguments.first())
        {
            self.set(*variable, result.clone());
        }
        result
    }

    /// Calls the function with what is known.
    fn try_call(
        &mut self,
        call: &'a Call,
        body: crate::functions::Body,
        arguments: &[Known<'a>],
    ) -> Known<'a> {
        let name = call.function.name();
        let exact: Option<Vec<_>> = arguments
            .iter()
            .map(|argument| match argument {
                Known::Value(value, _) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let failure = match exact {
            Some(_) if self.work > MAX_WORK => None,
            Some(values) => match body(&values) {
                Ok(value) => {
                    self.work += value.weight();
                    return Known::computed(value);
                }
                Err(error) => Some(error),
            },
            None if TAKE_APART.contains(&name) => None,
            None => refusal(body, arguments),
        };
        if let Some(error) = failure.filter(|_| !REFUSE.contains(&name)) {
            let function = name;
            self.fails(ExecReason::Call { function, error }, &call.span);
            return Known::Unknown;
        }
        if GIVE_BOOLEANS.contains(&name) {
            Known::Kind(Kind::Boolean)
        } else if GIVE_TEXTS.contains(&name) {
            Known::Kind(Kind::Text)
        } else if name == "len" {
            Known::Kind(Kind::Integer)
        } else if name == "default" {
            arguments
                .iter()
                .cloned()
                .reduce(|a, b| join(a, &b))
                .unwrap_or(Known::Unknown)
        } else {
            Known::Unknown
        }
    }

    /// `index` of values, keeping where they are from; or of kinds. `None` leaves it to the function.
    fn index(&mut self, arguments: &[Known<'a>], span: &Span) -> Option<Known<'a>> {
        let (first, keys) = arguments.split_first()?;
        let mut value = first.clone();
        for key in keys {
            value = match (&value, key) {
                (Known::Value(Value::Map(map), Origin::Values(path)), key) => {
                    let key = key.text()?;
                    let found = map.get(key).unwrap_or_else(|| map.default_element());
                    let path = path.iter().cloned().chain([key.to_owned()]);
                    Known::Value(found, Origin::Values(path.collect()))
                }
                (Known::Kind(Kind::List(item) | Kind::Map(item)), _) => Known::of_kind(item),
                (Known::Unknown, _) => Known::Unknown,
                (Known::Kind(kind), _) => {
                    let got = match kind {
                        Kind::Boolean => "bool",
                        Kind::Integer => "int",
                        Kind::Float => "float64",
                        Kind::Struct(name) => name,
                        _ => return Some(Known::Unknown),
                    };
                    let error = FunctionError::NoElements("index", got);
                    let function = "index";
                    self.fails(ExecReason::Call { function, error }, span);
                    return Some(Known::Unknown);
                }
                _ => return None,
            };
        }
        if let Some(Origin::Values(path)) = value.origin() {
            self.analysis.reads.insert(path.to_vec());
        }
        Some(value)
    }

    /// `and` and `or`.
    fn first(
        &mut self,
        until: bool,
        call: &'a Call,
        dot: &Known<'a>,
        piped: Option<Known<'a>>,
    ) -> Known<'a> {
        let mut possible: Vec<Known<'a>> = Vec::new();
        let (mut dead, mut doubtful) = (0, 0);
        let mut arguments: Vec<_> = call.arguments.iter().map(Some).collect();
        arguments.extend(piped.is_some().then_some(None));
        let count = arguments.len();
        let mut piped = piped;
        for (position, argument) in arguments.into_iter().enumerate() {
            let value = match argument {
                Some(argument) => self.expression(argument, dot),
                None => piped.take().unwrap_or(Known::Unknown),
            };
            self.decides(&value, &call.span);
            let truth = value.truth();
            if dead == 0 && (truth != Some(!until) || position + 1 == count) {
                possible.push(value);
            }
            // What comes behind is not evaluated.
            if truth == Some(until) {
                dead += 1;
                self.quiet += 1;
            } else if truth.is_none() {
                doubtful += 1;
                self.conditional += 1;
            }
        }
        self.quiet -= dead;
        self.conditional -= doubtful;
        possible
            .into_iter()
            .reduce(|a, b| join(a, &b))
            .unwrap_or(Known::Unknown)
    }
}

/// Why the function refuses whatever the arguments may be, by their types.
fn refusal(body: crate::functions::Body, arguments: &[Known<'_>]) -> Option<FunctionError> {
    let samples: Vec<_> = arguments.iter().map(Known::samples).collect();
    let count = samples
        .iter()
        .try_fold(1_usize, |count, samples| count.checked_mul(samples.len()))?;
    if count > MAX_TRIALS {
        return None;
    }
    let mut first = None;
    for mut trial in 0..count {
        let values: Vec<_> = samples
            .iter()
            .filter_map(|samples| {
                let value = samples.get(trial % samples.len()).cloned();
                trial /= samples.len();
                value
            })
            .collect();
        match body(&values) {
            Err(error) if error.is_of_types() => first = first.or(Some(error)),
            _ => return None,
        }
    }
    first
}

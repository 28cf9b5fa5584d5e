//! Evaluates pipelines.
//! The executor comes here for each action and condition; functions get their arguments as a slice of one stack.
//! A function never sees the executor, so that what a function does depends on its arguments only.

use super::{Executed, Executor, borrowed, fault};
use crate::functions::Evaluation;
use crate::gotemplate::error::ExecReason;
use crate::gotemplate::limits::{Limit, MAX_WORK};
use crate::gotemplate::names::FieldName;
use crate::gotemplate::tree::{Call, Expression, Path, Pipeline, Span};
use crate::gotemplate::value::{NoField, Value};

impl<'a> Executor<'a> {
    pub(super) fn pipeline(
        &mut self,
        pipeline: &'a Pipeline,
        dot: &Value<'a>,
    ) -> Executed<Value<'a>> {
        let mut value = settled(self.expression(&pipeline.first, dot)?);
        for call in &pipeline.rest {
            value = settled(self.call(call, dot, Some(value))?);
        }
        for variable in &pipeline.variables {
            self.set(*variable, value.clone());
        }
        Ok(value)
    }

    fn expression(&mut self, expression: &'a Expression, dot: &Value<'a>) -> Executed<Value<'a>> {
        match expression {
            Expression::Dot => Ok(dot.clone()),
            Expression::Nil => Ok(Value::Nil),
            Expression::Constant(value) => Ok(borrowed(value)),
            Expression::Variable(variable) => Ok(self.get(*variable)),
            Expression::Field(path) => fields(dot, path),
            Expression::VariableField(variable, path) => fields(&self.get(*variable), path),
            Expression::Chain(inner, path) => {
                let value = self.expression(inner, dot)?;
                fields(&value, path)
            }
            Expression::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Expression::Call(call) => self.call(call, dot, None),
        }
    }

    fn call(
        &mut self,
        call: &'a Call,
        dot: &Value<'a>,
        piped: Option<Value<'a>>,
    ) -> Executed<Value<'a>> {
        let (body, updates, source) = match call.function.evaluation() {
            Evaluation::All(body) => (body, false, None),
            Evaluation::Update(body) => (body, true, None),
            Evaluation::Informed(body, source) => (body, false, Some(source)),
            Evaluation::Until(truth) => return self.first(truth, call, dot, piped),
        };
        let start = self.arguments.len();
        for argument in &call.arguments {
            let value = self.expression(argument, dot)?;
            self.arguments.push(value);
        }
        self.arguments.extend(piped);
        if let (Some(source), Some(data)) = (source, self.variables.first()) {
            let added = source(data, self.arguments.get(start..).unwrap_or_default());
            self.arguments.extend(added);
        }
        let arguments = self.arguments.get(start..).unwrap_or_default();
        // Reading costs less than making.
        let read: usize = arguments.iter().map(|value| value.weight() / 4).sum();
        let result = match self.observer {
            Some(observer) => observer.call(&call.function, body, arguments),
            None => body(arguments),
        };
        self.arguments.truncate(start);
        match result {
            Ok(value) => {
                self.work(read.saturating_add(value.weight()), &call.span)?;
                if let (true, Some(Expression::Variable(variable))) =
                    (updates, call.arguments.first())
                {
                    self.set(*variable, value.clone());
                }
                Ok(value)
            }
            Err(error) => {
                let function = call.function.name();
                let reason = ExecReason::Call { function, error };
                Err(fault(reason, &call.span))
            }
        }
    }

    /// `and` and `or`: the first operand whose truth is `truth`, else the last one. Those after it are not evaluated.
    fn first(
        &mut self,
        truth: bool,
        call: &'a Call,
        dot: &Value<'a>,
        piped: Option<Value<'a>>,
    ) -> Executed<Value<'a>> {
        let mut last = Value::Missing;
        for argument in &call.arguments {
            last = self.expression(argument, dot)?;
            if last.truth() == truth {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    /// Counts bytes computed.
    pub(super) fn work(&mut self, bytes: usize, span: &Span) -> Executed<()> {
        self.work = self.work.saturating_add(bytes);
        if self.work > MAX_WORK {
            return Err(fault(Limit::Work.into(), span));
        }
        Ok(())
    }
}

/// The value of a pipeline: a null becomes a missing value there, so that its fields may be asked for.
fn settled(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Nil => Value::Missing,
        other => other,
    }
}

/// The value at the end of a chain of fields.
fn fields<'a>(receiver: &Value<'a>, path: &Path) -> Executed<Value<'a>> {
    let mut names = path.fields.iter();
    let Some(name) = names.next() else {
        return Ok(receiver.clone());
    };
    let field = |value: &Value<'a>, name: &FieldName| {
        value.field(name).map_err(|problem| {
            let field = name.go().to_owned();
            let reason = match problem {
                NoField::OfNil => ExecReason::FieldOfNil(field),
                NoField::OfType(type_name) => ExecReason::NoField { field, type_name },
            };
            fault(reason, &path.span)
        })
    };
    let mut value = field(receiver, name)?;
    for name in names {
        value = field(&value, name)?;
    }
    Ok(value)
}

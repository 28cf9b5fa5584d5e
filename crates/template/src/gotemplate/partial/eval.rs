//! Pipelines, fields, calls and conditions of a partial execution.
//! A function of known arguments is called; of others it is an expression, or the execution stops here.
//! A condition on the pod is a question, answered by the assumptions or asked.

use super::{Executed, Executor, Part, Stop, Symbol};
use crate::functions::Evaluation;
use crate::gotemplate::tree::{Call, Expression, Path, Pipeline, Span};
use crate::gotemplate::value::Value;
use crate::policy::cel::{Expr, Operator};
use crate::policy::facts;

// === impl Executor ===

impl<'a> Executor<'a> {
    pub(super) fn pipeline(
        &mut self,
        pipeline: &'a Pipeline,
        dot: &Symbol<'a>,
    ) -> Executed<Symbol<'a>> {
        let mut value = settled(self.expression(&pipeline.first, dot)?);
        for call in &pipeline.rest {
            value = settled(self.call(call, dot, Some(value))?);
        }
        for variable in &pipeline.variables {
            self.set(*variable, value.clone());
        }
        Ok(value)
    }

    fn expression(&mut self, expression: &'a Expression, dot: &Symbol<'a>) -> Executed<Symbol<'a>> {
        match expression {
            Expression::Dot => Ok(dot.clone()),
            Expression::Nil => Ok(Symbol::Known(Value::Nil)),
            Expression::Constant(value) => Ok(Symbol::Known(value.clone())),
            Expression::Variable(variable) => Ok(self.get(*variable)),
            Expression::Field(path) => self.fields(dot.clone(), path),
            Expression::VariableField(variable, path) => self.fields(self.get(*variable), path),
            Expression::Chain(inner, path) => {
                let value = self.expression(inner, dot)?;
                self.fields(value, path)
            }
            Expression::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Expression::Call(call) => self.call(call, dot, None),
        }
    }

    fn fields(&self, mut value: Symbol<'a>, path: &Path) -> Executed<Symbol<'a>> {
        for name in &path.fields {
            let next = match &value {
                Symbol::Known(known) => known.field(name).ok().map(Symbol::Known),
                Symbol::Part(Part::Data) => self.of_data(name.go()),
                Symbol::Part(part) => part.field(name.go()),
                // The text of an enumeration is the text itself.
                Symbol::Text(_) if name.is_identity() => Some(value.clone()),
                _ => None,
            };
            value = next.ok_or_else(|| {
                let what = format!("asks for {} of the pod", name.go());
                self.beyond(&path.span, what, &[&value])
            })?;
        }
        Ok(value)
    }

    fn of_data(&self, name: &str) -> Option<Symbol<'a>> {
        let part = match name {
            "TypeMeta" => Part::TypeMeta,
            "DeploymentMeta" => Part::DeploymentMeta,
            "ObjectMeta" => Part::ObjectMeta,
            "Spec" => Part::Spec,
            _ => {
                let Value::Record(record) = self.data else {
                    return None;
                };
                return record.get(name).cloned().map(Symbol::Known);
            }
        };
        Some(Symbol::Part(part))
    }

    fn call(
        &mut self,
        call: &'a Call,
        dot: &Symbol<'a>,
        piped: Option<Symbol<'a>>,
    ) -> Executed<Symbol<'a>> {
        let (body, updates, source) = match call.function.evaluation() {
            Evaluation::All(body) => (body, false, None),
            Evaluation::Update(body) => (body, true, None),
            Evaluation::Informed(body, source) => (body, false, Some(source)),
            Evaluation::Until(truth) => {
                let mut last = Symbol::Known(Value::Missing);
                for argument in &call.arguments {
                    last = self.expression(argument, dot)?;
                    if self.truth(&last, &call.span)? == truth {
                        return Ok(last);
                    }
                }
                return Ok(piped.unwrap_or(last));
            }
        };
        let mut arguments = Vec::with_capacity(call.arguments.len() + 1);
        for argument in &call.arguments {
            arguments.push(self.expression(argument, dot)?);
        }
        arguments.extend(piped);
        let known: Option<Vec<Value<'a>>> = arguments
            .iter()
            .map(|argument| match argument {
                Symbol::Known(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let value = match known {
            Some(mut known) => {
                let added = source.and_then(|source| source(self.data, &known));
                known.extend(added);
                let result = body(&known);
                Symbol::Known(result.map_err(|error| {
                    self.beyond(&call.span, format!("fails for every pod: {error}"), &[])
                })?)
            }
            None => self.function(call.function.name(), &arguments, &call.span)?,
        };
        if let (true, Some(Expression::Variable(variable))) = (updates, call.arguments.first()) {
            self.set(*variable, value.clone());
        }
        Ok(value)
    }

    /// Go's truth of a value; a question where it depends on the pod.
    pub(super) fn truth(&self, value: &Symbol<'a>, span: &Span) -> Executed<bool> {
        match value {
            Symbol::Known(value) => Ok(value.truth()),
            Symbol::Text(text) => self.answer(text.clone().differs(Expr::text("")), span),
            Symbol::Truth(truth) => self.answer(truth.clone(), span),
            Symbol::Texts(listing) => listing
                .is_never_empty()
                .ok_or_else(|| self.beyond(span, "depends on how many there are", &[value])),
            // Every valid pod has containers and a grace period, and structs are true.
            Symbol::Part(
                Part::Data
                | Part::TypeMeta
                | Part::DeploymentMeta
                | Part::ObjectMeta
                | Part::Spec
                | Part::GracePeriod
                | Part::Containers
                | Part::Container
                | Part::Port,
            )
            | Symbol::Quoted(_) => Ok(true),
            Symbol::Part(_) | Symbol::Unsayable(_) => {
                Err(self.beyond(span, "depends on a part of the pod as a whole", &[value]))
            }
        }
    }

    pub(super) fn answer(&self, question: Expr, span: &Span) -> Executed<bool> {
        let (question, is_negated) = match question {
            Expr::Bool(truth) => return Ok(truth),
            Expr::Binary(Operator::Unequal, left, right) => (left.equals(*right), true),
            Expr::Not(inner) => (*inner, true),
            other => (other, false),
        };
        let mut answers = self.assumptions.answers.iter();
        if let Some((_, answer)) = answers.find(|(known, _)| *known == question) {
            return Ok(*answer != is_negated);
        }
        if self.is_about_item(&question) {
            let what = "depends on each container by itself";
            return Err(self.beyond(span, what, &[&Symbol::Truth(question)]));
        }
        Err(Stop::Question(question))
    }

    /// Whether an expression only means something within a loop over containers.
    pub(super) fn is_about_item(&self, expr: &Expr) -> bool {
        let mut free = false;
        for name in [facts::CONTAINER, facts::PORT] {
            free |= expr.mentions(name) && !binds(expr, name);
        }
        free
    }
}

/// Whether a comprehension within `expr` introduces the variable.
fn binds(expr: &Expr, name: &str) -> bool {
    let mut found = false;
    expr.visit(&mut |part| {
        if let Expr::Call(Some(_), "map" | "filter" | "exists" | "all", arguments) = part {
            found |= matches!(arguments.first(), Some(Expr::Name(bound)) if *bound == name);
        }
    });
    found
}

/// The value of a pipeline: a null becomes a missing value there.
fn settled(value: Symbol<'_>) -> Symbol<'_> {
    match value {
        Symbol::Known(Value::Nil) => Symbol::Known(Value::Missing),
        other => other,
    }
}

//! Executes a template for a pod that is not there yet.
//! Called by `policy`: configuration and options are known, what depends on the pod is an expression of CEL. The result is the template's text with
//! a mark for each expression in it.
//! Where the text depends on the pod in another way, the execution stops with the question, to be run again with each answer; what cannot be said as
//! an expression stops it with the place in the template.

mod functions;
mod listing;

use std::collections::BTreeSet;

use super::error::Place;
use super::limits::{Buffer, MAX_DEPTH, MAX_STEPS};
use super::print;
use super::tree::{Block, Call, Expression, Loop, Node, Path, Pipeline, Span};
use super::value::Value;
use super::{Inner, Template};
use crate::functions::Evaluation;
use crate::policy::cel::{Expr, Operator};
use crate::policy::facts;
use listing::Listing;

/// What is taken as given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assumptions {
    /// Answers to earlier questions.
    pub(crate) answers: Vec<(Expr, bool)>,
    /// Annotations that the pod does not have.
    pub(crate) absent: BTreeSet<String>,
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It depends on this, which is a boolean.
    Question(Expr),
    /// It cannot be said.
    Beyond(Box<Beyond>),
}

/// What cannot be said as an expression.
#[derive(Clone, Debug)]
pub(crate) struct Beyond {
    /// Where in the template.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) what: String,
    /// The annotations that it depends on: without them there would be no difficulty.
    pub(crate) annotations: BTreeSet<String>,
}

/// The text of a template with marks in it.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) text: String,
    /// What all marks stand for, in order.
    pub(crate) marks: Vec<Expr>,
}

/// What opens and closes a mark, for private use by the text's author, who is not the template's.
pub(crate) const MARK: [char; 2] = ['\u{E000}', '\u{E001}'];

/// A value, known or not.
#[derive(Clone, Debug)]
enum Symbol<'a> {
    Known(Value<'a>),
    /// A text.
    Text(Expr),
    /// A text between quotes.
    Quoted(Expr),
    Truth(Expr),
    Texts(Listing),
    /// A part of the pod or of its owner.
    Part(Part),
    /// Something that no expression says; using it is an error.
    Unsayable(BTreeSet<String>),
}

/// A part of the pod that templates see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of the data.
    Data,
    TypeMeta,
    DeploymentMeta,
    ObjectMeta,
    Labels,
    Annotations,
    Spec,
    Containers,
    Container,
    /// The ports of the container at hand.
    Ports,
    Port,
}

type Executed<T> = Result<T, Stop>;

/// How a block was left.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Executor<'a> {
    inner: &'a Inner,
    /// The known part of the data.
    data: &'a Value<'a>,
    assumptions: &'a Assumptions,
    output: Buffer,
    marks: Vec<Expr>,
    variables: Vec<Symbol<'a>>,
    base: usize,
    steps: u32,
    depth: u32,
}

impl Template {
    /// Executes the template for any pod; `data` has what does not depend on the pod. Marks are counted on from those that there are.
    pub(crate) fn execute_partially(
        &self,
        data: &Value<'_>,
        assumptions: &Assumptions,
        marks: Vec<Expr>,
    ) -> Result<Marked, Stop> {
        let mut executor = Executor {
            inner: &self.inner,
            data,
            assumptions,
            output: Buffer::default(),
            marks,
            variables: Vec::new(),
            base: 0,
            steps: 0,
            depth: 0,
        };
        executor.definition(0, &Symbol::Part(Part::Data))?;
        Ok(Marked {
            text: executor.output.into_string(),
            marks: executor.marks,
        })
    }
}

// === impl Executor ===

impl<'a> Executor<'a> {
    fn definition(&mut self, index: usize, dot: &Symbol<'a>) -> Executed<()> {
        let inner = self.inner;
        let Some(definition) = inner.definitions.get(index) else {
            return Ok(());
        };
        let caller = (self.base, self.variables.len());
        self.base = self.variables.len();
        self.variables.push(dot.clone());
        let slots = self.base + definition.slots.max(1);
        self.variables.resize(slots, Symbol::Known(Value::Missing));
        self.block(&definition.body, dot)?;
        self.variables.truncate(caller.1);
        self.base = caller.0;
        Ok(())
    }

    fn block(&mut self, block: &'a Block, dot: &Symbol<'a>) -> Executed<Flow> {
        for node in block {
            let flow = match node {
                Node::Text(text) => {
                    self.write(text, &(0..0))?;
                    Flow::Next
                }
                Node::Action(pipeline) => {
                    self.action(pipeline, dot)?;
                    Flow::Next
                }
                Node::If {
                    branches,
                    otherwise,
                } => self.branches(branches, otherwise, dot, false)?,
                Node::With {
                    branches,
                    otherwise,
                } => self.branches(branches, otherwise, dot, true)?,
                Node::Loop(node) => self.looping(node, dot)?,
                Node::Template {
                    definition,
                    data,
                    span,
                } => {
                    self.call_template(*definition, data.as_ref(), span, dot)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn action(&mut self, pipeline: &'a Pipeline, dot: &Symbol<'a>) -> Executed<()> {
        let value = self.pipeline(pipeline, dot)?;
        if !pipeline.variables.is_empty() {
            return Ok(());
        }
        let span = &pipeline.span;
        match value {
            Symbol::Known(Value::Missing | Value::Nil) => self.write("<no value>", span),
            Symbol::Known(value) => {
                let printed = print::print(&mut self.output, &value);
                printed.map_err(|limit| self.beyond(span, limit.to_string(), &[]))
            }
            Symbol::Text(text) => self.mark(text, span),
            Symbol::Quoted(text) => {
                self.write("\"", span)?;
                self.mark(text, span)?;
                self.write("\"", span)
            }
            Symbol::Truth(truth) => {
                let truth = self.answer(truth, span)?;
                self.write(if truth { "true" } else { "false" }, span)
            }
            other => Err(self.beyond(span, "prints more of the pod than a text", &[&other])),
        }
    }

    /// Writes a mark that stands for an expression.
    fn mark(&mut self, text: Expr, span: &Span) -> Executed<()> {
        if self.is_about_item(&text) {
            return Err(self.beyond(
                span,
                "prints something for each container",
                &[&Symbol::Text(text)],
            ));
        }
        if let Expr::Text(text) = text {
            return self.write(&text, span);
        }
        let [open, close] = MARK;
        let mark = format!("{open}{}{close}", self.marks.len());
        self.marks.push(text);
        let pushed = self.output.push(&mark);
        pushed.map_err(|limit| self.beyond(span, limit.to_string(), &[]))
    }

    fn write(&mut self, text: &str, span: &Span) -> Executed<()> {
        if text.contains(MARK) {
            return Err(self.beyond(span, "has characters for private use", &[]));
        }
        let pushed = self.output.push(text);
        pushed.map_err(|limit| self.beyond(span, limit.to_string(), &[]))
    }

    fn branches(
        &mut self,
        branches: &'a [(Pipeline, Block)],
        otherwise: &'a Block,
        dot: &Symbol<'a>,
        sets_dot: bool,
    ) -> Executed<Flow> {
        for (condition, body) in branches {
            let value = self.pipeline(condition, dot)?;
            if self.truth(&value, &condition.span)? {
                return self.block(body, if sets_dot { &value } else { dot });
            }
        }
        self.block(otherwise, dot)
    }

    fn looping(&mut self, node: &'a Loop, dot: &Symbol<'a>) -> Executed<Flow> {
        let span = &node.over.span;
        let items: Vec<(Symbol<'a>, Symbol<'a>)> = match self.pipeline(&node.over, dot)? {
            Symbol::Part(part @ (Part::Containers | Part::Ports)) => {
                return self.for_each(node, part);
            }
            Symbol::Known(Value::List(list)) => (0_i64..)
                .zip(list.iter())
                .map(|(index, item)| (Symbol::Known(Value::Int(index)), Symbol::Known(item)))
                .collect(),
            Symbol::Known(Value::Map(map)) if !map.is_struct() => map
                .sorted()
                .into_iter()
                .map(|(key, item)| (Symbol::Known(Value::String(key)), Symbol::Known(item)))
                .collect(),
            Symbol::Known(Value::Missing | Value::Nil | Value::Absent) => Vec::new(),
            other => return Err(self.beyond(span, "loops over what is not known", &[&other])),
        };
        if items.is_empty() {
            return self.block(&node.otherwise, dot);
        }
        for (index, item) in items {
            self.step(span)?;
            self.bind(node, index, &item);
            if self.block(&node.body, &item)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Runs a loop over containers or ports once, for any of them: what it appends to lists is appended for each.
    fn for_each(&mut self, node: &'a Loop, over: Part) -> Executed<Flow> {
        let span = &node.over.span;
        self.step(span)?;
        let before = self.variables.clone();
        let written = self.output.as_str().len();
        let item = Symbol::Part(if over == Part::Containers {
            Part::Container
        } else {
            Part::Port
        });
        self.bind(node, Symbol::Unsayable(BTreeSet::new()), &item);
        let flow = self.block(&node.body, &item)?;
        let output = self.output.as_str().get(written..).unwrap_or_default();
        if flow != Flow::Next || !output.trim().is_empty() {
            return Err(self.beyond(span, "prints or stops in a loop over the pod's", &[]));
        }
        let (list, name) = over.items();
        for (old, new) in before.into_iter().zip(&mut self.variables) {
            let Symbol::Texts(listing) = &*new else {
                continue;
            };
            let Some(old) = Listing::of(&old) else {
                continue;
            };
            *new = match listing.after(&old) {
                Some(added) if added.is_empty() => continue,
                Some(added) => Symbol::Texts(old.with_each(list.clone(), name, added)),
                None => Symbol::Unsayable(BTreeSet::new()),
            };
        }
        Ok(Flow::Next)
    }

    fn bind(&mut self, node: &'a Loop, index: Symbol<'a>, item: &Symbol<'a>) {
        match *node.over.variables.as_slice() {
            [] => {}
            [variable] => self.set(variable, item.clone()),
            [first, second, ..] => {
                self.set(first, index);
                self.set(second, item.clone());
            }
        }
    }

    fn call_template(
        &mut self,
        definition: usize,
        data: Option<&'a Pipeline>,
        span: &'a Span,
        dot: &Symbol<'a>,
    ) -> Executed<()> {
        self.step(span)?;
        let data = match data {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Symbol::Known(Value::Missing),
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.beyond(span, "calls templates without an end", &[]));
        }
        self.definition(definition, &data)?;
        self.depth -= 1;
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Symbol<'a>) -> Executed<Symbol<'a>> {
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
    fn truth(&self, value: &Symbol<'a>, span: &Span) -> Executed<bool> {
        match value {
            Symbol::Known(value) => Ok(value.truth()),
            Symbol::Text(text) => self.answer(text.clone().differs(Expr::text("")), span),
            Symbol::Truth(truth) => self.answer(truth.clone(), span),
            Symbol::Texts(listing) => listing
                .is_never_empty()
                .ok_or_else(|| self.beyond(span, "depends on how many there are", &[value])),
            // Every valid pod has containers, and structs are true.
            Symbol::Part(
                Part::Data
                | Part::TypeMeta
                | Part::DeploymentMeta
                | Part::ObjectMeta
                | Part::Spec
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

    fn answer(&self, question: Expr, span: &Span) -> Executed<bool> {
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
    fn is_about_item(&self, expr: &Expr) -> bool {
        let mut free = false;
        for name in [facts::CONTAINER, facts::PORT] {
            free |= expr.mentions(name) && !binds(expr, name);
        }
        free
    }

    fn step(&mut self, span: &Span) -> Executed<()> {
        self.steps = self.steps.saturating_add(1);
        if self.steps > MAX_STEPS {
            return Err(self.beyond(span, "does not end", &[]));
        }
        Ok(())
    }

    fn set(&mut self, variable: usize, value: Symbol<'a>) {
        if let Some(slot) = self.variables.get_mut(self.base + variable) {
            *slot = value;
        }
    }

    fn get(&self, variable: usize) -> Symbol<'a> {
        let value = self.variables.get(self.base + variable);
        value.cloned().unwrap_or(Symbol::Known(Value::Missing))
    }

    fn beyond(&self, span: &Span, what: impl Into<String>, of: &[&Symbol<'a>]) -> Stop {
        let annotations = of.iter().flat_map(|symbol| symbol.annotations()).collect();
        Stop::Beyond(Box::new(Beyond {
            place: Place::new(&self.inner.name, &self.inner.source, span.clone()),
            what: what.into(),
            annotations,
        }))
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

// === impl Symbol ===

impl Symbol<'_> {
    /// The annotations that it depends on.
    fn annotations(&self) -> Vec<String> {
        match self {
            Self::Text(expr) | Self::Quoted(expr) | Self::Truth(expr) => {
                facts::annotation_keys(expr)
            }
            Self::Texts(listing) => listing
                .expressions()
                .flat_map(facts::annotation_keys)
                .collect(),
            Self::Unsayable(keys) => keys.iter().cloned().collect(),
            Self::Known(_) | Self::Part(_) => Vec::new(),
        }
    }
}

// === impl Part ===

impl Part {
    /// A field of the part that expressions can say.
    fn field<'a>(self, name: &str) -> Option<Symbol<'a>> {
        let container = || Expr::Name(facts::CONTAINER);
        let port = || Expr::Name(facts::PORT);
        let empty = || Expr::text("");
        Some(match (self, name) {
            (Self::TypeMeta, "APIVersion") => Symbol::Text(facts::owner("apiVersion")),
            (Self::TypeMeta, "Kind") => Symbol::Text(facts::owner("kind")),
            (Self::DeploymentMeta, "Name") => Symbol::Text(facts::owner("name")),
            (Self::DeploymentMeta | Self::ObjectMeta, "Namespace") => {
                Symbol::Text(facts::namespace())
            }
            (Self::ObjectMeta, "Name") => Symbol::Text(facts::metadata("name")),
            (Self::ObjectMeta, "GenerateName") => Symbol::Text(facts::metadata("generateName")),
            (Self::ObjectMeta, "Labels") => Symbol::Part(Self::Labels),
            (Self::ObjectMeta, "Annotations") => Symbol::Part(Self::Annotations),
            (Self::Spec, "ServiceAccountName") => {
                Symbol::Text(facts::spec_text("serviceAccountName"))
            }
            (Self::Spec, "DNSPolicy") => Symbol::Text(facts::spec_text("dnsPolicy")),
            (Self::Spec, "Containers") => Symbol::Part(Self::Containers),
            (Self::Container, "Name") => Symbol::Text(container().field("name")),
            (Self::Container, "Image") => Symbol::Text(container().field_or("image", empty())),
            (Self::Container, "Ports") => Symbol::Part(Self::Ports),
            (Self::Port, "Name") => Symbol::Text(port().field_or("name", empty())),
            (Self::Port, "Protocol") => Symbol::Text(port().field_or("protocol", empty())),
            _ => return None,
        })
    }

    /// The list of containers or ports, and the variable for one of them.
    fn items(self) -> (Expr, &'static str) {
        match self {
            Self::Ports => {
                let container = Expr::Name(facts::CONTAINER);
                let ports = container.field_or("ports", Expr::List(Vec::new()));
                (ports, facts::PORT)
            }
            _ => (facts::containers(), facts::CONTAINER),
        }
    }
}

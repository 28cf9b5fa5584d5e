//! Executes a template for a pod that is not there yet.
//! Called by `policy`: configuration and options are known, what depends on the pod is an expression of CEL. The result is the template's text with
//! a mark for each expression in it.
//! Where the text depends on the pod in another way, the execution stops with the question, to be run again with each answer; what cannot be said as
//! an expression stops it with the place in the template.

mod eval;
mod functions;
mod listing;
mod symbol;

use std::collections::BTreeSet;

use super::error::Place;
use super::limits::{Buffer, MAX_DEPTH, MAX_STEPS};
use super::print;
use super::tree::{Block, Loop, Node, Pipeline, Span};
use super::value::Value;
use super::{Inner, Template};
use crate::policy::cel::Expr;
use listing::Listing;
use symbol::{Part, Symbol};

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

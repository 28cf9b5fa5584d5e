//! Walks a tree and writes text.
//! [`execute`] is called for each pod; it evaluates pipelines with [`eval`] and prints their values.
//! Execution ends: loops and calls count steps, calls count depth, and functions count the work they make; recursion
//! between two calls is bounded by the parser.

mod eval;

use super::error::{ExecError, ExecReason, Place};
use super::limits::{Buffer, Limit, MAX_DEPTH, MAX_STEPS};
use super::print;
use super::tree::{Block, Loop, Node, Pipeline, Span};
use super::value::{Text, Value};
use super::{Inner, Observer};

struct Executor<'a> {
    inner: &'a Inner,
    observer: Option<&'a dyn Observer>,
    output: Buffer,
    /// The variables of all definitions that are being executed.
    variables: Vec<Value<'a>>,
    /// Where the variables of the current definition begin.
    base: usize,
    /// The arguments of all functions that are being called.
    arguments: Vec<Value<'a>>,
    /// The index of the current definition.
    definition: usize,
    steps: u32,
    depth: u32,
    work: usize,
}

/// What went wrong, and where. Boxed where it is returned, because it is rare and large.
#[derive(Debug)]
struct Fault {
    reason: ExecReason,
    span: Span,
}

type Executed<T> = Result<T, Box<Fault>>;

/// How a block was left.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

// === impl Executor ===

impl<'a> Executor<'a> {
    /// Executes a definition with `dot` as both `.` and `$`. On an error the current definition stays what it was, to
    /// be named in the message.
    fn definition(&mut self, index: usize, dot: &Value<'a>) -> Executed<()> {
        let inner = self.inner;
        let Some(definition) = inner.definitions.get(index) else {
            return Ok(());
        };
        let caller = (self.definition, self.base, self.variables.len());
        self.definition = index;
        self.base = self.variables.len();
        self.variables.push(dot.clone());
        self.variables
            .resize(self.base + definition.slots, Value::Missing);
        self.block(&definition.body, dot)?;
        self.variables.truncate(caller.2);
        (self.definition, self.base) = (caller.0, caller.1);
        Ok(())
    }

    fn block(&mut self, block: &'a Block, dot: &Value<'a>) -> Executed<Flow> {
        self.depth += 1;
        for node in block {
            self.steps = self.steps.saturating_add(1);
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
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    /// Evaluates an action and prints its value, unless variables took it.
    fn action(&mut self, pipeline: &'a Pipeline, dot: &Value<'a>) -> Executed<()> {
        let value = self.pipeline(pipeline, dot)?;
        if !pipeline.variables.is_empty() {
            return Ok(());
        }
        if let Some(observer) = self.observer {
            observer.print(&value);
        }
        let printed = match &value {
            Value::String(text) => self.output.push(text),
            Value::Missing | Value::Nil => self.output.push("<no value>"),
            value => print::print(&mut self.output, value),
        };
        printed.map_err(|limit| fault(limit.into(), &pipeline.span))
    }

    fn branches(
        &mut self,
        branches: &'a [(Pipeline, Block)],
        otherwise: &'a Block,
        dot: &Value<'a>,
        sets_dot: bool,
    ) -> Executed<Flow> {
        for (condition, body) in branches {
            let value = self.pipeline(condition, dot)?;
            if value.truth() {
                return self.block(body, if sets_dot { &value } else { dot });
            }
        }
        self.block(otherwise, dot)
    }

    fn looping(&mut self, node: &'a Loop, dot: &Value<'a>) -> Executed<Flow> {
        let over = self.pipeline(&node.over, dot)?;
        let mut rounds = 0_u32;
        let mut round = |executor: &mut Self, index: Value<'a>, item: Value<'a>| {
            rounds = rounds.saturating_add(1);
            executor.round(node, index, &item)
        };
        match over {
            Value::Int(number) if node.over.variables.len() > 1 => {
                return Err(fault(ExecReason::RangeNumber(number), &node.over.span));
            }
            Value::Int(number) => {
                for item in 0..number {
                    if round(self, Value::Missing, Value::Int(item))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::List(list) => {
                for (index, item) in (0_i64..).zip(list.iter()) {
                    if round(self, Value::Int(index), item)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) if !map.is_struct() => {
                // Sorting costs more than a loop that is left at once would account for.
                self.work(Value::Map(map.clone()).weight(), &node.over.span)?;
                for (key, item) in map.sorted() {
                    if round(self, Value::String(key), item)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Missing | Value::Nil | Value::Absent => {}
            Value::Bool(_)
            | Value::Float(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Map(_)
            | Value::Record(_) => {
                let reason = ExecReason::Range(over.type_name());
                return Err(fault(reason, &node.over.span));
            }
        }
        if rounds > 0 {
            return Ok(Flow::Next);
        }
        self.block(&node.otherwise, dot)
    }

    fn round(&mut self, node: &'a Loop, index: Value<'a>, item: &Value<'a>) -> Executed<Flow> {
        self.step(&node.over.span)?;
        match *node.over.variables.as_slice() {
            [] => {}
            [variable] => self.set(variable, item.clone()),
            [first, second, ..] => {
                self.set(first, index);
                self.set(second, item.clone());
            }
        }
        self.block(&node.body, item)
    }

    fn call_template(
        &mut self,
        definition: usize,
        data: Option<&'a Pipeline>,
        span: &'a Span,
        dot: &Value<'a>,
    ) -> Executed<()> {
        self.step(span)?;
        let data = match data {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Missing,
        };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault(Limit::Depth.into(), span));
        }
        self.definition(definition, &data)?;
        self.depth -= 1;
        Ok(())
    }

    fn write(&mut self, text: &str, span: &Span) -> Executed<()> {
        let written = self.output.push(text);
        written.map_err(|limit| fault(limit.into(), span))
    }

    /// Counts a step of a loop or a call; what runs between two of them is bounded by the size of the template.
    fn step(&mut self, span: &Span) -> Executed<()> {
        self.steps = self.steps.saturating_add(1);
        if self.steps > MAX_STEPS {
            return Err(fault(Limit::Steps.into(), span));
        }
        Ok(())
    }

    fn set(&mut self, variable: usize, value: Value<'a>) {
        if let Some(slot) = self.variables.get_mut(self.base + variable) {
            *slot = value;
        }
    }

    fn get(&self, variable: usize) -> Value<'a> {
        let value = self.variables.get(self.base + variable);
        value.cloned().unwrap_or(Value::Missing)
    }

    fn error(&self, fault: Fault) -> ExecError {
        let definition = self.inner.definitions.get(self.definition);
        ExecError {
            place: Box::new(Place::new(&self.inner.name, &self.inner.source, fault.span)),
            definition: definition
                .map(|known| known.name.clone())
                .unwrap_or_default(),
            reason: fault.reason,
        }
    }
}

/// The text that the template makes of `data`.
pub(super) fn execute<'a>(
    inner: &'a Inner,
    data: &Value<'a>,
    observer: Option<&'a dyn Observer>,
) -> Result<String, ExecError> {
    let mut executor = Executor {
        inner,
        observer,
        output: Buffer::with_capacity(inner.source.len()),
        variables: Vec::new(),
        base: 0,
        arguments: Vec::new(),
        definition: 0,
        steps: 0,
        depth: 0,
        work: 0,
    };
    match executor.definition(0, data) {
        Ok(()) => Ok(executor.output.into_string()),
        Err(fault) => Err(executor.error(*fault)),
    }
}

fn fault(reason: ExecReason, span: &Span) -> Box<Fault> {
    Box::new(Fault {
        reason,
        span: span.clone(),
    })
}

/// A constant, borrowed from the tree.
fn borrowed<'a>(constant: &'a Value<'static>) -> Value<'a> {
    match constant {
        Value::String(text) => Value::String(Text::Borrowed(text)),
        other => other.clone(),
    }
}

//! What can be said of a template without executing it.
//!
//! [`analyse`] walks the tree as the executor does, with what is known in place of values: the configuration's values exactly, a pod by its types.
//! Branches that the values rule out are walked as well, for what they read, and nothing in them is a problem. What is reported
//! fails whenever it is reached; what is [`Problem::is_certain`] is reached for every pod.

mod call;
mod eval;
mod known;

use std::collections::BTreeSet;

use super::{
    ExecReason, Place, Template,
    tree::{Block, Loop, Node, Pipeline, Span},
};
use crate::schema::Kind;

pub(crate) use known::Known;
use known::{Origin, join};

/// What a template does, as far as can be told.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    pub(crate) problems: Vec<Problem>,
    /// Paths below `.Values` that it reads, in any branch.
    pub(crate) reads: BTreeSet<Vec<String>>,
    /// Fields of the data that do not exist and that it reads, in any branch.
    pub(crate) unknown_roots: BTreeSet<String>,
}

/// Something wrong in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// In characters.
    pub(crate) length: usize,
    pub(crate) definition: String,
    pub(crate) what: What,
    /// Whether it is met for every pod.
    pub(crate) is_certain: bool,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The execution fails there.
    Fails(ExecReason),
    /// A type has no such field; the executor takes it for an absent one, Go refuses it.
    UnknownField {
        field: String,
        type_name: &'static str,
        nearest: Option<&'static str>,
    },
    /// A value is not there, and is printed all the same or has nearly the name of one that is.
    MissingValue {
        path: String,
        nearest: Option<String>,
    },
    /// A text such as `false` decides as true.
    TextDecides { path: String, text: String },
}

struct Analyser<'a> {
    template: &'a Template,
    analysis: Analysis,
    variables: Vec<Known<'a>>,
    base: usize,
    definition: usize,
    /// The definitions that are being walked, outermost first.
    calls: Vec<usize>,
    /// Above 0 in what the values rule out.
    quiet: u32,
    /// Above 0 in what not every pod comes to.
    conditional: u32,
    steps: u32,
    /// Bytes computed.
    work: usize,
}

/// More than any template has; what is beyond stays unsaid.
const MAX_STEPS: u32 = 200_000;
/// Beyond it nothing is computed any more.
const MAX_WORK: usize = 8 << 20;
const MAX_CALLS: usize = 16;
/// Lists of values up to this length are gone through item by item.
const MAX_ITEMS: usize = 16;
const MAX_PROBLEMS: usize = 200;

// === impl Analyser ===

impl<'a> Analyser<'a> {
    fn definition(&mut self, index: usize, dot: &Known<'a>) {
        let Some(definition) = self.template.inner.definitions.get(index) else {
            return;
        };
        if self.calls.len() >= MAX_CALLS || self.calls.contains(&index) {
            return;
        }
        let caller = (self.definition, self.base, self.variables.len());
        self.calls.push(index);
        self.definition = index;
        self.base = self.variables.len();
        self.variables.push(dot.clone());
        let slots = self.base + definition.slots;
        self.variables.resize(slots, Known::Unknown);
        self.block(&definition.body, dot);
        self.variables.truncate(caller.2);
        (self.definition, self.base) = (caller.0, caller.1);
        self.calls.pop();
    }

    fn block(&mut self, block: &'a Block, dot: &Known<'a>) {
        for node in block {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return;
            }
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action(pipeline) => self.action(pipeline, dot),
                Node::If {
                    branches,
                    otherwise,
                } => self.branches(branches, otherwise, dot, false),
                Node::With {
                    branches,
                    otherwise,
                } => self.branches(branches, otherwise, dot, true),
                Node::Loop(node) => self.looping(node, dot),
                Node::Template {
                    definition, data, ..
                } => {
                    let data = match data {
                        Some(pipeline) => self.pipeline(pipeline, dot),
                        None => Known::nothing(),
                    };
                    self.definition(*definition, &data);
                }
            }
        }
    }

    fn action(&mut self, pipeline: &'a Pipeline, dot: &Known<'a>) {
        let value = self.pipeline(pipeline, dot);
        if pipeline.variables.is_empty() {
            self.missing(&value, &pipeline.span);
            self.used(&value);
        }
    }

    fn branches(
        &mut self,
        branches: &'a [(Pipeline, Block)],
        otherwise: &'a Block,
        dot: &Known<'a>,
        sets_dot: bool,
    ) {
        let mut outcomes = Vec::new();
        let (mut dead, mut doubtful) = (0, 0);
        for (condition, body) in branches {
            let value = self.pipeline(condition, dot);
            self.decides(&value, &condition.span);
            let truth = value.truth();
            let before = self.variables.clone();
            let inner = if sets_dot { value } else { dot.clone() };
            if truth == Some(false) {
                self.quietly(|analyser| analyser.block(body, &inner));
            } else {
                self.conditional += u32::from(truth.is_none());
                self.block(body, &inner);
                self.conditional -= u32::from(truth.is_none());
                if dead == 0 {
                    outcomes.push(self.variables.clone());
                }
            }
            self.variables = before;
            // What follows is only asked if this did not hold.
            if truth == Some(true) {
                dead += 1;
                self.quiet += 1;
            } else if truth.is_none() {
                doubtful += 1;
                self.conditional += 1;
            }
        }
        let before = self.variables.clone();
        self.block(otherwise, dot);
        if dead == 0 {
            outcomes.push(self.variables.clone());
        }
        self.quiet -= dead;
        self.conditional -= doubtful;
        self.variables = outcomes
            .into_iter()
            .reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| join(a, &b)).collect())
            .unwrap_or(before);
    }

    fn looping(&mut self, node: &'a Loop, dot: &Known<'a>) {
        let over = self.pipeline(&node.over, dot);
        self.used(&over);
        if let Some(reason) = over.refuses_range(node.over.variables.len()) {
            self.fails(reason, &node.over.span);
        }
        match over.items(MAX_ITEMS) {
            Some(items) if !items.is_empty() => {
                for (key, item) in items {
                    self.round(node, key, &item);
                }
                self.quietly(|analyser| analyser.block(&node.otherwise, dot));
            }
            Some(_) => {
                let (key, item) = (Known::Unknown, Known::Unknown);
                self.quietly(|analyser| analyser.round(node, key, &item));
                self.block(&node.otherwise, dot);
            }
            None => self.doubtful_loop(node, &over, dot),
        }
    }

    /// A loop of which nobody knows how often it runs.
    fn doubtful_loop(&mut self, node: &'a Loop, over: &Known<'a>, dot: &Known<'a>) {
        let (key, item) = over.element();
        let before = self.variables.clone();
        // Variables that a round changes are unknown at the beginning of the next.
        self.quietly(|analyser| {
            analyser.round(node, key.clone(), &item);
            analyser.block(&node.otherwise, dot);
        });
        let after = std::mem::take(&mut self.variables);
        self.variables = before
            .into_iter()
            .zip(after)
            .map(|(a, b)| join(a, &b))
            .collect();
        let widened = self.variables.clone();
        self.conditional += 1;
        self.round(node, key, &item);
        self.block(&node.otherwise, dot);
        self.conditional -= 1;
        self.variables = widened;
    }

    fn round(&mut self, node: &'a Loop, key: Known<'a>, item: &Known<'a>) {
        match *node.over.variables.as_slice() {
            [] => {}
            [variable] => self.set(variable, item.clone()),
            [first, second, ..] => {
                self.set(first, key);
                self.set(second, item.clone());
            }
        }
        self.block(&node.body, item);
    }

    fn quietly(&mut self, walk: impl FnOnce(&mut Self)) {
        self.quiet += 1;
        walk(self);
        self.quiet -= 1;
    }

    /// Notes that the value is used as a whole.
    fn used(&mut self, value: &Known<'a>) {
        if let Some(Origin::Values(path)) = value.origin() {
            self.analysis.reads.insert(path.to_vec());
        }
    }

    /// Notes a value that is printed without being there.
    fn missing(&mut self, value: &Known<'a>, span: &Span) {
        if let (true, Some(Origin::Values(path))) = (value.is_nothing(), value.origin()) {
            let path = path.join(".");
            self.report(
                What::MissingValue {
                    path,
                    nearest: None,
                },
                span,
            );
        }
    }

    /// Notes a text that stands where a boolean is meant.
    fn decides(&mut self, value: &Known<'a>, span: &Span) {
        if let Some(Origin::Values(path)) = value.origin() {
            self.analysis.reads.insert(path.to_vec());
            let text = value.text().unwrap_or_default();
            if ["false", "no", "off", "0"].contains(&text.to_lowercase().as_str()) {
                let (path, text) = (path.join("."), text.to_owned());
                self.report(What::TextDecides { path, text }, span);
            }
        }
    }

    fn fails(&mut self, reason: ExecReason, span: &Span) {
        self.report(What::Fails(reason), span);
    }

    fn report(&mut self, what: What, span: &Span) {
        let problems = &mut self.analysis.problems;
        if self.quiet > 0 || problems.len() >= MAX_PROBLEMS {
            return;
        }
        let inner = &self.template.inner;
        let text = inner.source.get(span.clone()).unwrap_or_default();
        let spaces = text.len() - text.trim_start().len();
        let (text, span) = (text.trim(), span.start + spaces..span.end);
        let definition = inner.definitions.get(self.definition);
        let problem = Problem {
            place: Place::new(&inner.name, &inner.source, span),
            length: text
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                .max(1),
            definition: definition
                .map(|known| known.name.clone())
                .unwrap_or_default(),
            what,
            is_certain: self.conditional == 0,
        };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    fn set(&mut self, variable: usize, value: Known<'a>) {
        if let Some(slot) = self.variables.get_mut(self.base + variable) {
            *slot = value;
        }
    }

    fn get(&self, variable: usize) -> Known<'a> {
        let value = self.variables.get(self.base + variable);
        value.cloned().unwrap_or(Known::Unknown)
    }
}

/// Walks `template` with `data`, usually [`Known::data`].
pub(crate) fn analyse<'a>(template: &'a Template, data: &Known<'a>) -> Analysis {
    let mut analyser = Analyser {
        template,
        analysis: Analysis::default(),
        variables: Vec::new(),
        base: 0,
        definition: 0,
        calls: Vec::new(),
        quiet: 0,
        conditional: 0,
        steps: 0,
        work: 0,
    };
    analyser.definition(0, data);
    analyser.analysis
}

/// The fields of the data and what they hold.
pub(crate) const DATA: [(&str, Kind); 14] = [
    ("TypeMeta", Kind::Struct("TypeMeta")),
    ("DeploymentMeta", Kind::Struct("NamespacedName")),
    ("ObjectMeta", Kind::Struct("ObjectMeta")),
    ("Spec", Kind::Struct("PodSpec")),
    ("ProxyConfig", Kind::Struct("ProxyConfig")),
    ("MeshConfig", Kind::Struct("MeshConfig")),
    ("Revision", Kind::Text),
    ("NativeSidecars", Kind::Boolean),
    ("ProxyImage", Kind::Text),
    ("ProxyInitImage", Kind::Text),
    ("ProxyUID", Kind::Integer),
    ("ProxyGID", Kind::Integer),
    ("InboundTrafficPolicyMode", Kind::Text),
    ("CompliancePolicy", Kind::Text),
];

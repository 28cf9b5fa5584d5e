//! Finding out what templates give for any pod.
//!
//! Called once for a configuration. The templates are executed again and again, with one more answer each time they ask something about the pod,
//! and with one more annotation taken as absent each time what they do with it cannot be said.
//! Each round either ends or takes an annotation away, of which there are finitely many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Map, Value, json};

use super::{PolicyError, cel::Expr, conditions, facts, tree::Node};
use crate::{
    config::{Config, Format},
    error::Error,
    gotemplate::partial::{Assumptions, Beyond, Stop},
    inject::{Injection, Namespace, Request},
    merge::{self, Directives},
    overrides,
    owner::Owner,
    pod, render, yaml,
};

/// What was found.
pub(super) struct Found {
    /// What an injection adds to a pod.
    pub(super) added: Node,
    /// Annotations that a pod must not have, each with the reason.
    pub(super) absent: BTreeMap<String, String>,
    /// The port to which probes are sent, if they are rewritten.
    pub(super) probe_port: Option<u16>,
    /// Whether annotations about scraping are written.
    pub(super) scrapes: bool,
}

/// How many different results are put together.
const MAX_CASES: usize = 512;

/// The pod of which nothing is known.
static NO_POD: LazyLock<Value> = LazyLock::new(|| json!({"metadata": {}, "spec": {}}));

struct Explorer<'c> {
    config: &'c Config,
    absent: BTreeSet<String>,
    n_cases: usize,
    /// Port of probes, and whether annotations about scraping are written, which no case may change.
    traits: Option<(Option<u16>, bool)>,
}

/// Why there is no result for some answers.
enum Trouble {
    Beyond(Box<Beyond>),
    Policy(PolicyError),
    /// More answers are needed.
    Question(Expr),
    /// There are too many cases since these annotations were asked for.
    Cases(BTreeSet<String>),
}

/// Executes the templates until all is said that can be.
pub(super) fn explore(config: &Config) -> Result<Found, PolicyError> {
    let mut absent: BTreeMap<String, String> = conditions::untaken_annotations()
        .map(|(key, why)| (key.to_owned(), why.to_owned()))
        .collect();
    loop {
        let mut explorer = Explorer {
            config,
            absent: absent.keys().cloned().collect(),
            n_cases: 0,
            traits: None,
        };
        let beyond = match explorer.cases(&[]) {
            Ok(added) => {
                let (probe_port, scrapes) = explorer.traits.unwrap_or_default();
                return Ok(Found {
                    added,
                    absent,
                    probe_port,
                    scrapes,
                });
            }
            Err(Trouble::Policy(error)) => return Err(error),
            Err(Trouble::Question(_)) => return Err(PolicyError::Cases { limit: MAX_CASES }),
            Err(Trouble::Cases(keys)) if keys.is_empty() => {
                return Err(PolicyError::Cases { limit: MAX_CASES });
            }
            Err(Trouble::Cases(keys)) => {
                let why = "with it there would be too many cases";
                absent.extend(keys.into_iter().map(|key| (key, why.to_owned())));
                continue;
            }
            Err(Trouble::Beyond(beyond)) => beyond,
        };
        let new: Vec<_> = beyond
            .annotations
            .iter()
            .filter(|key| !absent.contains_key(*key))
            .cloned()
            .collect();
        if new.is_empty() {
            return Err(said_beyond(*beyond));
        }
        let why = format!(
            "template {}, line {}: {}",
            beyond.place.template, beyond.place.line, beyond.what
        );
        absent.extend(new.into_iter().map(|key| (key, why.clone())));
    }
}

fn said_beyond(beyond: Beyond) -> PolicyError {
    PolicyError::Beyond {
        template: beyond.place.template,
        line: beyond.place.line,
        column: beyond.place.column,
        snippet: beyond.place.snippet,
        what: beyond.what,
    }
}

// === impl Explorer ===

impl Explorer<'_> {
    /// What the templates give for all pods for which these answers are right.
    fn cases(&mut self, answers: &[(Expr, bool)]) -> Result<Node, Trouble> {
        let question = match self.case(answers) {
            Err(Trouble::Question(question)) => question,
            result => return result,
        };
        self.n_cases += 1;
        if self.n_cases >= MAX_CASES {
            let keys = facts::annotation_keys(&question);
            return Err(Trouble::Cases(keys.into_iter().collect()));
        }
        let mut answered = |answer| {
            let mut answers = answers.to_vec();
            answers.push((question.clone(), answer));
            self.cases(&answers)
        };
        let (yes, no) = (answered(true)?, answered(false)?);
        Ok(Node::either(&question, yes, no))
    }

    fn case(&mut self, answers: &[(Expr, bool)]) -> Result<Node, Trouble> {
        let assumptions = Assumptions {
            answers: answers.to_vec(),
            absent: self.absent.clone(),
        };
        let namespace = Namespace::default();
        let environment = BTreeMap::new();
        let owner = Owner::of(&NO_POD);
        let request = Request {
            pod: &NO_POD,
            namespace: &namespace,
            owner: Some(owner.clone()),
            environment: &environment,
        };
        let injection = Injection::new(self.config, &request, Vec::new())?;
        let (template_pod, marks, rewrites) = self.render(&injection, &owner, &assumptions)?;
        let addition = injection.complete(&template_pod, rewrites)?;
        let traits = (addition.probe_port, addition.scrapes);
        if *self.traits.get_or_insert(traits) != traits {
            let field = "annotations about probes or scraping for some pods only".to_owned();
            return Err(PolicyError::Field { field }.into());
        }
        Node::read(&addition.pod, &marks).ok_or_else(|| {
            let field = "a field whose name depends on the pod".to_owned();
            PolicyError::Field { field }.into()
        })
    }

    /// What the templates give together, with marks, and whether they want probes to be rewritten.
    fn render(
        &self,
        injection: &Injection<'_>,
        owner: &Owner,
        assumptions: &Assumptions,
    ) -> Result<(Value, Vec<Expr>, Option<bool>), Trouble> {
        let compiled = self.config.compiled();
        let context = injection.surroundings(owner);
        let data = context.data();
        let mut template_pod = Value::Object(Map::new());
        let mut marks = Vec::new();
        let mut rewrites = None;
        for name in render::selected(compiled, &NO_POD) {
            let template = compiled.templates.get(&name).ok_or_else(|| {
                let known = compiled.known_templates();
                Error::UnknownTemplate {
                    name: name.clone(),
                    known,
                }
            })?;
            let marked = template.execute_partially(&data, assumptions, marks)?;
            marks = marked.marks;
            let mut patch =
                yaml::parse(&name, &marked.text).map_err(|source| Error::RenderedYaml {
                    name: name.clone(),
                    source,
                })?;
            if patch.is_null() {
                continue;
            }
            if compiled.format == Format::Spec {
                rewrites = render::legacy::into_pod(&mut patch).or(rewrites);
            }
            pod::check_patch(&patch).map_err(|source| Error::RenderedShape {
                name: name.clone(),
                source: Box::new(source),
            })?;
            if let Some(directive) = directive(&patch) {
                return Err(PolicyError::Field { field: directive }.into());
            }
            overrides::follow(&mut patch, &template_pod);
            merge::pod(&mut template_pod, patch, Directives::Obey)
                .map_err(|source| Error::Merge { name, source })?;
        }
        Ok((template_pod, marks, rewrites))
    }
}

/// A directive of the merge, which says something about the author's part of the pod.
fn directive(patch: &Value) -> Option<String> {
    match patch {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            if key.starts_with('$') {
                return Some(format!("the directive {key}"));
            }
            directive(value)
        }),
        Value::Array(items) => items.iter().find_map(directive),
        _ => None,
    }
}

// === impl Trouble ===

impl From<PolicyError> for Trouble {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Policy(error.into())
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Question(question) => Self::Question(question),
            Stop::Beyond(beyond) => Self::Beyond(beyond),
        }
    }
}

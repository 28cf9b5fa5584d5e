//! From parser events to one JSON value.
//!
//! Called for each document; drives `saphyr_parser`, which knows the grammar, and adds what the grammar leaves open: scalar types, keys, aliases, merges.
//! Text as templates render it never gets that far: [`quick`] reads it.
//! The stack of open nodes is ours and bounded, so nothing recurses with the input, and aliases are paid for from a budget.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

use super::{Error, MAX_DEPTH, Problem, quick, scalar};

/// What all aliases of a document may add up to, in bytes: manifests of etcd's largest size expanded ten times over.
const EXPANSION_LIMIT: usize = 16 << 20;

/// Reads the one document in `text`, which stands `lines_before` lines into its stream.
pub(super) fn single(origin: &str, text: &str, lines_before: usize) -> Result<Value, Error> {
    let body = text.trim_start_matches('\u{feff}');
    if let Some(value) = quick::read(body) {
        return Ok(value);
    }
    match read(body) {
        Ok(value) => Ok(value),
        // JSON escapes that YAML 1.1 readers stumble over are still JSON, and kubectl takes JSON.
        Err(failure) => json(body, &failure).ok_or_else(|| Error {
            origin: origin.to_owned(),
            line: failure.line + lines_before,
            column: failure.column,
            problem: failure.problem,
        }),
    }
}

fn json(text: &str, failure: &Failure) -> Option<Value> {
    let syntax = matches!(failure.problem, Problem::Syntax(_));
    (syntax && text.trim_start().starts_with('{')).then(|| serde_json::from_str(text).ok())?
}

/// Reads all of YAML.
pub(super) fn read(text: &str) -> Result<Value, Failure> {
    let mut parser = Parser::new_from_str(text);
    let mut loader = Loader::default();
    let mut document = Value::Null;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Failure::from_scan(&error))?;
        match loader.event(event, span)? {
            None | Some((Value::Null, _)) => {}
            Some((value, _)) if document == Value::Null => document = value,
            Some((_, start)) => return Err(Failure::at(start, Problem::SecondDocument)),
        }
    }
    Ok(document)
}

/// A problem and its place in the text at hand.
#[derive(Debug)]
pub(super) struct Failure {
    line: usize,
    column: usize,
    problem: Problem,
}

// === impl Failure ===

impl Failure {
    fn at(span: Span, problem: Problem) -> Self {
        Self {
            line: span.start.line(),
            column: span.start.col() + 1,
            problem,
        }
    }

    fn from_scan(error: &ScanError) -> Self {
        let marker = error.marker();
        Self {
            line: marker.line().max(1),
            column: marker.col() + 1,
            problem: Problem::Syntax(error.info().to_owned()),
        }
    }
}

/// The nodes that are open, and the anchors that are complete.
#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    expanded: usize,
}

/// A list or map that is not complete yet.
struct Open {
    anchor: usize,
    start: Span,
    node: Node,
}

enum Node {
    List(Vec<Value>),
    Map {
        map: Map<String, Value>,
        key: Option<Key>,
        /// Keys that came from `<<`, once there was one: only they may be set again.
        merged: Option<HashSet<String>>,
    },
}

enum Key {
    Name(String, Span),
    Merge,
}

/// A complete node that aliases may refer to.
struct Anchored {
    value: Value,
    weight: usize,
    height: usize,
}

// === impl Loader ===

impl Loader {
    /// Takes one event; gives the document's value and place when it is complete.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<(Value, Span)>, Failure> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                if self.expects_key()
                    && style == ScalarStyle::Plain
                    && tag.is_none()
                    && text == "<<"
                {
                    self.set_key(Key::Merge);
                    return Ok(None);
                }
                let value = scalar(&text, style, tag, span)?;
                self.complete(value, anchor, span)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, span, Node::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(
                anchor,
                span,
                Node::Map {
                    map: Map::new(),
                    key: None,
                    merged: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open {
                    anchor,
                    start,
                    node: Node::List(list),
                }) => self.complete(Value::Array(list), anchor, start),
                Some(Open {
                    anchor,
                    start,
                    node: Node::Map { map, .. },
                }) => self.complete(Value::Object(map), anchor, start),
                None => Ok(None),
            },
            Event::Alias(anchor) => {
                let value = self.expand(anchor, span)?;
                self.complete(value, 0, span)
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(None)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(None),
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        start: Span,
        node: Node,
    ) -> Result<Option<(Value, Span)>, Failure> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Failure::at(start, Problem::Depth));
        }
        if self.expects_key() {
            return Err(Failure::at(start, Problem::Key));
        }
        self.open.push(Open {
            anchor,
            start,
            node,
        });
        Ok(None)
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                node: Node::Map { key: None, .. },
                ..
            })
        )
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Open {
            node: Node::Map { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(new);
        }
    }

    /// Puts a complete node where it belongs: into its anchor, and into the node around it or out as the document.
    fn complete(
        &mut self,
        value: Value,
        anchor: usize,
        span: Span,
    ) -> Result<Option<(Value, Span)>, Failure> {
        if anchor != 0 {
            let (weight, height) = measure(&value);
            self.anchors.insert(
                anchor,
                Anchored {
                    value: value.clone(),
                    weight,
                    height,
                },
            );
            self.spend(weight, span)?;
        }
        let Some(parent) = self.open.last_mut() else {
            return Ok(Some((value, span)));
        };
        match &mut parent.node {
            Node::List(list) => list.push(value),
            Node::Map { map, key, merged } => match key.take() {
                None => {
                    let name = key_name(value).ok_or_else(|| Failure::at(span, Problem::Key))?;
                    *key = Some(Key::Name(name, span));
                }
                Some(Key::Merge) => {
                    merge(map, merged.get_or_insert_default(), value)
                        .ok_or_else(|| Failure::at(span, Problem::Merge))?;
                }
                Some(Key::Name(name, at)) => insert(map, merged.as_mut(), name, value)
                    .map_err(|name| Failure::at(at, Problem::DuplicateKey(name)))?,
            },
        }
        Ok(None)
    }

    fn expand(&mut self, anchor: usize, span: Span) -> Result<Value, Failure> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Failure::at(span, Problem::RecursiveAlias));
        };
        if self.open.len() + anchored.height > MAX_DEPTH {
            return Err(Failure::at(span, Problem::Depth));
        }
        let (value, weight) = (anchored.value.clone(), anchored.weight);
        self.spend(weight, span)?;
        Ok(value)
    }

    fn spend(&mut self, weight: usize, span: Span) -> Result<(), Failure> {
        self.expanded = self.expanded.saturating_add(weight);
        if self.expanded > EXPANSION_LIMIT {
            return Err(Failure::at(span, Problem::Expansion(EXPANSION_LIMIT >> 20)));
        }
        Ok(())
    }
}

/// The bytes that a value takes, roughly, and how deeply it is nested.
fn measure(value: &Value) -> (usize, usize) {
    let children = |list: &mut dyn Iterator<Item = (usize, &Value)>| {
        list.fold(
            (size_of::<Value>(), 1),
            |(weight, height), (extra, child)| {
                let (child_weight, child_height) = measure(child);
                (weight + extra + child_weight, height.max(child_height + 1))
            },
        )
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => (size_of::<Value>(), 0),
        Value::String(text) => (size_of::<Value>() + text.len(), 0),
        Value::Array(list) => children(&mut list.iter().map(|item| (0, item))),
        Value::Object(map) => children(
            &mut map
                .iter()
                .map(|(key, item)| (key.len() + size_of::<String>(), item)),
        ),
    }
}

/// Puts an entry into a map, over one that was merged in but not over one that was written; `Err` is the key.
fn insert(
    map: &mut Map<String, Value>,
    merged: Option<&mut HashSet<String>>,
    key: String,
    value: Value,
) -> Result<(), String> {
    if map.contains_key(&key) && !merged.is_some_and(|merged| merged.remove(&key)) {
        return Err(key);
    }
    map.insert(key, value);
    Ok(())
}

/// Merges where `<<` stands: over what was written before it, under what comes after it, as go-yaml v2 does. In a list, earlier maps win.
fn merge(map: &mut Map<String, Value>, merged: &mut HashSet<String>, value: Value) -> Option<()> {
    let maps = match value {
        Value::Object(one) => vec![one],
        Value::Array(list) => list
            .into_iter()
            .map(|item| match item {
                Value::Object(one) => Some(one),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    for one in maps.into_iter().rev() {
        for (key, value) in one {
            merged.insert(key.clone());
            map.insert(key, value);
        }
    }
    Some(())
}

fn key_name(value: Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, Failure> {
    let resolve = || {
        scalar::resolve(text)
            .map_err(|scalar::NotFinite| Failure::at(span, Problem::NotFinite(text.to_owned())))
    };
    let string = || Value::String(text.to_owned());
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain {
            resolve()
        } else {
            Ok(string())
        };
    };
    if !tag.is_yaml_core_schema() {
        return Ok(string());
    }
    let wrong = || {
        Failure::at(
            span,
            Problem::Tag {
                value: text.to_owned(),
                tag: format!("!!{}", tag.suffix),
            },
        )
    };
    let fits: fn(&Value) -> bool = match tag.suffix.as_str() {
        "binary" => {
            let compact: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(compact)
                .map_err(|_| wrong())?;
            return Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        }
        "int" => |value| value.is_i64() || value.is_u64(),
        "float" => Value::is_number,
        "bool" => Value::is_boolean,
        "null" => Value::is_null,
        _ => return Ok(string()),
    };
    let value = resolve()?;
    if fits(&value) {
        Ok(value)
    } else {
        Err(wrong())
    }
}

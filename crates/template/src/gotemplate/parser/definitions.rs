//! The templates that one text defines.
//! The parser adds each body and notes each call; [`Definitions::finish`] checks that they fit together.
//! A name keeps its index whether its call or its definition comes first.

use std::collections::HashMap;

use super::{Fault, Parsed};
use crate::gotemplate::error::ParseReason;
use crate::gotemplate::tree::{Block, Definition, Node, Span};

/// The templates of a text, by name; calls may come before definitions.
pub(super) struct Definitions {
    indices: HashMap<String, usize>,
    definitions: Vec<Option<Definition>>,
    calls: Vec<(usize, String, Span)>,
}

// === impl Definitions ===

impl Definitions {
    pub(super) fn new(name: &str) -> Self {
        Self {
            indices: HashMap::from([(name.to_owned(), 0)]),
            definitions: vec![None],
            calls: Vec::new(),
        }
    }

    /// Defines `name`. A definition of nothing but spaces gives way to any other, as in Go.
    pub(super) fn add(&mut self, name: &str, body: Block, slots: usize, span: Span) -> Parsed<()> {
        let index = self.index(name);
        let Some(slot) = self.definitions.get_mut(index) else {
            return Ok(());
        };
        match slot {
            Some(known) if !is_blank(&known.body) => {
                if is_blank(&body) {
                    return Ok(());
                }
                let reason = ParseReason::MultipleDefinition(name.to_owned());
                Err(Fault { reason, span })
            }
            _ => {
                *slot = Some(Definition {
                    name: name.to_owned(),
                    body,
                    slots,
                });
                Ok(())
            }
        }
    }

    /// The index of `name`, which is defined now or later.
    pub(super) fn call(&mut self, name: &str, span: Span) -> usize {
        let index = self.index(name);
        self.calls.push((index, name.to_owned(), span));
        index
    }

    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        let index = self.definitions.len();
        self.indices.insert(name.to_owned(), index);
        self.definitions.push(None);
        index
    }

    pub(super) fn finish(&mut self) -> Parsed<Vec<Definition>> {
        for (index, name, span) in &self.calls {
            if self.definitions.get(*index).is_none_or(Option::is_none) {
                return Err(Fault {
                    reason: ParseReason::UndefinedTemplate(name.clone()),
                    span: span.clone(),
                });
            }
        }
        let definitions = std::mem::take(&mut self.definitions);
        Ok(definitions.into_iter().flatten().collect())
    }
}

fn is_blank(body: &Block) -> bool {
    body.iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

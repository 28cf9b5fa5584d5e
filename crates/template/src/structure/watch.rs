//! Whether a template makes text of anything that could be more than text.
//!
//! Asked during the first rendering, so that the second is only made for pods whose templates take up a value that is not harmless: most pods hold
//! such values, in commands for example, and templates take up few.
//! A value is known by where it lies in memory, because templates borrow it from the pod until a function makes something new of it.

use std::cell::Cell;

use serde_json::{Map, Value as Json};

use super::disguise::is_harmless;
use crate::{
    functions::{Body, Function, FunctionError},
    gotemplate::{Observer, Value},
};

/// The values of the pod's author that are not harmless, and whether any was taken up.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Where they begin, in order.
    places: Vec<*const u8>,
    is_taken: Cell<bool>,
}

/// Functions that give a member of a collection, or a fact about it: the collection itself is not taken up by them.
const SELECTORS: [&str; 9] = [
    "annotation",
    "get",
    "hasKey",
    "index",
    "isset",
    "kindIs",
    "kindOf",
    "len",
    "typeOf",
];

// === impl Watch ===

impl Watch {
    /// Watches the texts in `parts`.
    pub(crate) fn over<'a>(parts: impl IntoIterator<Item = &'a Json>) -> Self {
        let mut watch = Self::default();
        parts.into_iter().for_each(|part| watch.add(part));
        watch.places.sort_unstable();
        watch
    }

    /// Whether there is nothing to watch.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a value was taken up.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken.get()
    }

    fn add(&mut self, part: &Json) {
        match part {
            Json::String(text) => self.add_text(text),
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(entries) => {
                for (key, value) in entries {
                    self.add_text(key);
                    self.add(value);
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn add_text(&mut self, text: &str) {
        if !is_harmless(text) {
            self.places.push(text.as_ptr());
        }
    }

    fn look(&self, value: &Value<'_>) {
        if self.is_taken.get() {
            return;
        }
        match value {
            Value::String(text) => self.look_at(text),
            Value::List(list) => match list.json() {
                Some(items) => items.iter().for_each(|item| self.look_into(item)),
                None => list.iter().for_each(|item| self.look(&item)),
            },
            Value::Map(map) => match map.json() {
                Some(entries) => self.look_into_entries(entries),
                None => map.sorted().iter().for_each(|(_, item)| self.look(item)),
            },
            Value::Record(record) => record
                .fields()
                .iter()
                .for_each(|(_, field)| self.look(field)),
            Value::Missing
            | Value::Nil
            | Value::Absent
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Number(_) => {}
        }
    }

    fn look_into(&self, data: &Json) {
        match data {
            Json::String(text) => self.look_at(text),
            Json::Array(items) => items.iter().for_each(|item| self.look_into(item)),
            Json::Object(entries) => self.look_into_entries(entries),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn look_into_entries(&self, entries: &Map<String, Json>) {
        for (key, item) in entries {
            self.look_at(key);
            self.look_into(item);
        }
    }

    fn look_at(&self, text: &str) {
        if self.places.binary_search(&text.as_ptr()).is_ok() {
            self.is_taken.set(true);
        }
    }
}

impl Observer for Watch {
    fn call<'a>(
        &self,
        function: &Function,
        body: Body,
        arguments: &[Value<'a>],
    ) -> Result<Value<'a>, FunctionError> {
        let result = body(arguments)?;
        if self.is_taken.get() {
            return Ok(result);
        }
        if function.name() == "b64dec" {
            self.is_taken.set(true);
        }
        // What a condition learns about a text does not bring it into the result.
        let holds_text = !matches!(
            &result,
            Value::Missing | Value::Nil | Value::Absent | Value::Bool(_) | Value::Int(_)
        ) && result.truth();
        if holds_text {
            let is_selector = SELECTORS.contains(&function.name());
            for argument in arguments {
                if !is_selector || matches!(argument, Value::String(_)) {
                    self.look(argument);
                }
            }
        }
        Ok(result)
    }

    fn print(&self, value: &Value<'_>) {
        self.look(value);
    }
}

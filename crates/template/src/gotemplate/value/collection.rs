//! Lists, maps and records: the values that hold other values.
//! JSON collections are borrowed and wrapped element by element when they are visited; computed ones are shared.
//! A computed collection knows how deeply it is nested and refuses to be nested further than [`MAX_DEPTH`], so that
//! neither printing nor dropping one can exhaust the stack.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Shape, Text, Value};
use crate::gotemplate::names::{FieldName, is_map};

/// How deeply computed collections may be nested.
pub(crate) const MAX_DEPTH: u32 = 256;

/// What a borrowed collection counts for: JSON decoders stop at this depth.
const JSON_DEPTH: u32 = 128;

/// A list of values.
#[derive(Clone, Debug)]
pub struct List<'a>(Items<'a>);

#[derive(Clone, Debug)]
enum Items<'a> {
    Json(&'a [Json], Shape),
    Computed(Arc<[Value<'a>]>, u32),
}

/// A map from text to values, or a struct.
#[derive(Clone, Debug)]
pub struct Map<'a>(Entries<'a>);

#[derive(Clone, Debug)]
enum Entries<'a> {
    Json(&'a serde_json::Map<String, Json>, Shape),
    Computed(Arc<BTreeMap<Box<str>, Value<'a>>>, Shape, u32),
}

/// A closed set of named values.
#[derive(Debug)]
pub struct Record<'a> {
    type_name: &'static str,
    fields: Vec<(&'static str, Value<'a>)>,
}

/// A collection would be nested too deeply.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("lists and maps are nested more than {MAX_DEPTH} deep")]
pub struct TooDeep;

// === impl List ===

impl<'a> List<'a> {
    pub(super) fn from_json(items: &'a [Json], shape: Shape) -> Self {
        // The elements of a list in a map of a struct are structs again.
        let shape = if shape == Shape::Entries {
            Shape::Struct
        } else {
            shape
        };
        Self(Items::Json(items, shape))
    }

    /// A list of computed values.
    ///
    /// # Errors
    /// When the values are nested too deeply to be put into another list.
    pub fn new(items: Vec<Value<'a>>) -> Result<Self, TooDeep> {
        let depth = nested(items.iter())?;
        Ok(Self(Items::Computed(items.into(), depth)))
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.0 {
            Items::Json(items, _) => items.len(),
            Items::Computed(items, _) => items.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match &self.0 {
            Items::Json(items, shape) => {
                items.get(index).map(|item| Value::from_json(item, *shape))
            }
            Items::Computed(items, _) => items.get(index).cloned(),
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The items in the data, if that is where they are.
    pub(crate) fn json(&self) -> Option<&'a [Json]> {
        match &self.0 {
            Items::Json(items, _) => Some(items),
            Items::Computed(..) => None,
        }
    }

    pub(super) fn depth(&self) -> u32 {
        match &self.0 {
            Items::Json(..) => JSON_DEPTH,
            Items::Computed(_, depth) => *depth,
        }
    }
}

// === impl Map ===

impl<'a> Map<'a> {
    pub(super) fn from_json(entries: &'a serde_json::Map<String, Json>, shape: Shape) -> Self {
        Self(Entries::Json(entries, shape))
    }

    /// A map of computed values.
    ///
    /// # Errors
    /// When the values are nested too deeply to be put into another map.
    pub fn new(entries: BTreeMap<Box<str>, Value<'a>>) -> Result<Self, TooDeep> {
        let depth = nested(entries.values())?;
        Ok(Self(Entries::Computed(
            Arc::new(entries),
            Shape::Plain,
            depth,
        )))
    }

    /// A map of texts, Go's `map[string]string`.
    pub fn of_texts(entries: impl IntoIterator<Item = (Box<str>, Text<'a>)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, text)| (key, Value::String(text)))
            .collect();
        Self(Entries::Computed(Arc::new(entries), Shape::Entries, 1))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::Json(entries, _) => entries.len(),
            Entries::Computed(entries, ..) => entries.len(),
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is addressed by Go field names.
    pub fn is_struct(&self) -> bool {
        self.shape() == Shape::Struct
    }

    /// The value of exactly this key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        match &self.0 {
            Entries::Json(entries, shape) => entries
                .get(key)
                .map(|value| Value::from_json(value, child_shape(key, *shape))),
            Entries::Computed(entries, ..) => entries.get(key).cloned(),
        }
    }

    /// What Go's `index` gives for a key that is not there: nil in a map of anything, else the zero value.
    pub(crate) fn default_element(&self) -> Value<'a> {
        match self.shape() {
            Shape::Plain => Value::Nil,
            Shape::Struct | Shape::Entries => Value::Absent,
        }
    }

    /// The entries in the order of their keys, which is the order in which Go ranges over a map.
    pub fn sorted(&self) -> Vec<(Text<'a>, Value<'a>)> {
        match &self.0 {
            Entries::Json(entries, shape) => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| {
                        let value = Value::from_json(value, child_shape(key, *shape));
                        (Text::Borrowed(key.as_str()), value)
                    })
                    .collect();
                // JSON objects keep their order of insertion when any crate of the build asks for it.
                if !entries.is_sorted_by(|(a, _), (b, _)| **a <= **b) {
                    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                entries
            }
            Entries::Computed(entries, ..) => entries
                .iter()
                .map(|(key, value)| (Text::Shared(key.as_ref().into()), value.clone()))
                .collect(),
        }
    }

    /// The entries in the data, if that is where they are.
    pub(crate) fn json(&self) -> Option<&'a serde_json::Map<String, Json>> {
        match &self.0 {
            Entries::Json(entries, _) => Some(entries),
            Entries::Computed(..) => None,
        }
    }

    /// A copy of the entries, to make another map from.
    pub(crate) fn to_entries(&self) -> BTreeMap<Box<str>, Value<'a>> {
        match &self.0 {
            Entries::Json(..) => self
                .sorted()
                .into_iter()
                .map(|(key, value)| ((*key).into(), value))
                .collect(),
            Entries::Computed(entries, ..) => (**entries).clone(),
        }
    }

    pub(super) fn field(&self, name: &FieldName) -> Value<'a> {
        if self.is_struct() {
            self.struct_field(name)
        } else {
            self.get(name.go()).unwrap_or(Value::Missing)
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self.shape() {
            Shape::Plain => "map[string]interface {}",
            Shape::Struct => "struct",
            Shape::Entries => "map[string]string",
        }
    }

    pub(super) fn depth(&self) -> u32 {
        match &self.0 {
            Entries::Json(..) => JSON_DEPTH,
            Entries::Computed(_, _, depth) => *depth,
        }
    }

    fn struct_field(&self, name: &FieldName) -> Value<'a> {
        if name.is_embedded() {
            return Value::Map(self.clone());
        }
        match self.get(name.json()) {
            Some(Value::Absent) | None => match name.getter() {
                Some(name) => self.struct_field(name),
                None => name.zero(),
            },
            Some(value) => value,
        }
    }

    fn shape(&self) -> Shape {
        match &self.0 {
            Entries::Json(_, shape) | Entries::Computed(_, shape, _) => *shape,
        }
    }
}

// === impl Record ===

impl<'a> Record<'a> {
    pub(super) fn new(
        type_name: &'static str,
        fields: impl IntoIterator<Item = (&'static str, Value<'a>)>,
    ) -> Self {
        Self {
            type_name,
            fields: fields.into_iter().collect(),
        }
    }

    /// The value of the field `name`.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let field = self.fields.iter().find(|(field, _)| *field == name);
        field.map(|(_, value)| value)
    }

    /// The fields in the order in which they were given.
    pub fn fields(&self) -> &[(&'static str, Value<'a>)] {
        &self.fields
    }

    pub(super) fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub(super) fn depth(&self) -> u32 {
        let deepest = self.fields.iter().map(|(_, value)| value.depth()).max();
        deepest.unwrap_or_default().saturating_add(1)
    }
}

/// The shape of the value of `key` in an object of the given shape.
fn child_shape(key: &str, shape: Shape) -> Shape {
    match shape {
        Shape::Plain => Shape::Plain,
        Shape::Struct if is_map(key) => Shape::Entries,
        Shape::Struct | Shape::Entries => Shape::Struct,
    }
}

fn nested<'v, 'a: 'v>(values: impl Iterator<Item = &'v Value<'a>>) -> Result<u32, TooDeep> {
    let deepest = values.map(Value::depth).max().unwrap_or_default();
    if deepest >= MAX_DEPTH {
        return Err(TooDeep);
    }
    Ok(deepest + 1)
}

//! The values that templates compute with.
//! [`Value`]s are made from JSON by whoever renders a template, and by the functions that a template calls; the
//! executor only passes them around.
//! JSON is borrowed and looked into on demand, so that giving a pod to a template copies nothing; nothing in a value
//! is ever parsed as template text.

mod collection;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value as Json;

use super::names::FieldName;

pub use collection::{List, Map, Record, TooDeep};

/// A value of the template language.
///
/// Three of the variants say "nothing", because Go distinguishes them and templates can tell.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// A key that a map does not have. Prints `<no value>`, and so does every field of it.
    Missing,
    /// A null. Prints `<no value>`, but asking it for a field is an error, as in Go.
    Nil,
    /// A field that a struct has but whose JSON does not say. It stands for the zero value of whatever type the field
    /// has in Go: false, empty, equal to any zero value, printed as the empty text, and its fields are absent as well.
    Absent,
    /// A boolean.
    Bool(bool),
    /// An integer: a literal, the result of a function, or a number in a struct.
    Int(i64),
    /// A floating-point number that a template or a function made. Prints as in Go: 1000000.0 is `1e+06`.
    Float(f64),
    /// A number of a plain map. Its kind is `float64`, as in Go, but a whole number prints without exponent, where Go
    /// would print `1e+06` for one million.
    Number(f64),
    /// A text.
    String(Text<'a>),
    /// A list.
    List(List<'a>),
    /// A map, or a struct that is addressed by its Go field names.
    Map(Map<'a>),
    /// A closed set of named values, usually the data of the whole template.
    Record(Arc<Record<'a>>),
}

/// A text: borrowed from JSON or from the template, or computed and shared.
#[derive(Clone)]
pub enum Text<'a> {
    /// Borrowed from what the value was made of.
    Borrowed(&'a str),
    /// Computed during the execution.
    Shared(Arc<str>),
}

/// How a JSON object is addressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// A map with arbitrary values and verbatim keys: Helm values, decoded JSON. Numbers are `float64`.
    Plain,
    /// A Go struct, addressed by Go field names: a pod, the mesh configuration. Whole numbers are integers.
    Struct,
    /// A map with verbatim keys inside a struct: labels, annotations, proxy metadata. An absent key indexes to the
    /// zero value.
    Entries,
}

// === impl Value ===

impl<'a> Value<'a> {
    /// A view of `json` as nested maps with verbatim keys, for Helm values and decoded annotations.
    pub fn plain(json: &'a Json) -> Self {
        Self::from_json(json, Shape::Plain)
    }

    /// A view of `json` as a Go struct: `.ServiceAccountName` finds `serviceAccountName`, absent fields are zero
    /// values, and fields such as `labels` are maps with verbatim keys.
    pub fn go_struct(json: &'a Json) -> Self {
        Self::from_json(json, Shape::Struct)
    }

    /// A view of `json` in the given shape.
    pub fn from_json(json: &'a Json, shape: Shape) -> Self {
        match json {
            Json::Null if shape == Shape::Plain => Self::Nil,
            Json::Null => Self::Absent,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) if shape == Shape::Plain => {
                Self::Number(number.as_f64().unwrap_or_default())
            }
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::from_json(items, shape)),
            Json::Object(entries) => Self::Map(Map::from_json(entries, shape)),
        }
    }

    /// A closed set of named values, addressed by exactly these names; asking for any other is an error.
    /// `type_name` is what errors call it.
    pub fn record(
        type_name: &'static str,
        fields: impl IntoIterator<Item = (&'static str, Self)>,
    ) -> Self {
        Self::Record(Arc::new(Record::new(type_name, fields)))
    }

    /// Whether it is a null or an absent key: what Go passes to functions as nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Missing | Self::Nil)
    }

    /// Go's truth: not the zero value of its kind, and not empty.
    pub fn truth(&self) -> bool {
        match self {
            Self::Missing | Self::Nil | Self::Absent => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) | Self::Number(number) => *number != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            // A struct is true even without fields; a map is not.
            Self::Map(map) => map.is_struct() || !map.is_empty(),
            Self::Record(_) => true,
        }
    }

    /// The name of its type as Go's `%T` prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil | Self::Absent => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) | Self::Number(_) => "float64",
            Self::String(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(map) => map.type_name(),
            Self::Record(record) => record.type_name(),
        }
    }

    /// The name of its kind as Go's `reflect` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil | Self::Absent => "invalid",
            Self::List(_) => "slice",
            Self::Map(map) if map.is_struct() => "struct",
            Self::Map(_) => "map",
            Self::Record(_) => "struct",
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Number(_) | Self::String(_) => {
                self.type_name()
            }
        }
    }

    /// The field `name`, following Go's rules for maps, structs and getters.
    ///
    /// # Errors
    /// When a null is asked for a field, or a value that has no fields is.
    pub(crate) fn field(&self, name: &FieldName) -> Result<Self, NoField> {
        match self {
            Self::Missing => Ok(Self::Missing),
            Self::Absent => Ok(name.zero()),
            Self::Nil => Err(NoField::OfNil),
            Self::Map(map) => Ok(map.field(name)),
            Self::Record(record) => record
                .get(name.go())
                .cloned()
                .ok_or(NoField::OfType(self.type_name())),
            // Wrapped scalars (`BoolValue`, enumerations) are plain scalars in JSON.
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Number(_) | Self::String(_)
                if name.is_identity() =>
            {
                Ok(self.clone())
            }
            Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Number(_)
            | Self::String(_)
            | Self::List(_) => Err(NoField::OfType(self.type_name())),
        }
    }

    /// How deeply collections are nested in it; 0 for a scalar.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            Self::List(list) => list.depth(),
            Self::Map(map) => map.depth(),
            Self::Record(record) => record.depth(),
            Self::Missing
            | Self::Nil
            | Self::Absent
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Number(_)
            | Self::String(_) => 0,
        }
    }

    /// Roughly how much memory the value itself takes, in bytes; what it shares with others counts once per use.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::List(list) => list.len().saturating_mul(size_of::<Self>()),
            Self::Map(map) => map.len().saturating_mul(2 * size_of::<Self>()),
            Self::Record(_)
            | Self::Missing
            | Self::Nil
            | Self::Absent
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Number(_) => 0,
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl<'a> From<Text<'a>> for Value<'a> {
    fn from(text: Text<'a>) -> Self {
        Self::String(text)
    }
}

// === impl Text ===

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Why a value has no such field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoField {
    /// The value is a null.
    OfNil,
    /// The value is of this type, which has no such field.
    OfType(&'static str),
}

//! What is known of a value before there is a pod.
//!
//! Made by the analyser at each step: the very value where it comes from the configuration or a constant, else its kind, else nothing.
//! Joining two of them never claims more than holds for both.

use std::{rc::Rc, sync::LazyLock};

use serde_json::{Value as Json, json};

use super::DATA;
use crate::{
    gotemplate::{ExecReason, Value},
    schema::Kind,
};

/// What is known of a value.
#[derive(Clone, Debug)]
pub(crate) enum Known<'a> {
    /// All.
    Value(Value<'a>, Origin),
    /// What it holds.
    Kind(Kind),
    /// The data of the whole template.
    Data(&'a Json),
    /// Nothing.
    Unknown,
}

/// Where a known value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This path below `.Values`.
    Values(Rc<[String]>),
    /// The template itself.
    Template,
}

/// Examples of an object without fields and with one.
static SAMPLES: LazyLock<Json> = LazyLock::new(|| json!([{}, {"a": "a"}, [], ["a"]]));

// === impl Known ===

impl<'a> Known<'a> {
    /// The data that templates are executed with, of which only the values are known.
    pub(crate) fn data(values: &'a Json) -> Self {
        Self::Data(values)
    }

    pub(super) fn nothing() -> Self {
        Self::Value(Value::Missing, Origin::Template)
    }

    pub(super) fn computed(value: Value<'a>) -> Self {
        Self::Value(value, Origin::Template)
    }

    /// A field of the data; `None` if it has no such field.
    pub(super) fn of_data(values: &'a Json, field: &str) -> Option<Self> {
        if field == "Values" {
            return Some(Self::Value(Value::plain(values), Origin::Values([].into())));
        }
        let known = DATA.iter().find(|(name, _)| *name == field)?;
        Some(Self::Kind(known.1.clone()))
    }

    pub(super) fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Value(_, origin) => Some(origin),
            _ => None,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Value(Value::Missing | Value::Nil, _))
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Value(Value::String(text), _) => Some(text),
            _ => None,
        }
    }

    /// Go's truth, where it is known.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Value(value, _) => Some(value.truth()),
            Self::Data(_) => Some(true),
            Self::Kind(_) | Self::Unknown => None,
        }
    }

    /// Why it cannot be looped over, if that is known.
    pub(super) fn refuses_range(&self, variables: usize) -> Option<ExecReason> {
        let type_name = match self {
            Self::Value(Value::Int(number), _) if variables > 1 => {
                return Some(ExecReason::RangeNumber(*number));
            }
            Self::Value(
                value @ (Value::Bool(_) | Value::Float(_) | Value::Number(_) | Value::String(_)),
                _,
            ) => value.type_name(),
            Self::Kind(Kind::Text | Kind::Enum) => "string",
            Self::Kind(Kind::Boolean) => "bool",
            Self::Kind(Kind::Float) => "float64",
            Self::Kind(Kind::Struct(name)) => name,
            Self::Data(_) => "SidecarTemplateData",
            _ => return None,
        };
        Some(ExecReason::Range(type_name))
    }

    /// What a loop goes through, with keys, if all of that is known and it is not too much.
    pub(super) fn items(&self, most: usize) -> Option<Vec<(Self, Self)>> {
        let Self::Value(value, origin) = self else {
            return None;
        };
        let below = |key: String| match origin {
            Origin::Values(path) => Origin::Values(path.iter().cloned().chain([key]).collect()),
            Origin::Template => Origin::Template,
        };
        match value {
            Value::List(list) if list.len() <= most => {
                let items = list.iter().enumerate().map(|(index, item)| {
                    let key = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    (
                        Self::computed(key),
                        Self::Value(item, below(format!("[{index}]"))),
                    )
                });
                Some(items.collect())
            }
            Value::Map(map) if !map.is_struct() && map.len() <= most => {
                let items = map.sorted().into_iter().map(|(key, item)| {
                    let origin = below(key.to_string());
                    (
                        Self::computed(Value::String(key)),
                        Self::Value(item, origin),
                    )
                });
                Some(items.collect())
            }
            Value::Missing | Value::Nil | Value::Absent | Value::Int(0) => Some(Vec::new()),
            _ => None,
        }
    }

    /// Key and item of any round of a loop over it.
    pub(super) fn element(&self) -> (Self, Self) {
        match self {
            Self::Kind(Kind::List(item)) => (Self::Kind(Kind::Integer), Self::of_kind(item)),
            Self::Kind(Kind::Map(item)) => (Self::Kind(Kind::Text), Self::of_kind(item)),
            Self::Kind(Kind::Integer) => (Self::Unknown, Self::Kind(Kind::Integer)),
            _ => (Self::Unknown, Self::Unknown),
        }
    }

    pub(super) fn of_kind(kind: &Kind) -> Self {
        match kind {
            Kind::Any | Kind::Quantity | Kind::Port => Self::Unknown,
            other => Self::Kind(other.clone()),
        }
    }

    /// The kind of a known value, where one word says it.
    fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Kind(kind) => kind.clone(),
            Self::Value(Value::Bool(_), _) => Kind::Boolean,
            Self::Value(Value::Int(_), _) => Kind::Integer,
            Self::Value(Value::Float(_), _) => Kind::Float,
            Self::Value(Value::String(_), _) => Kind::Text,
            _ => return None,
        })
    }

    /// Values that it may be, enough to try a function with.
    pub(super) fn samples(&self) -> Vec<Value<'a>> {
        let json = |index: usize| SAMPLES.get(index).unwrap_or(&Json::Null);
        let texts = || ["", "a", "1"].map(Value::from).to_vec();
        match self {
            Self::Value(value, _) => vec![value.clone()],
            Self::Kind(Kind::Text | Kind::Enum) => texts(),
            Self::Kind(Kind::Boolean) => vec![Value::Bool(true)],
            Self::Kind(Kind::Integer) => vec![Value::Int(1), Value::Int(0)],
            Self::Kind(Kind::Float) => vec![Value::Float(1.0)],
            Self::Kind(Kind::Struct(_)) => vec![Value::go_struct(json(0)), Value::Absent],
            Self::Kind(Kind::List(_)) => vec![Value::plain(json(3)), Value::Absent],
            Self::Kind(Kind::Map(_)) => vec![
                Value::from_json(json(1), crate::gotemplate::Shape::Entries),
                Value::Absent,
            ],
            Self::Kind(Kind::Any | Kind::Quantity | Kind::Port) | Self::Unknown | Self::Data(_) => {
                let mut all = texts();
                all.extend([
                    Value::Absent,
                    Value::Nil,
                    Value::Bool(true),
                    Value::Int(1),
                    Value::Number(1.0),
                    Value::plain(json(1)),
                    Value::plain(json(3)),
                    Value::from_json(json(1), crate::gotemplate::Shape::Entries),
                    Value::go_struct(json(0)),
                ]);
                all
            }
        }
    }
}

/// What holds for both.
pub(super) fn join<'a>(a: Known<'a>, b: &Known<'a>) -> Known<'a> {
    if let (Known::Data(_), Known::Data(_)) = (&a, b) {
        return a;
    }
    if let (Known::Value(x, of_x), Known::Value(y, of_y)) = (&a, b) {
        let is_same = match (x, y) {
            (Value::String(x), Value::String(y)) => x == y,
            (Value::Bool(x), Value::Bool(y)) => x == y,
            (Value::Int(x), Value::Int(y)) => x == y,
            (Value::Missing, Value::Missing) => true,
            // The same place in the values holds the same.
            _ => matches!((of_x, of_y), (Origin::Values(x), Origin::Values(y)) if x == y),
        };
        if is_same {
            return if of_x == of_y {
                a
            } else {
                Known::computed(x.clone())
            };
        }
    }
    match (a.kind(), b.kind()) {
        (Some(x), Some(y)) if x == y => Known::Kind(x),
        _ => Known::Unknown,
    }
}

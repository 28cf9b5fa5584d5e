//! What an injection adds to a pod, as far as it is the same for all pods, with expressions where it is not.
//!
//! Made of one result for each answer to what the templates ask; results that differ become one in which single fields or items have a condition.
//! Printed as CEL by `mutation`.

use serde_json::{Number, Value};

use super::cel::{self, Expr};
use crate::gotemplate::partial::MARK;

/// A value with conditions in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A text, number or boolean.
    Scalar(Expr),
    Map(Vec<Field>),
    List(Vec<Item>),
    /// One of two values.
    Either(Expr, Box<Self>, Box<Self>),
}

/// A field of a map, which is there if the condition holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) condition: Option<Expr>,
    pub(super) value: Node,
}

/// An item of a list, which is there if the condition holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) condition: Option<Expr>,
    pub(super) value: Node,
}

/// Fields by which items of lists are told apart.
const KEYS: [&str; 4] = ["name", "mountPath", "containerPort", "path"];

// === impl Node ===

impl Node {
    /// Reads JSON in whose texts marks stand for expressions; `None` where one stands in a key.
    pub(super) fn read(value: &Value, marks: &[Expr]) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Scalar(Expr::Null),
            Value::Bool(truth) => Self::Scalar(Expr::Bool(*truth)),
            Value::Number(number) => Self::Scalar(number_of(number)),
            Value::String(text) => Self::Scalar(unmarked(text, marks)),
            Value::Array(items) => Self::List(
                items
                    .iter()
                    .map(|item| {
                        Some(Item {
                            condition: None,
                            value: Self::read(item, marks)?,
                        })
                    })
                    .collect::<Option<_>>()?,
            ),
            Value::Object(fields) => Self::Map(
                fields
                    .iter()
                    .map(|(key, value)| {
                        Some(Field {
                            key: (!key.contains(MARK)).then(|| key.clone())?,
                            condition: None,
                            value: Self::read(value, marks)?,
                        })
                    })
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// One value that is `yes` if the condition holds, else `no`.
    pub(super) fn either(condition: &Expr, yes: Self, no: Self) -> Self {
        match (yes, no) {
            (yes, no) if yes == no => yes,
            (Self::Map(yes), Self::Map(no)) => Self::Map(either_fields(condition, yes, no)),
            (Self::List(yes), Self::List(no)) => Self::List(either_items(condition, yes, no)),
            (yes, no) => Self::Either(condition.clone(), Box::new(yes), Box::new(no)),
        }
    }

    /// A field's value, whatever its condition.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(fields) = self else { return None };
        let field = fields.iter().find(|field| field.key == key)?;
        Some(&field.value)
    }

    /// The fields, if it is a map.
    pub(super) fn fields(&self) -> &[Field] {
        match self {
            Self::Map(fields) => fields,
            _ => &[],
        }
    }

    /// The items, if it is a list.
    pub(super) fn items(&self) -> &[Item] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The name of a container, volume or variable.
    pub(super) fn name(&self) -> Option<&str> {
        match self.get("name")? {
            Self::Scalar(Expr::Text(name)) => Some(name),
            _ => None,
        }
    }

    /// The value in CEL; `path` names the type of an object after its place in the pod.
    pub(super) fn to_expr(&self, path: &str) -> Expr {
        match self {
            Self::Scalar(expr) => expr.clone(),
            Self::Either(condition, yes, no) => {
                let is_plain = matches!((&**yes, &**no), (Self::Scalar(_), Self::Scalar(_)));
                let (mut yes, mut no) = (yes.to_expr(path), no.to_expr(path));
                if !is_plain {
                    (yes, no) = (yes.apply("dyn"), no.apply("dyn"));
                }
                condition.clone().choose(yes, no)
            }
            Self::List(items) => {
                // Items of a list are of one type in CEL, which texts that depend on the pod do not have.
                let is_computed = |item: &Item| match &item.value {
                    Self::Scalar(expr) => !matches!(expr, Expr::Text(_)),
                    Self::Either(..) => true,
                    Self::Map(_) | Self::List(_) => false,
                };
                let is_mixed = items.iter().any(is_computed);
                let items = items.iter().map(|item| {
                    let value = item.value.to_expr(path);
                    let value = if is_mixed { value.apply("dyn") } else { value };
                    (item.condition.clone(), value)
                });
                conditional_list(items)
            }
            Self::Map(fields) => object(fields, path),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        KEYS.iter().any(|key| {
            let values = self.get(key).zip(other.get(key));
            values.is_some_and(|(one, other)| one == other)
        }) || self == other
    }
}

fn number_of(number: &Number) -> Expr {
    match number.as_i64() {
        Some(number) => Expr::Int(number),
        None => Expr::Double(number.as_f64().unwrap_or_default()),
    }
}

/// The expression of a text in which marks stand for expressions.
fn unmarked(text: &str, marks: &[Expr]) -> Expr {
    let [open, close] = MARK;
    let mut pieces = text.split(open);
    let first = Expr::text(pieces.next().unwrap_or_default());
    pieces.fold(first, |whole, piece| {
        let (index, rest) = piece.split_once(close).unwrap_or((piece, ""));
        let expr = index.parse().ok().and_then(|index: usize| marks.get(index));
        // What is no number is a name of our own, such as that of the author's containers.
        let expr = expr.map_or_else(|| Expr::text(format!("{open}{index}{close}")), Clone::clone);
        whole.plus(expr).plus(Expr::text(rest))
    })
}

fn both(condition: Expr, inner: Option<Expr>) -> Option<Expr> {
    Some(match inner {
        Some(inner) => condition.and(inner),
        None => condition,
    })
}

fn either_conditions(condition: &Expr, yes: Option<Expr>, no: Option<Expr>) -> Option<Expr> {
    if yes == no {
        return yes;
    }
    let or_true = |condition: Option<Expr>| condition.unwrap_or(Expr::Bool(true));
    Some(condition.clone().choose(or_true(yes), or_true(no)))
}

fn either_fields(condition: &Expr, yes: Vec<Field>, mut no: Vec<Field>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for field in yes {
        let at = no.iter().position(|other| other.key == field.key);
        fields.push(match at.map(|at| no.remove(at)) {
            Some(other) => Field {
                key: field.key,
                condition: either_conditions(condition, field.condition, other.condition),
                value: Node::either(condition, field.value, other.value),
            },
            None => Field {
                condition: both(condition.clone(), field.condition),
                ..field
            },
        });
    }
    fields.extend(no.into_iter().map(|field| Field {
        condition: both(condition.clone().not(), field.condition),
        ..field
    }));
    fields
}

fn either_items(condition: &Expr, yes: Vec<Item>, no: Vec<Item>) -> Vec<Item> {
    let mut items = Vec::new();
    let mut no = std::collections::VecDeque::from(no);
    let only_no = |item: Item| Item {
        condition: both(condition.clone().not(), item.condition),
        ..item
    };
    for item in yes {
        let at = no.iter().position(|other| other.value.is_like(&item.value));
        let Some(at) = at else {
            items.push(Item {
                condition: both(condition.clone(), item.condition),
                ..item
            });
            continue;
        };
        items.extend(no.drain(..at).map(only_no));
        if let Some(other) = no.pop_front() {
            items.push(Item {
                condition: either_conditions(condition, item.condition, other.condition),
                value: Node::either(condition, item.value, other.value),
            });
        }
    }
    items.extend(no.into_iter().map(only_no));
    items
}

/// A list of which some items are only there under a condition.
pub(super) fn conditional_list(items: impl IntoIterator<Item = (Option<Expr>, Expr)>) -> Expr {
    let mut parts: Vec<Expr> = Vec::new();
    for (condition, value) in items {
        match (condition, parts.last_mut()) {
            (None, Some(Expr::List(last))) => last.push(value),
            (None, _) => parts.push(Expr::List(vec![value])),
            (Some(condition), _) => {
                parts.push(condition.choose(Expr::List(vec![value]), Expr::List(Vec::new())));
            }
        }
    }
    let whole = parts
        .into_iter()
        .reduce(|whole, part| whole.binary(cel::Operator::Plus, part));
    whole.unwrap_or(Expr::List(Vec::new()))
}

fn object(fields: &[Field], path: &str) -> Expr {
    let value = |field: &Field| field.value.to_expr(&format!("{path}.{}", field.key));
    if !fields.is_empty() && fields.iter().all(|field| cel::is_name(&field.key)) {
        let fields = fields.iter().map(|field| {
            let (key, value) = (field.key.clone(), value(field));
            match &field.condition {
                None => (key, false, value),
                Some(condition) => {
                    let there = value.apply("dyn").apply("optional.of");
                    let none = Expr::Call(None, "optional.none", Vec::new());
                    (key, true, condition.clone().choose(there, none))
                }
            }
        });
        return Expr::Object(path.to_owned(), fields.collect());
    }
    // Keys that are no names make a map, which has no optional entries: there is one map for each case.
    let conditional = fields.iter().enumerate().find_map(|(field_idx, field)| {
        let condition = field.condition.clone()?;
        Some((field_idx, condition))
    });
    if let Some((field_idx, condition)) = conditional {
        let (mut with, mut without) = (fields.to_vec(), fields.to_vec());
        if let Some(field) = with.get_mut(field_idx) {
            field.condition = None;
        }
        without.remove(field_idx);
        return condition.choose(object(&with, path), object(&without, path));
    }
    // Values of one map are of one type in CEL.
    let entries = fields
        .iter()
        .map(|field| (Expr::text(&field.key), value(field).apply("dyn")));
    Expr::Map(entries.collect())
}

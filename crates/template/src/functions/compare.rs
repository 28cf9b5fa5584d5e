//! `eq` and its relatives.
//! Go's rules: only basic values of the same kind compare, everything else is an error that names both types, except
//! that nothing equals only nothing.
//! An absent field equals every zero value, and is ordered as the zero value of the other operand's kind.

use std::cmp::Ordering;

use super::FunctionError;
use super::arguments::{Given, Result, any, from};
use crate::gotemplate::limits::Limit;
use crate::gotemplate::{List, Map, Value};

/// `eq`: the first operand equals one of the others.
pub(super) fn eq<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let first = any(arguments, 0);
    for other in from(arguments, 1) {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(super) fn ne<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::Bool(!equal(any(arguments, 0), any(arguments, 1))?))
}

pub(super) fn lt<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    ordered(arguments, |order| order == Some(Ordering::Less))
}

pub(super) fn le<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    ordered(arguments, |order| {
        matches!(order, Some(Ordering::Less | Ordering::Equal))
    })
}

// Go defines these two as what the other two are not, which shows in numbers that are none.
pub(super) fn gt<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    ordered(arguments, |order| {
        !matches!(order, Some(Ordering::Less | Ordering::Equal))
    })
}

pub(super) fn ge<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    ordered(arguments, |order| order != Some(Ordering::Less))
}

/// Whether two values are the same all the way down, as `reflect.DeepEqual` says.
///
/// # Errors
/// When the values are so large that comparing them is not worth it.
pub(super) fn same(a: &Value<'_>, b: &Value<'_>) -> Result<bool> {
    let mut budget = MAX_COMPARISONS;
    same_within(a, b, &mut budget)
}

fn equal(a: &Value<'_>, b: &Value<'_>) -> Result<bool> {
    Ok(match (a, b) {
        (a, b) if a.is_nil() || b.is_nil() => a.is_nil() == b.is_nil(),
        (Value::Absent, other) | (other, Value::Absent) => !other.truth(),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Float(a) | Value::Number(a), Value::Float(b) | Value::Number(b)) => a == b,
        (Value::List(_) | Value::Map(_) | Value::Record(_), b) if a.kind() == b.kind() => {
            return Err(FunctionError::NotComparable(a.type_name()));
        }
        (a, b) => {
            return Err(FunctionError::Incompatible(a.type_name(), b.type_name()));
        }
    })
}

fn ordered<'a>(arguments: &[Value<'a>], holds: impl Fn(Option<Ordering>) -> bool) -> Given<'a> {
    let (a, b) = (any(arguments, 0), any(arguments, 1));
    let order = match (a, b) {
        (Value::Absent, Value::Absent) => Some(Ordering::Equal),
        (Value::Absent, Value::Int(b)) => Some(0.cmp(b)),
        (Value::Int(a), Value::Absent) => Some(a.cmp(&0)),
        (Value::Absent, Value::Float(b) | Value::Number(b)) => 0.0.partial_cmp(b),
        (Value::Float(a) | Value::Number(a), Value::Absent) => a.partial_cmp(&0.0),
        (Value::Absent, Value::String(b)) => Some("".cmp(b)),
        (Value::String(a), Value::Absent) => Some((**a).cmp("")),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a) | Value::Number(a), Value::Float(b) | Value::Number(b)) => {
            a.partial_cmp(b)
        }
        (Value::String(a), Value::String(b)) => Some((**a).cmp(&**b)),
        (a, b) if is_basic(a) && is_basic(b) && a.kind() != b.kind() => {
            return Err(FunctionError::Incompatible(a.type_name(), b.type_name()));
        }
        _ => return Err(FunctionError::NotOrdered),
    };
    Ok(Value::Bool(holds(order)))
}

fn is_basic(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Number(_) | Value::String(_)
    )
}

fn same_within(a: &Value<'_>, b: &Value<'_>, budget: &mut usize) -> Result<bool> {
    *budget = budget.checked_sub(1).ok_or(Limit::Work)?;
    Ok(match (a, b) {
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil)
        | (Value::Absent, Value::Absent) => true,
        (Value::Absent, other) | (other, Value::Absent) => !other.is_nil() && !other.truth(),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Float(a) | Value::Number(a), Value::Float(b) | Value::Number(b)) => a == b,
        (Value::List(a), Value::List(b)) => same_lists(a, b, budget)?,
        (Value::Map(a), Value::Map(b)) => same_maps(a, b, budget)?,
        _ => false,
    })
}

fn same_lists(a: &List<'_>, b: &List<'_>, budget: &mut usize) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !same_within(&a, &b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_maps(a: &Map<'_>, b: &Map<'_>, budget: &mut usize) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, value) in a.sorted() {
        match b.get(&key) {
            Some(other) if same_within(&value, &other, budget)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// How many pairs of values one comparison may look at.
const MAX_COMPARISONS: usize = 1 << 18;

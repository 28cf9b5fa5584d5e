//! Functions of lists.
//! A list never changes: each function gives a new one.

use crate::functions::arguments::{Given, Result, any, from, list, new_list, wrong};
use crate::functions::compare::same;
use crate::functions::sprig::text::to_strings;
use crate::gotemplate::Value;

pub(super) fn list_of<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    new_list(arguments.to_vec())
}

pub(super) fn append<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut items = items(arguments, 0)?;
    items.push(any(arguments, 1).clone());
    new_list(items)
}

pub(super) fn prepend<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut items = items(arguments, 0)?;
    items.insert(0, any(arguments, 1).clone());
    new_list(items)
}

pub(super) fn concat<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut all = Vec::new();
    for index in 0..arguments.len() {
        all.append(&mut items(arguments, index)?);
    }
    new_list(all)
}

pub(super) fn first<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(list(arguments, 0)?.get(0).unwrap_or(Value::Nil))
}

pub(super) fn last<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(list(arguments, 0)?.iter().next_back().unwrap_or(Value::Nil))
}

/// All but the first.
pub(super) fn rest<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    new_list(list(arguments, 0)?.iter().skip(1).collect())
}

/// All but the last.
pub(super) fn initial<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut items = items(arguments, 0)?;
    items.pop();
    new_list(items)
}

pub(super) fn reverse<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    new_list(list(arguments, 0)?.iter().rev().collect())
}

/// The elements as texts, in order.
pub(super) fn sort_alpha<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let texts = to_strings(arguments)?;
    let mut items = items(&[texts], 0)?;
    items.sort_by(|a, b| match (a, b) {
        (Value::String(a), Value::String(b)) => (**a).cmp(&**b),
        _ => std::cmp::Ordering::Equal,
    });
    new_list(items)
}

/// Without empty elements.
pub(super) fn compact<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    new_list(list(arguments, 0)?.iter().filter(Value::truth).collect())
}

/// Without elements that were there before.
pub(super) fn uniq<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in list(arguments, 0)?.iter() {
        if !is_in(&item, &kept)? {
            kept.push(item);
        }
    }
    new_list(kept)
}

/// `without list value…`.
pub(super) fn without<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let unwanted = from(arguments, 1);
    let mut kept = Vec::new();
    for item in list(arguments, 0)?.iter() {
        if !is_in(&item, unwanted)? {
            kept.push(item);
        }
    }
    new_list(kept)
}

/// `has value list`.
pub(super) fn has<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let haystack = any(arguments, 1);
    if haystack.is_nil() {
        return Ok(Value::Bool(false));
    }
    for item in list(arguments, 1)?.iter() {
        if same(any(arguments, 0), &item)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn items<'a>(arguments: &[Value<'a>], index: usize) -> Result<Vec<Value<'a>>> {
    match any(arguments, index) {
        value if value.is_nil() => Err(wrong("slice", value)),
        _ => Ok(list(arguments, index)?.iter().collect()),
    }
}

fn is_in(item: &Value<'_>, items: &[Value<'_>]) -> Result<bool> {
    for other in items {
        if same(other, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

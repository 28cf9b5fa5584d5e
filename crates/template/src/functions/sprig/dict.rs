//! Functions of maps.
//! A map never changes: `set` and its like give a new one, which the executor puts into the variable that held the
//! old one.

use std::collections::BTreeMap;

use crate::functions::arguments::wrong;
use crate::functions::arguments::{Given, Result, any, from, map, new_list, text};
use crate::gotemplate::limits::Limit;
use crate::gotemplate::{Map, Value, print};

type Entries<'a> = BTreeMap<Box<str>, Value<'a>>;

/// `dict key value…`; a key without value has the empty text.
pub(super) fn dict<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut entries = Entries::new();
    for pair in arguments.chunks(2) {
        let key = print::text(any(pair, 0))?.into_owned().into_boxed_str();
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::from(""));
        entries.insert(key, value);
    }
    new_map(entries)
}

pub(super) fn get<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let value = map(arguments, 0)?.get(&text(arguments, 1)?);
    Ok(value.unwrap_or_else(|| Value::from("")))
}

pub(super) fn has_key<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let value = map(arguments, 0)?.get(&text(arguments, 1)?);
    Ok(Value::Bool(value.is_some()))
}

pub(super) fn set<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    if any(arguments, 0).is_nil() {
        return Err(wrong("map", any(arguments, 0)));
    }
    let mut entries = map(arguments, 0)?.to_entries();
    entries.insert((&*text(arguments, 1)?).into(), any(arguments, 2).clone());
    new_map(entries)
}

pub(super) fn unset<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut entries = map(arguments, 0)?.to_entries();
    entries.remove(&*text(arguments, 1)?);
    new_map(entries)
}

pub(super) fn keys<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut all = Vec::new();
    for index in 0..arguments.len() {
        let entries = map(arguments, index)?.sorted();
        all.extend(entries.into_iter().map(|(key, _)| Value::String(key)));
    }
    new_list(all)
}

pub(super) fn values<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let entries = map(arguments, 0)?.sorted();
    new_list(entries.into_iter().map(|(_, value)| value).collect())
}

/// `pick map key…`: only these keys.
pub(super) fn pick<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let all = map(arguments, 0)?;
    let mut entries = Entries::new();
    for index in 1..arguments.len() {
        let key = text(arguments, index)?;
        if let Some(value) = all.get(&key) {
            entries.insert((&*key).into(), value);
        }
    }
    new_map(entries)
}

/// `omit map key…`: all but these keys.
pub(super) fn omit<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut entries = map(arguments, 0)?.to_entries();
    for index in 1..arguments.len() {
        entries.remove(&*text(arguments, index)?);
    }
    new_map(entries)
}

/// `merge map map…`: what a map has that the ones before it do not have, or have empty.
pub(super) fn merge<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    merge_all(arguments, |old, new| !old.truth() && new.truth())
}

/// `mergeOverwrite map map…`: later maps win, unless their value is empty.
pub(super) fn merge_overwrite<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    merge_all(arguments, |_, new| new.truth())
}

/// Whether a new value takes the place of an old one.
type Wins = fn(&Value<'_>, &Value<'_>) -> bool;

fn merge_all<'a>(arguments: &[Value<'a>], wins: Wins) -> Given<'a> {
    let mut merged = map(arguments, 0)?;
    let mut budget = MAX_MERGED;
    for (index, _) in from(arguments, 1).iter().enumerate() {
        merged = merge_two(&merged, &map(arguments, index + 1)?, wins, &mut budget)?;
    }
    Ok(Value::Map(merged))
}

fn merge_two<'a>(old: &Map<'a>, new: &Map<'a>, wins: Wins, budget: &mut usize) -> Result<Map<'a>> {
    let cost = old.len().saturating_add(new.len());
    *budget = budget.checked_sub(cost).ok_or(Limit::Work)?;
    let mut entries = old.to_entries();
    for (key, value) in new.sorted() {
        let merged = match (entries.get(&*key), value) {
            (None, value) => value,
            (Some(Value::Map(old)), Value::Map(new)) => {
                Value::Map(merge_two(old, &new, wins, budget)?)
            }
            (Some(old), value) if wins(old, &value) => value,
            (Some(_), _) => continue,
        };
        entries.insert((&*key).into(), merged);
    }
    Ok(Map::new(entries)?)
}

fn new_map(entries: Entries<'_>) -> Given<'_> {
    Ok(Value::Map(Map::new(entries)?))
}

/// How many entries one call may look at.
const MAX_MERGED: usize = 1 << 18;

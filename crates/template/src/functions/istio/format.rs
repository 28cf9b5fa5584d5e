//! Values as JSON and YAML text.
//! Templates put structured configuration into a manifest with these; the YAML is indented by the template.

use std::collections::BTreeMap;

use crate::functions::arguments::{Given, Result, any};
use crate::functions::json::{self, Style};
use crate::gotemplate::limits::{Limit, MAX_TEXT};
use crate::gotemplate::{List, Map, Value};

/// JSON; nothing is an empty object.
pub(super) fn to_json<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    match any(arguments, 0) {
        Value::Missing | Value::Nil | Value::Absent => Ok(Value::from("{}")),
        value => Ok(Value::from(json::to_text(value, Style::Compact)?)),
    }
}

/// Block-style YAML with a line feed at the end.
pub(super) fn to_yaml<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut text = crate::yaml::to_string(&json::encode(any(arguments, 0))?);
    if text.len() > MAX_TEXT {
        return Err(Limit::Text.into());
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(Value::from(text))
}

/// The value without nulls, and without the maps and lists that held nothing else.
pub(super) fn omit_nil<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut budget = MAX_VISITED;
    Ok(without_nil(any(arguments, 0), &mut budget)?.unwrap_or(Value::Nil))
}

/// None for what is to be left out. Empty collections that never held a null stay.
fn without_nil<'a>(value: &Value<'a>, budget: &mut usize) -> Result<Option<Value<'a>>> {
    *budget = budget.checked_sub(1).ok_or(Limit::Work)?;
    match value {
        Value::Missing | Value::Nil | Value::Absent => Ok(None),
        Value::Map(map) => {
            let all = map.sorted();
            let mut kept = BTreeMap::new();
            for (key, item) in &all {
                if let Some(item) = without_nil(item, budget)? {
                    kept.insert(Box::from(&**key), item);
                }
            }
            if kept.is_empty() && !all.is_empty() {
                return Ok(None);
            }
            Ok(Some(Value::Map(Map::new(kept)?)))
        }
        Value::List(list) => {
            let mut kept = Vec::new();
            for item in list.iter() {
                kept.extend(without_nil(&item, budget)?);
            }
            if kept.is_empty() && !list.is_empty() {
                return Ok(None);
            }
            Ok(Some(Value::List(List::new(kept)?)))
        }
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Record(_) => Ok(Some(value.clone())),
    }
}

/// How many values one call may look at.
const MAX_VISITED: usize = 1 << 18;

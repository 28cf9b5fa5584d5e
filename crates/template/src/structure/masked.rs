//! Functions that are called with disguised texts.
//!
//! The second rendering has to take the same branches and make lists of the same lengths as the first, so what compares, parses or cuts texts sees
//! them as they are; what writes texts sees them in disguise, and so passes the disguise on into the result.
//! A function that is not named here is of the latter kind.

use std::collections::BTreeMap;

use super::disguise::{disguise, is_harmless, reveal};
use crate::{
    functions::{Body, Function, FunctionError},
    gotemplate::{List, Map, Observer, Value},
};

/// Steps in where a template is executed with disguised data.
pub(super) struct Masked;

/// What a function does with texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It answers a question about them.
    Asks,
    /// It makes new values of them, in which nothing but them is.
    Parses,
    /// It makes a text that may hold anything, even of a harmless one.
    Decodes,
    /// It finds a value by a key.
    LooksUp,
    /// It gives a part of a text.
    Cuts,
    /// It puts one text in the place of another.
    Replaces,
}

type Given<'a> = Result<Value<'a>, FunctionError>;

// === impl Masked ===

impl Observer for Masked {
    fn call<'a>(&self, function: &Function, body: Body, arguments: &[Value<'a>]) -> Given<'a> {
        let Some(manner) = Manner::of(function.name()) else {
            return body(arguments);
        };
        let mut is_revealed = false;
        let plain: Vec<Value<'a>> = arguments
            .iter()
            .map(|argument| revealed(argument, &mut is_revealed))
            .collect::<Result<_, _>>()?;
        match manner {
            Manner::Decodes => disguised(&body(&plain)?),
            Manner::Replaces => replaced(body, arguments),
            _ if !is_revealed => body(arguments),
            Manner::Asks => body(&plain),
            Manner::Parses => disguised(&body(&plain)?),
            Manner::LooksUp => match body(arguments)? {
                nothing if !nothing.truth() => body(&plain),
                found => Ok(found),
            },
            Manner::Cuts => {
                let whole = arguments
                    .iter()
                    .filter_map(text)
                    .max_by_key(|text| text.len());
                Ok(cut(whole.unwrap_or_default(), body(&plain)?))
            }
        }
    }

    fn print(&self, _value: &Value<'_>) {}
}

// === impl Manner ===

impl Manner {
    fn of(function: &str) -> Option<Self> {
        Some(match function {
            "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "contains" | "hasPrefix" | "hasSuffix"
            | "has" | "len" | "atoi" | "int" | "int64" | "float64" => Self::Asks,
            "fromJSON"
            | "fromJson"
            | "split"
            | "splitList"
            | "b64enc"
            | "excludeInboundPort"
            | "appendMultusNetwork"
            | "without"
            | "uniq" => Self::Parses,
            "b64dec" => Self::Decodes,
            "annotation" | "index" | "isset" | "get" | "hasKey" => Self::LooksUp,
            "trim" | "trimAll" | "trimPrefix" | "trimSuffix" | "trunc" | "substr" | "slice"
            | "directory" => Self::Cuts,
            "replace" => Self::Replaces,
            _ => return None,
        })
    }
}

fn text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The value as it is; of lists, the texts in them.
fn revealed<'a>(value: &Value<'a>, is_revealed: &mut bool) -> Given<'a> {
    match value {
        Value::String(text) => Ok(match reveal(text) {
            Some(plain) => {
                *is_revealed = true;
                Value::from(plain)
            }
            None => value.clone(),
        }),
        Value::List(list) => {
            let mut is_inside = false;
            let items = list.iter().map(|item| match &item {
                Value::String(_) => revealed(&item, &mut is_inside),
                _ => Ok(item),
            });
            let items = items.collect::<Result<Vec<_>, _>>()?;
            *is_revealed |= is_inside;
            Ok(if is_inside {
                Value::List(List::new(items)?)
            } else {
                value.clone()
            })
        }
        _ => Ok(value.clone()),
    }
}

/// The value with its texts in disguise, keys included.
fn disguised<'a>(value: &Value<'a>) -> Given<'a> {
    Ok(match value {
        Value::String(text) if is_harmless(text) => value.clone(),
        Value::String(text) => Value::from(disguise(text)),
        Value::List(list) => {
            let items: Result<Vec<_>, _> = list.iter().map(|item| disguised(&item)).collect();
            Value::List(List::new(items?)?)
        }
        Value::Map(map) => {
            let entry = |(key, item): (crate::gotemplate::Text<'a>, Value<'a>)| {
                let key = if is_harmless(&key) {
                    key.to_string()
                } else {
                    disguise(&key)
                };
                Ok::<_, FunctionError>((key.into_boxed_str(), disguised(&item)?))
            };
            let entries: Result<BTreeMap<_, _>, _> = map.sorted().into_iter().map(entry).collect();
            Value::Map(Map::new(entries?)?)
        }
        other => other.clone(),
    })
}

/// The part of the disguised `whole` that `part` is of the revealed one.
fn cut<'a>(whole: &str, part: Value<'a>) -> Value<'a> {
    let Some(plain) = text(&part) else {
        return part;
    };
    let place = reveal(whole).and_then(|open| {
        let at = open.find(plain)?;
        Some(open.get(..at)?.chars().count())
    });
    match place {
        Some(skipped) => {
            let letters = whole.chars().skip(skipped);
            Value::from(letters.take(plain.chars().count()).collect::<String>())
        }
        None => Value::from(disguise(plain)),
    }
}

/// What is replaced may be in disguise or not; what takes its place is the template's.
fn replaced<'a>(body: Body, arguments: &[Value<'a>]) -> Given<'a> {
    let once = body(arguments)?;
    let [old, new, _] = arguments else {
        return Ok(once);
    };
    match text(old).map(disguise) {
        Some(hidden) if text(old) != Some(&hidden) => {
            body(&[Value::from(hidden), new.clone(), once])
        }
        _ => Ok(once),
    }
}

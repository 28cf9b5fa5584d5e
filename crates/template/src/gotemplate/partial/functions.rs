//! The functions that can be said about what is not known.
//! Called for each call with an argument that depends on the pod; with known arguments the functions themselves are called.
//! What is not here is beyond CEL, or has not been needed; the execution then stops with the function's name.

use contract::pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER};

use super::{Executed, Executor, Listing, Part, Symbol};
use crate::gotemplate::print;
use crate::gotemplate::tree::Span;
use crate::gotemplate::value::Value;
use crate::policy::cel::{Expr, Operator};
use crate::policy::facts;

/// Containers that injection adds; pods that have one already are not the policy's.
const ADDED: [&str; 3] = [INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER];

// === impl Executor ===

impl<'a> Executor<'a> {
    pub(super) fn function(
        &self,
        name: &'static str,
        arguments: &[Symbol<'a>],
        span: &Span,
    ) -> Executed<Symbol<'a>> {
        let said = match name {
            "eq" | "ne" | "not" | "contains" | "hasPrefix" | "hasSuffix" | "ternary" => {
                self.question(name, arguments, span)?
            }
            "printf" => self.printf(arguments),
            "default" | "valueOrDefault" => self.default(name, arguments, span)?,
            "annotation" | "index" | "isset" => self.lookup(name, arguments),
            _ => of_texts(name, arguments),
        };
        said.ok_or_else(|| {
            let of: Vec<&Symbol<'a>> = arguments.iter().collect();
            let what = format!("gives {name} what depends on the pod");
            self.beyond(span, what, &of)
        })
    }

    fn question(
        &self,
        name: &str,
        arguments: &[Symbol<'a>],
        span: &Span,
    ) -> Executed<Option<Symbol<'a>>> {
        let texts: Option<Vec<Expr>> = arguments.iter().map(text).collect();
        let truth = match (name, arguments, texts.as_deref()) {
            ("eq" | "ne", _, Some([left, others @ ..])) if !others.is_empty() => {
                let is_one = others.iter().fold(Expr::Bool(false), |known, other| {
                    known.or(is_equal(left, other))
                });
                if name == "eq" { is_one } else { is_one.not() }
            }
            ("not", [value], _) => match value {
                Symbol::Text(text) => text.clone().equals(Expr::text("")),
                Symbol::Truth(truth) => truth.clone().not(),
                other => Expr::Bool(!self.truth(other, span)?),
            },
            ("contains", _, Some([part, whole])) => whole.clone().call("contains", [part.clone()]),
            ("hasPrefix", _, Some([part, whole])) => {
                whole.clone().call("startsWith", [part.clone()])
            }
            ("hasSuffix", _, Some([part, whole])) => whole.clone().call("endsWith", [part.clone()]),
            ("ternary", [then, otherwise, condition], _) => {
                let holds = self.truth(condition, span)?;
                return Ok(Some(if holds { then } else { otherwise }.clone()));
            }
            _ => return Ok(None),
        };
        Ok(Some(match truth {
            Expr::Bool(truth) => Symbol::Known(Value::Bool(truth)),
            truth => Symbol::Truth(truth),
        }))
    }

    fn default(
        &self,
        name: &str,
        arguments: &[Symbol<'a>],
        span: &Span,
    ) -> Executed<Option<Symbol<'a>>> {
        let [first, second] = arguments else {
            return Ok(None);
        };
        let (value, fallback) = if name == "default" {
            (second, first)
        } else {
            (first, second)
        };
        Ok(match value {
            Symbol::Known(known) => {
                let is_given = match known {
                    Value::String(text) => !text.is_empty(),
                    other if name == "default" => other.truth(),
                    other => !other.is_nil() && !matches!(other, Value::Absent),
                };
                Some(if is_given { value } else { fallback }.clone())
            }
            Symbol::Text(given) => text(fallback).map(|fallback| {
                let is_given = given.clone().differs(Expr::text(""));
                Symbol::Text(is_given.choose(given.clone(), fallback))
            }),
            other => {
                let is_given = self.truth(other, span)?;
                Some(if is_given { value } else { fallback }.clone())
            }
        })
    }

    /// Labels and annotations by key.
    fn lookup(&self, name: &str, arguments: &[Symbol<'a>]) -> Option<Symbol<'a>> {
        if let ("index", [Symbol::Texts(listing), Symbol::Known(Value::Int(0))]) = (name, arguments)
        {
            return listing.first().map(Symbol::Text);
        }
        let [
            Symbol::Part(of),
            Symbol::Known(Value::String(key)),
            rest @ ..,
        ] = arguments
        else {
            return None;
        };
        let (map, is_absent) = match (name, of) {
            ("annotation", Part::ObjectMeta) | (_, Part::Annotations) => (
                facts::annotations(),
                self.assumptions.absent.contains(&**key),
            ),
            (_, Part::Labels) => (facts::labels(), false),
            _ => return None,
        };
        let default = match (name, rest) {
            ("isset", []) if is_absent => return Some(Symbol::Known(Value::Bool(false))),
            ("isset", []) => return Some(Symbol::Truth(facts::has_key(key, map))),
            ("index", []) if is_absent => return Some(Symbol::Known(Value::Absent)),
            ("index", []) => Expr::text(""),
            // An absent annotation gives the fallback as a text.
            ("annotation", [Symbol::Known(fallback)]) => {
                let fallback = print::text(fallback).ok()?.into_owned();
                if is_absent {
                    return Some(Symbol::Known(Value::from(fallback)));
                }
                Expr::Text(fallback)
            }
            ("annotation", [fallback]) if is_absent => return Some(fallback.clone()),
            ("annotation", [fallback]) => text(fallback)?,
            _ => return None,
        };
        Some(Symbol::Text(facts::entry(map, key, default)))
    }

    /// `printf` with verbs `%s`, `%v` and `%d` only, each alone in its turn.
    fn printf(&self, arguments: &[Symbol<'a>]) -> Option<Symbol<'a>> {
        let [Symbol::Known(Value::String(format)), values @ ..] = arguments else {
            return None;
        };
        let mut values = values.iter();
        let mut result = Expr::text("");
        let mut pieces = format.split('%');
        result = result.plus(Expr::text(pieces.next()?));
        while let Some(piece) = pieces.next() {
            let mut letters = piece.chars();
            result = match letters.next() {
                Some('s' | 'v' | 'd') => result
                    .plus(text(values.next()?)?)
                    .plus(Expr::text(letters.as_str())),
                // `%%`: what follows begins after the second of them.
                None => result.plus(Expr::text(format!("%{}", pieces.next()?))),
                Some(_) => return None,
            };
        }
        values.next().is_none().then_some(Symbol::Text(result))
    }
}

/// A value as a text, where it is one or is printed as one.
fn text(symbol: &Symbol<'_>) -> Option<Expr> {
    match symbol {
        Symbol::Text(text) => Some(text.clone()),
        Symbol::Known(value @ (Value::String(_) | Value::Int(_) | Value::Number(_))) => {
            Some(Expr::text(print::text(value).ok()?))
        }
        Symbol::Known(Value::Absent) => Some(Expr::text("")),
        _ => None,
    }
}

/// Equality, which is known for a container's name: pods with containers that injection adds are ruled out.
fn is_equal(left: &Expr, right: &Expr) -> Expr {
    let name = Expr::Name(facts::CONTAINER).field("name");
    let is_added = |expr: &Expr| matches!(expr, Expr::Text(text) if ADDED.contains(&text.as_str()));
    if (*left == name && is_added(right)) || (*right == name && is_added(left)) {
        return Expr::Bool(false);
    }
    match (left, right) {
        (Expr::Text(left), Expr::Text(right)) => Expr::Bool(left == right),
        _ => left.clone().equals(right.clone()),
    }
}

fn of_texts<'a>(name: &str, arguments: &[Symbol<'a>]) -> Option<Symbol<'a>> {
    let made = match (name, arguments) {
        ("quote", [Symbol::Text(value)]) => return Some(Symbol::Quoted(value.clone())),
        ("list" | "append", _) => return listing(name, arguments).map(Symbol::Texts),
        ("join", [Symbol::Known(Value::String(separator)), list]) => {
            Listing::of(list)?.join(separator)
        }
        ("structToJSON" | "toJSON", [Symbol::Part(Part::Port)]) => {
            facts::port_json(&Expr::Name(facts::PORT))
        }
        ("structToJSON" | "toJSON", [Symbol::Part(Part::GracePeriod)]) => {
            facts::grace_period().apply("string")
        }
        ("toString", [Symbol::Text(value)]) => value.clone(),
        ("toLower" | "lower", [Symbol::Text(value)]) => value.clone().call("lowerAscii", []),
        ("upper", [Symbol::Text(value)]) => value.clone().call("upperAscii", []),
        ("trunc", [Symbol::Known(Value::Int(most)), Symbol::Text(value)]) if *most >= 0 => {
            let most = Expr::Int(*most);
            let is_long = value
                .clone()
                .apply("size")
                .binary(Operator::Greater, most.clone());
            let cut = value.clone().call("substring", [Expr::Int(0), most]);
            is_long.choose(cut, value.clone())
        }
        ("trimAll", [Symbol::Known(Value::String(set)), Symbol::Text(value)]) => {
            value.clone().call("find", [Expr::Text(trimmed(set)?)])
        }
        _ => return None,
    };
    Some(Symbol::Text(made))
}

/// The regular expression of what is left of a text without these characters at either end.
fn trimmed(set: &str) -> Option<String> {
    if set.is_empty() {
        return None;
    }
    let escaped: String = set
        .chars()
        .flat_map(|letter| {
            let escape = (letter.is_ascii_punctuation()).then_some('\\');
            escape.into_iter().chain([letter])
        })
        .collect();
    Some(format!("(?s)[^{escaped}](.*[^{escaped}])?"))
}

fn listing(name: &str, arguments: &[Symbol<'_>]) -> Option<Listing> {
    let (mut listing, added) = match (name, arguments) {
        ("append", [list, item]) => (Listing::of(list)?, std::slice::from_ref(item)),
        ("list", items) => (Listing::default(), items),
        _ => return None,
    };
    for item in added {
        listing.push(text(item)?);
    }
    Some(listing)
}

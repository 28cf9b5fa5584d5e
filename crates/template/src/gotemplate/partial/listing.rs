//! Lists of texts that depend on the pod's containers.
//! Templates make them by appending in loops, and join them; CEL has no loops, but comprehensions.
//! A listing keeps how it was made, so that both can be said.

use super::Symbol;
use crate::gotemplate::print;
use crate::gotemplate::value::Value;
use crate::policy::cel::Expr;
use crate::policy::facts;

/// A list of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listing(Vec<Entry>);

#[derive(Clone, Debug, PartialEq)]
enum Entry {
    /// One text.
    One(Expr),
    /// For each item of a list, which the variable stands for, these.
    Each(Expr, &'static str, Listing),
}

// === impl Listing ===

impl Listing {
    /// A list that a template computes with, if it is one of texts.
    pub(super) fn of(symbol: &Symbol<'_>) -> Option<Self> {
        match symbol {
            Symbol::Texts(listing) => Some(listing.clone()),
            Symbol::Known(Value::List(list)) => {
                let text =
                    |value: Value<'_>| Some(Entry::One(Expr::text(print::text(&value).ok()?)));
                list.iter().map(text).collect::<Option<_>>().map(Self)
            }
            _ => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, text: Expr) {
        self.0.push(Entry::One(text));
    }

    /// What was appended to `earlier` to make this.
    pub(super) fn after(&self, earlier: &Self) -> Option<Self> {
        let added = self.0.strip_prefix(earlier.0.as_slice())?;
        Some(Self(added.to_vec()))
    }

    /// This, and `added` for each item of a list.
    pub(super) fn with_each(mut self, list: Expr, name: &'static str, added: Self) -> Self {
        self.0.push(Entry::Each(list, name, added));
        self
    }

    /// Whether it has an element whatever the pod; `None` where that depends on the pod.
    pub(super) fn is_never_empty(&self) -> Option<bool> {
        if self.0.is_empty() {
            return Some(false);
        }
        let is_sure = |entry: &Entry| match entry {
            Entry::One(_) => true,
            Entry::Each(list, _, inner) => {
                *list == facts::containers() && inner.is_never_empty() == Some(true)
            }
        };
        self.0.iter().any(is_sure).then_some(true)
    }

    /// The first element, where there is one for sure.
    pub(super) fn first(&self) -> Option<Expr> {
        match self.0.first()? {
            Entry::One(text) => Some(text.clone()),
            Entry::Each(list, name, inner) => match inner.0.as_slice() {
                [Entry::One(text), ..] if *list == facts::containers() => {
                    let map = list.clone().call("map", [Expr::Name(name), text.clone()]);
                    Some(map.at(Expr::Int(0)))
                }
                _ => None,
            },
        }
    }

    /// The elements as one text with `separator` between two of them; no element is an empty text.
    pub(super) fn join(&self, separator: &str) -> Expr {
        let separating = || Expr::text(separator);
        let pieces: Vec<Expr> = self
            .0
            .iter()
            .map(|entry| match entry {
                Entry::One(text) => text.clone(),
                Entry::Each(list, name, inner) => {
                    let item = inner.join(separator);
                    let all = list.clone().call("map", [Expr::Name(name), item]);
                    let is_one = matches!(inner.0.as_slice(), [Entry::One(_)]);
                    let all = if is_one { all } else { without_empty(all) };
                    all.call("join", [separating()])
                }
            })
            .collect();
        match <[Expr; 1]>::try_from(pieces) {
            Ok([piece]) => piece,
            Err(pieces) if pieces.is_empty() => Expr::text(""),
            Err(pieces) => without_empty(Expr::List(pieces)).call("join", [separating()]),
        }
    }

    /// The expressions of its elements.
    pub(super) fn expressions(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        Box::new(self.0.iter().flat_map(|entry| match entry {
            Entry::One(text) => Box::new(std::iter::once(text)),
            Entry::Each(_, _, inner) => inner.expressions(),
        }))
    }
}

fn without_empty(list: Expr) -> Expr {
    let is_there = Expr::Name(facts::PIECE).differs(Expr::text(""));
    list.call("filter", [Expr::Name(facts::PIECE), is_there])
}

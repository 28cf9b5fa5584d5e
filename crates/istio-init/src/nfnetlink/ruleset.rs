//! A table of nf_tables as a value: what a plan wants, or what the kernel has.
//!
//! Made by [`lower`](super::lower) and by the reader; pure. Two rulesets are the same if every
//! packet fares the same: counters, handles and the order in which chains and sets are listed do
//! not matter.

use std::collections::BTreeMap;

use super::expression::Expression;

/// The one table of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ruleset {
    /// The table's flags: 0, unless somebody switched it off.
    pub(super) flags: u32,
    /// Its sets, in the order in which they are made.
    pub(super) sets: Vec<Set>,
    /// Its chains, in the order in which they are made.
    pub(super) chains: Vec<Chain>,
}

/// A set and its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(super) name: String,
    pub(super) flags: u32,
    pub(super) key_type: u32,
    pub(super) key_length: u32,
    /// Sorted.
    pub(super) elements: Vec<Element>,
}

/// A value of a set; in a set of intervals, where one begins or the first value behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) is_end: bool,
}

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(super) name: String,
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Vec<Expression>>,
}

/// How a chain hangs on the kernel's packet path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(super) kind: String,
    pub(super) hook: u32,
    /// In two's complement.
    pub(super) priority: u32,
    pub(super) policy: u32,
}

// === impl Ruleset ===

impl Ruleset {
    /// How many rules there are in all chains.
    pub(crate) fn n_rules(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// The first chain of `self` that is another one in `other`, and the position of the first rule
    /// in it that is; else the name of a set or chain that differs.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<(String, usize)> {
        for chain in &self.chains {
            let same = |known: &&Chain| known.name == chain.name && known.base == chain.base;
            let Some(found) = other.chains.iter().find(same) else {
                return Some((chain.name.clone(), 0));
            };
            if chain.rules != found.rules {
                let pairs = chain.rules.iter().zip(&found.rules);
                let n_equal = pairs.take_while(|(ours, theirs)| ours == theirs).count();
                return Some((chain.name.clone(), n_equal));
            }
        }
        let differs = |set: &&Set| !other.sets.contains(set);
        let set = self.sets.iter().find(differs).map(|set| &set.name);
        let is_new = |chain: &&Chain| !self.chains.iter().any(|known| known.name == chain.name);
        let name = set.or_else(|| other.chains.iter().find(is_new).map(|chain| &chain.name));
        let whole = || (self != other).then(|| (String::new(), 0));
        name.map(|name| (name.clone(), usize::MAX)).or_else(whole)
    }
}

impl PartialEq for Ruleset {
    fn eq(&self, other: &Self) -> bool {
        let sets = |ruleset: &Self| {
            by_name(
                ruleset
                    .sets
                    .iter()
                    .map(|set| (set.name.clone(), set.clone())),
            )
        };
        let chains = |ruleset: &Self| {
            by_name(
                ruleset
                    .chains
                    .iter()
                    .map(|chain| (chain.name.clone(), chain.clone())),
            )
        };
        self.flags == other.flags && sets(self) == sets(other) && chains(self) == chains(other)
    }
}

impl Eq for Ruleset {}

fn by_name<T>(named: impl Iterator<Item = (String, T)>) -> BTreeMap<String, T> {
    named.collect()
}

//! Rules as `iptables-save` prints them, and which of them are ours.
//!
//! Called by [`script`](super::script) with what is there and with what a plan prints, so that both
//! have one form; pure. Two lines are the same rule if their options are, however they are ordered
//! and written: the programs print another text than the one that they were given.

use std::net::IpAddr;

use contract::chains;
use ipnet::IpNet;

/// The tables of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// In the order in which they are printed.
    pub(super) tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: String,
    /// All chains that it declares.
    pub(super) chains: Vec<String>,
    /// All rules, in the order in which they are printed.
    pub(super) rules: Vec<Line>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its chain.
    pub(super) chain: String,
    /// What follows the chain's name.
    pub(super) options: String,
}

/// Whose rules are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those that this program has made.
    Ours,
    /// Also those that Istio's program has made.
    OursAndIstios,
}

/// A line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} of its output makes no sense: {text:?}")]
pub struct Unreadable {
    /// Counted from 1.
    pub number: usize,
    /// The beginning of the line.
    pub text: String,
}

/// An option as a value: whether it is negated, its name, its arguments.
type Setting = (bool, String, Vec<String>);

/// The beginning of the names of all chains of ours, which are Istio's.
const PREFIX: &str = "ISTIO_";

// === impl Tables ===

impl Tables {
    /// Reads what `iptables-save` prints, or what a plan prints for `iptables-restore`.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut tables: Vec<Table> = Vec::new();
        for (position, line) in text.lines().enumerate() {
            let unreadable = || Unreadable {
                number: position + 1,
                text: line.chars().take(100).collect(),
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                tables.push(Table {
                    name: name.trim().to_owned(),
                    chains: Vec::new(),
                    rules: Vec::new(),
                });
                continue;
            }
            let table = tables.last_mut().ok_or_else(unreadable)?;
            if let Some(name) = line.strip_prefix(':').or(line.strip_prefix("-N ")) {
                let name = name.split(' ').next().unwrap_or_default();
                table.chains.push(name.to_owned());
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (chain, options) = rule.split_once(' ').unwrap_or((rule, ""));
                table.rules.push(Line {
                    chain: chain.to_owned(),
                    options: options.to_owned(),
                });
            } else {
                return Err(unreadable());
            }
        }
        Ok(Self { tables })
    }

    /// Whether there is any rule, or any chain that somebody has made.
    pub(super) fn has_rules(&self) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|table| !table.rules.is_empty() || table.chains.iter().any(|name| is_own(name)))
    }

    /// What is left of the tables if only these rules and chains are looked at.
    pub(super) fn only(&self, whose: Whose) -> Self {
        let tables = self.tables.iter().filter_map(|table| table.only(whose));
        Self {
            tables: tables.collect(),
        }
    }

    /// The table of this name.
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The same with a comment on each rule outside of our own chains, by which it is found again.
    pub(super) fn tagged(mut self) -> Self {
        for line in self.tables.iter_mut().flat_map(|table| &mut table.rules) {
            if !is_own(&line.chain) {
                let tag = chains::RULE_COMMENT;
                line.options = format!("-m comment --comment {tag} {}", line.options);
            }
        }
        self
    }
}

// === impl Table ===

impl Table {
    fn only(&self, whose: Whose) -> Option<Self> {
        let is_istios = |line: &Line| whose == Whose::OursAndIstios && self.is_istios(line);
        let is_meant = |line: &&Line| {
            is_own(&line.chain) || line.is_tagged() || line.leads_to_own() || is_istios(line)
        };
        let is_ours = whose == Whose::OursAndIstios || self.rules.iter().any(Line::is_tagged);
        let table = Self {
            name: self.name.clone(),
            chains: self
                .chains
                .iter()
                .filter(|name| is_own(name))
                .cloned()
                .collect(),
            rules: self.rules.iter().filter(is_meant).cloned().collect(),
        };
        let is_empty = table.chains.is_empty() && table.rules.is_empty();
        (is_ours && !is_empty).then_some(table)
    }

    /// Rules that Istio's program puts into built-in chains and that lead to no chain of its own:
    /// those for TPROXY's marks and for DNS, only where there are such chains too.
    fn is_istios(&self, line: &Line) -> bool {
        let is_there = |name: &str| self.chains.iter().any(|chain| chain == name);
        let settings = settings(&line.options);
        let has = |name: &str, value: &str| {
            let mut settings = settings.iter();
            settings.any(|(_, known, values)| known == name && values.iter().any(|v| v == value))
        };
        match self.name.as_str() {
            "mangle" if is_there(chains::ISTIO_TPROXY) => {
                has("--mark", "0x539") || has("--set-xmark", "0x53a")
            }
            "raw" if is_there(chains::ISTIO_OUTPUT_DNS) => {
                has("-j", "CT") && (has("--zone", "0x1") || has("--zone", "0x2"))
            }
            _ => false,
        }
    }

    /// Whether each chain has the same rules in the same order.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let chains = |table: &Self| {
            let mut names: Vec<String> = table.chains.clone();
            names.retain(|name| is_own(name));
            names.extend(table.rules.iter().map(|line| line.chain.clone()));
            names.sort_unstable();
            names.dedup();
            names
        };
        let rules = |table: &Self, chain: &str| {
            let lines = table.rules.iter().filter(|line| line.chain == chain);
            lines
                .map(|line| settings(&line.options))
                .collect::<Vec<_>>()
        };
        let names = chains(self);
        let is_same_chain = |name: &String| rules(self, name) == rules(other, name);
        names == chains(other) && names.iter().all(is_same_chain)
    }
}

// === impl Line ===

impl Line {
    /// Whether this program has made it.
    pub(super) fn is_tagged(&self) -> bool {
        words(&self.options).any(|word| word == chains::RULE_COMMENT)
    }

    /// Whether it leads to a chain of ours.
    fn leads_to_own(&self) -> bool {
        let mut words = words(&self.options);
        let jump = words.find(|word| matches!(*word, "-j" | "-g"));
        jump.is_some() && words.next().is_some_and(is_own)
    }
}

/// Whether a chain of this name is one of ours.
pub(super) fn is_own(chain: &str) -> bool {
    chain.starts_with(PREFIX)
}

fn words(options: &str) -> impl Iterator<Item = &str> {
    options
        .split(' ')
        .map(|word| word.trim_matches('"'))
        .filter(|word| !word.is_empty())
}

/// The options in an order and a form of their own, without those that go without saying.
fn settings(options: &str) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut is_negated = false;
    for word in words(options) {
        if word == "!" {
            is_negated = true;
        } else if word.starts_with('-') {
            settings.push((std::mem::take(&mut is_negated), word.to_owned(), Vec::new()));
        } else if let Some((_, name, values)) = settings.last_mut() {
            let value = value(name, word);
            values.push(value);
        }
    }
    for (_, name, _) in &mut settings {
        if name == "--set-mark" {
            "--set-xmark".clone_into(name);
        }
    }
    settings.retain(says_something);
    settings.sort_unstable();
    settings
}

/// Modules are named by their options; masks of all ones and networks of all addresses say nothing.
fn says_something((is_negated, name, values): &Setting) -> bool {
    let value = values.first().map_or("", String::as_str);
    match name.as_str() {
        "-m" => false,
        "--nfmask" | "--ctmask" => value != "0xffffffff",
        "--on-ip" => !value.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()),
        "-s" | "-d" => *is_negated || !value.ends_with("/0"),
        _ => true,
    }
}

fn value(name: &str, text: &str) -> String {
    match name {
        "-s" | "-d" => network(text).unwrap_or_else(|| text.to_owned()),
        "--mark" | "--set-mark" | "--set-xmark" | "--tproxy-mark" | "--nfmask" | "--ctmask"
        | "--zone" | "--zone-orig" => mark(text),
        "--ctstate" => {
            let mut states: Vec<&str> = text.split(',').collect();
            states.sort_unstable();
            states.join(",")
        }
        _ => text.to_owned(),
    }
}

fn network(text: &str) -> Option<String> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    Some(network.trunc().to_string())
}

/// A mark with or without a mask, in hexadecimal digits; a mask of all ones is left out.
fn mark(text: &str) -> String {
    let hexadecimal = |part: &str| {
        let number = match part.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => part.parse(),
        };
        number.map_or_else(|_| part.to_owned(), |number| format!("{number:#x}"))
    };
    let parts: Vec<String> = text.split('/').map(hexadecimal).collect();
    match parts.as_slice() {
        [value, mask] if mask == "0xffffffff" => value.clone(),
        parts => parts.join("/"),
    }
}

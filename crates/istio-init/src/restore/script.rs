//! The input of `iptables-restore --noflush` that makes what is there what it should be.
//!
//! Called by [`restore`](super); pure. Each table changes in one commit, in which old rules go and
//! new ones come; a table that is as it should be is not mentioned, and if all are there is no input
//! at all.

use super::saved::{Line, Table, Tables, Whose, is_own};

/// What to feed the program with, or nothing where nothing is to be changed.
///
/// Whatever leads to a chain of ours is replaced, whoever made it: a chain cannot be two things.
pub(super) fn change(found: &Tables, wanted: &Tables) -> Option<String> {
    let found = found.only(Whose::OursAndIstios);
    let mut text = String::new();
    for name in order(wanted) {
        text.push_str(&table(name, found.table(name), wanted.table(name)));
    }
    (!text.is_empty()).then_some(text)
}

/// What to feed the program with to be rid of these rules, or nothing where there are none.
pub(super) fn removal(found: &Tables, whose: Whose) -> Option<String> {
    let found = found.only(whose);
    let tables = found.tables.iter();
    let text: String = tables
        .map(|found| table(&found.name, Some(found), None))
        .collect();
    (!text.is_empty()).then_some(text)
}

/// Whether nothing is to be changed.
pub(super) fn is_in_force(found: &Tables, wanted: &Tables) -> bool {
    change(found, wanted).is_none()
}

/// Tables change one after the other: first the one that takes inbound connections from now on, then
/// the one that did so far.
fn order(wanted: &Tables) -> [&'static str; 4] {
    match wanted.table("mangle") {
        Some(_) => ["raw", "mangle", "nat", "filter"],
        None => ["nat", "raw", "mangle", "filter"],
    }
}

fn table(name: &str, found: Option<&Table>, wanted: Option<&Table>) -> String {
    let nothing = Table {
        name: name.to_owned(),
        chains: Vec::new(),
        rules: Vec::new(),
    };
    let (found, wanted) = (found.unwrap_or(&nothing), wanted.unwrap_or(&nothing));
    if found.is_same(wanted) {
        return String::new();
    }
    let surplus = found.chains.iter();
    let surplus: Vec<&String> = surplus
        .filter(|chain| !wanted.chains.contains(chain))
        .collect();
    let mut lines = vec![format!("*{name}")];
    // A declaration makes a chain or empties it.
    let declared = wanted.chains.iter().chain(surplus.iter().copied());
    lines.extend(declared.map(|chain| format!(":{chain} - [0:0]")));
    let old = found.rules.iter().filter(|line| !is_own(&line.chain));
    lines.extend(old.map(|line| command("-D", line)));
    lines.extend(wanted.rules.iter().map(|line| command("-A", line)));
    lines.extend(surplus.iter().map(|chain| format!("-X {chain}")));
    lines.push("COMMIT\n".to_owned());
    lines.join("\n")
}

fn command(word: &str, Line { chain, options }: &Line) -> String {
    format!("{word} {chain} {options}").trim_end().to_owned()
}

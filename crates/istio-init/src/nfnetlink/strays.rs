//! Rules of ours that another back end has left: those of iptables' own tables, which nf_tables
//! holds where `iptables` is the variant for it.
//!
//! Read by [`NfTables::strays`](super::NfTables::strays) and removed by a transaction, in the
//! one that brings the new rules or in one of their own. A rule is ours if it bears our comment; the
//! chains of ours are then those of Istio's names in the same table.

use contract::chains;

use super::{
    Generation,
    expression::Expression,
    read::decode_rule_of,
    uapi::{self, message, meta},
};
use crate::{
    netlink::{Malformed, Message, NetlinkError, Packet, Socket, flags},
    restore::Whose,
};

/// What is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strays {
    pub(super) tables: Vec<Table>,
}

/// What is to be removed from one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) family: u8,
    pub(super) name: String,
    /// Chains that go with all their rules.
    pub(super) chains: Vec<String>,
    /// Chain and handle of rules in chains that stay.
    pub(super) rules: Vec<(String, u64)>,
}

/// A rule as far as it matters here.
struct Found {
    chain: String,
    handle: u64,
    is_tagged: bool,
    is_istios: bool,
}

/// `NFPROTO_UNSPEC`: of every family.
const FAMILY_ANY: u8 = 0;
/// The beginning of the names of all chains of ours, which are Istio's.
const PREFIX: &str = "ISTIO_";

// === impl Strays ===

impl Strays {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Looks through the tables of all families.
    pub(super) fn read(
        socket: &mut Socket,
        generation: Generation,
        whose: Whose,
    ) -> Result<Self, NetlinkError> {
        let mut tables: Vec<Table> = Vec::new();
        let kind = (message::GET_CHAIN, message::NEW_CHAIN);
        ask(
            socket,
            generation,
            kind,
            FAMILY_ANY,
            |_| {},
            |answer| {
                let Some((family, table, chain)) = decode_chain(answer)? else {
                    return Ok(());
                };
                let is_known = |known: &&mut Table| known.family == family && known.name == table;
                match tables.iter_mut().find(is_known) {
                    Some(known) => known.chains.push(chain),
                    None => tables.push(Table {
                        family,
                        name: table,
                        chains: vec![chain],
                        rules: Vec::new(),
                    }),
                }
                Ok(())
            },
        )?;
        for table in &mut tables {
            let found = rules(socket, generation, table)?;
            let is_meant = whose == Whose::OursAndIstios || found.iter().any(|rule| rule.is_tagged);
            if !is_meant {
                table.chains.clear();
                continue;
            }
            let in_others = found.into_iter().filter(|rule| {
                let is_meant = rule.is_tagged || rule.is_istios;
                is_meant && !table.chains.contains(&rule.chain)
            });
            table.rules = in_others.map(|rule| (rule.chain, rule.handle)).collect();
        }
        tables.retain(|table| !table.chains.is_empty());
        Ok(Self { tables })
    }
}

fn rules(
    socket: &mut Socket,
    generation: Generation,
    table: &Table,
) -> Result<Vec<Found>, NetlinkError> {
    let mut rules = Vec::new();
    let kind = (message::GET_RULE, message::NEW_RULE);
    let name = |packet: &mut Packet| packet.name(uapi::rule::TABLE, &table.name);
    ask(socket, generation, kind, table.family, name, |answer| {
        let (of, chain, steps) = decode_rule_of(answer)?;
        if of == table.name {
            rules.push(Found {
                handle: handle(answer)?,
                is_tagged: contains(answer.payload, chains::RULE_COMMENT),
                is_istios: is_istios(table, &steps, answer.payload),
                chain: chain.to_owned(),
            });
        }
        Ok(())
    })?;
    Ok(rules)
}

/// Whether Istio's program puts such a rule into a built-in chain: one that leads to a chain of its
/// own, or works on TPROXY's marks or zones of connection tracking beside such chains.
fn is_istios(table: &Table, steps: &[Expression], payload: &[u8]) -> bool {
    let leads_to_own = steps.iter().any(|step| match step {
        Expression::Verdict { chain, .. } => chain
            .as_ref()
            .is_some_and(|chain| table.chains.contains(chain)),
        _ => false,
    });
    let has = |suffix: &str| table.chains.iter().any(|chain| chain.ends_with(suffix));
    let has_mark = || steps.contains(&Expression::Meta { key: meta::MARK });
    let is_extra = match table.name.as_str() {
        "mangle" => has("_TPROXY") && (contains(payload, "MARK") || has_mark()),
        "raw" => has("_OUTPUT_DNS") && contains(payload, "CT"),
        _ => false,
    };
    leads_to_own || is_extra
}

/// Family, table and name of a chain of iptables' with one of Istio's names.
fn decode_chain(answer: &Message<'_>) -> Result<Option<(u8, String, String)>, Malformed> {
    let family = answer.payload.first().copied().unwrap_or_default();
    let (mut table, mut name) = ("", "");
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        match attribute.kind {
            uapi::chain::TABLE => table = attribute.name()?,
            uapi::chain::NAME => name = attribute.name()?,
            _ => {}
        }
    }
    let is_meant = uapi::NFPROTO.contains(&family) && name.starts_with(PREFIX);
    Ok(is_meant.then(|| (family, table.to_owned(), name.to_owned())))
}

fn handle(answer: &Message<'_>) -> Result<u64, Malformed> {
    for attribute in answer.attributes(uapi::HEADER) {
        let attribute = attribute?;
        if attribute.kind == uapi::rule::HANDLE {
            let bytes = attribute.value.first_chunk();
            return bytes.map_or(Err(Malformed::Length), |bytes| {
                Ok(u64::from_be_bytes(*bytes))
            });
        }
    }
    Err(Malformed::Length)
}

/// Whether the bytes hold a text that ends with a zero, as names and comments do.
fn contains(bytes: &[u8], text: &str) -> bool {
    let ends = |window: &[u8]| window.split_last() == Some((&0, text.as_bytes()));
    bytes.windows(text.len() + 1).any(ends)
}

/// As a question about our own table, for a table of any family.
fn ask(
    socket: &mut Socket,
    Generation(generation): Generation,
    (kind, answer): (u16, u16),
    family: u8,
    request: impl FnOnce(&mut Packet),
    mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
) -> Result<(), NetlinkError> {
    let mut packet = Packet::default();
    let last = packet.message(kind, flags::DUMP, &[family, 0, 0, 0], request);
    let [.., g2, g3] = generation.to_be_bytes();
    let mut is_stale = false;
    socket.ask(&packet, last, |message| {
        if message.kind == answer {
            is_stale |= message.payload.get(2..uapi::HEADER) != Some(&[g2, g3]);
            each(message)?;
        }
        Ok(())
    })?;
    match is_stale {
        true => Err(NetlinkError::Interrupted),
        false => Ok(()),
    }
}

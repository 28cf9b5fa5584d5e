//! A transaction: everything from nothing to the whole table, in one packet.
//!
//! Called by [`apply`](crate::apply); pure. An old table goes and the new one comes in the same
//! commit, so no packet meets neither; the kernel drops it all if any part is refused or if the
//! rules are no longer those of the generation it names.

use std::fmt;

use contract::chains;

use super::{
    Generation,
    expression::Expression,
    ruleset::{Chain, Ruleset, Set},
    strays::Strays,
    uapi::{self, key, message},
};
use crate::netlink::{Packet, flags};

/// A batch of requests.
#[derive(Debug)]
pub(crate) struct Transaction {
    packet: Packet,
    last: u32,
    parts: Vec<(u32, Part)>,
}

/// A piece of a transaction, to tell which one the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The transaction as such.
    Transaction,
    /// The table.
    Table,
    /// A chain on a hook that translates addresses.
    NatChain,
    /// Any other chain.
    Chain,
    /// A set or its elements.
    Set,
    /// A rule that redirects.
    RedirectRule,
    /// A rule that hands over to a transparent socket.
    TproxyRule,
    /// A rule that asks connection tracking, or tells it something.
    TrackingRule,
    /// Any other rule.
    Rule,
    /// The removal of what iptables has of ours.
    Stray,
}

/// So many elements, of at most 36 bytes each, go into one message, so that its refusal, which
/// repeats it, fits the buffer for answers.
const ELEMENTS_PER_MESSAGE: usize = 256;

// === impl Transaction ===

impl Transaction {
    /// Puts `wanted` in the place of the tables of these names, which are there, and of what iptables
    /// has.
    pub(crate) fn install(
        generation: Generation,
        wanted: &Ruleset,
        doomed: &[&str],
        strays: &Strays,
    ) -> Self {
        let mut transaction = Self::begin(generation);
        for table in doomed {
            transaction.table(message::DELETE_TABLE, 0, table);
        }
        transaction.table(message::NEW_TABLE, flags::CREATE, chains::TABLE);
        for (position, set) in wanted.sets.iter().enumerate() {
            transaction.set(position, set);
        }
        for chain in &wanted.chains {
            transaction.chain(chain);
        }
        for chain in &wanted.chains {
            for rule in &chain.rules {
                transaction.rule(&chain.name, rule);
            }
        }
        transaction.strays(strays);
        transaction.end()
    }

    /// Removes the tables of these names, which are there, and what iptables has.
    pub(crate) fn remove(generation: Generation, doomed: &[&str], strays: &Strays) -> Self {
        let mut transaction = Self::begin(generation);
        for table in doomed {
            transaction.table(message::DELETE_TABLE, 0, table);
        }
        transaction.strays(strays);
        transaction.end()
    }

    pub(super) fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The request that is acknowledged when the transaction is done.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// What the request with this number was to make.
    pub(super) fn part(&self, sequence: u32) -> Part {
        let known = self.parts.iter().find(|(number, _)| *number == sequence);
        known.map_or(Part::Transaction, |(_, part)| *part)
    }

    fn begin(Generation(generation): Generation) -> Self {
        let mut packet = Packet::default();
        packet.message(message::BATCH_BEGIN, 0, &batch_header(), |packet| {
            packet.number(uapi::BATCH_GENERATION, generation);
        });
        Self {
            packet,
            last: 0,
            parts: Vec::new(),
        }
    }

    /// Only the last request is acknowledged: by then a refusal of any other has been told.
    fn end(mut self) -> Self {
        self.packet.acknowledge_last();
        self.packet
            .message(message::BATCH_END, 0, &batch_header(), |_| {});
        self
    }

    fn table(&mut self, kind: u16, flags: u16, name: &str) {
        self.request(Part::Table, kind, flags, |packet| {
            packet.name(uapi::table::NAME, name);
        });
    }

    fn set(&mut self, position: usize, set: &Set) {
        let id = u32::try_from(position).expect("there are a dozen sets") + 1;
        self.request(Part::Set, message::NEW_SET, flags::CREATE, |packet| {
            packet.name(uapi::set::TABLE, chains::TABLE);
            packet.name(uapi::set::NAME, &set.name);
            packet.number(uapi::set::FLAGS, set.flags);
            packet.number(uapi::set::KEY_TYPE, set.key_type);
            packet.number(uapi::set::KEY_LENGTH, set.key_length);
            packet.number(uapi::set::ID, id);
            if matches!(set.key_type, key::UID | key::GID | key::INTERFACE_NAME) {
                packet.bytes_attribute(uapi::set::USER_DATA, &host_byte_order());
            }
        });
        for elements in set.elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.request(Part::Set, message::NEW_ELEMENTS, flags::CREATE, |packet| {
                packet.name(uapi::set::LIST_TABLE, chains::TABLE);
                packet.name(uapi::set::LIST_SET, &set.name);
                packet.nest(uapi::set::LIST_ELEMENTS, |packet| {
                    for element in elements {
                        packet.nest(uapi::LIST_ELEMENT, |packet| {
                            packet.nest(uapi::set::ELEMENT_KEY, |packet| {
                                packet.bytes_attribute(uapi::expression::VALUE, &element.key);
                            });
                            if element.is_end {
                                packet.number(uapi::set::ELEMENT_FLAGS, uapi::set::INTERVAL_END);
                            }
                        });
                    }
                });
            });
        }
    }

    fn chain(&mut self, chain: &Chain) {
        let part = match &chain.base {
            Some(base) if base.kind == "nat" => Part::NatChain,
            Some(_) | None => Part::Chain,
        };
        self.request(part, message::NEW_CHAIN, flags::CREATE, |packet| {
            packet.name(uapi::chain::TABLE, chains::TABLE);
            packet.name(uapi::chain::NAME, &chain.name);
            if let Some(base) = &chain.base {
                packet.nest(uapi::chain::HOOK, |packet| {
                    packet.number(uapi::chain::HOOK_NUMBER, base.hook);
                    packet.number(uapi::chain::HOOK_PRIORITY, base.priority);
                });
                packet.number(uapi::chain::POLICY, base.policy);
                packet.name(uapi::chain::TYPE, &base.kind);
            }
        });
    }

    fn rule(&mut self, chain: &str, steps: &[Expression]) {
        let part = steps.iter().find_map(|step| match step {
            Expression::Redirect => Some(Part::RedirectRule),
            Expression::Tproxy { .. } => Some(Part::TproxyRule),
            Expression::Tracking { .. } | Expression::SetTracking { .. } => {
                Some(Part::TrackingRule)
            }
            _ => None,
        });
        let part = part.unwrap_or(Part::Rule);
        self.request(
            part,
            message::NEW_RULE,
            flags::CREATE | flags::APPEND,
            |packet| {
                packet.name(uapi::rule::TABLE, chains::TABLE);
                packet.name(uapi::rule::CHAIN, chain);
                packet.nest(uapi::rule::EXPRESSIONS, |packet| {
                    for step in steps {
                        step.encode(packet);
                    }
                });
            },
        );
    }

    /// Rules go before the chains that they lead to.
    fn strays(&mut self, strays: &Strays) {
        for table in &strays.tables {
            let mut ask = |kind, fill: &dyn Fn(&mut Packet)| {
                self.request_of(table.family, Part::Stray, kind, 0, |packet| {
                    packet.name(uapi::rule::TABLE, &table.name);
                    fill(packet);
                });
            };
            for (chain, handle) in &table.rules {
                ask(message::DELETE_RULE, &|packet| {
                    packet.name(uapi::rule::CHAIN, chain);
                    packet.bytes_attribute(uapi::rule::HANDLE, &handle.to_be_bytes());
                });
            }
            for chain in &table.chains {
                let name = |packet: &mut Packet| packet.name(uapi::rule::CHAIN, chain);
                ask(message::DELETE_RULE, &name);
            }
            for chain in &table.chains {
                let name = |packet: &mut Packet| packet.name(uapi::chain::NAME, chain);
                ask(message::DELETE_CHAIN, &name);
            }
        }
    }

    fn request(&mut self, part: Part, kind: u16, flags: u16, fill: impl FnOnce(&mut Packet)) {
        self.request_of(uapi::FAMILY_INET, part, kind, flags, fill);
    }

    fn request_of(
        &mut self,
        family: u8,
        part: Part,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Packet),
    ) {
        let header = [family, 0, 0, 0];
        self.last = self.packet.message(kind, flags, &header, fill);
        self.parts.push((self.last, part));
    }
}

/// `struct nfgenmsg` with the subsystem as resource, in network byte order.
fn batch_header() -> [u8; uapi::HEADER] {
    let [_, subsystem] = (message::NEW_TABLE >> 8).to_be_bytes();
    [0, 0, 0, subsystem]
}

/// A note that only `nft list` reads: the keys are numbers or texts of this machine, not of the
/// network. Its form is libnftnl's: kind 0 (byte order), length, 1 for the host's.
fn host_byte_order() -> [u8; 6] {
    let [b0, b1, b2, b3] = 1u32.to_ne_bytes();
    [0, 4, b0, b1, b2, b3]
}

// === impl Part ===

impl Part {
    /// The kernel module that is most likely missing where this is unknown.
    pub fn module(self) -> &'static str {
        match self {
            Self::NatChain => "nft_chain_nat",
            Self::RedirectRule => "nft_redir",
            Self::TproxyRule => "nft_tproxy",
            Self::TrackingRule => "nft_ct",
            Self::Transaction
            | Self::Table
            | Self::Chain
            | Self::Set
            | Self::Rule
            | Self::Stray => "nf_tables",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transaction => "the transaction",
            Self::Table => "the table",
            Self::NatChain => "address translation for IPv4 and IPv6 in one table",
            Self::Chain => "a chain",
            Self::Set => "a set",
            Self::RedirectRule => "a redirecting rule",
            Self::TproxyRule => "a rule that hands over to a transparent socket",
            Self::TrackingRule => "a rule on what connection tracking knows",
            Self::Rule => "a rule",
            Self::Stray => "to remove rules of iptables",
        })
    }
}

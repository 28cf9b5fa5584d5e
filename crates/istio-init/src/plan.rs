//! The plan: which rules are to be in force, as data.
//!
//! Made by [`rules`](crate::rules), rendered by [`nft`](crate::nft) and
//! [`iptables`](crate::iptables), applied by [`apply`](crate::apply). Rules stand in the order in
//! which they are emitted; within a chain that is the order of evaluation.

mod place;

use std::{
    fmt,
    num::{NonZeroU16, NonZeroU32},
};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::capture::{Interface, PortRange};

pub use place::{Chain, Table};

/// All that `istio-init` wants to find in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which families the rules are for.
    pub families: Families,
    /// Rules of all tables and chains.
    pub rules: Vec<Rule>,
    /// Addresses that the loopback interface needs besides its own.
    pub loopback_addresses: Vec<Ipv6Net>,
    /// Routes that marked packets need, one for each family where any are marked for the proxy.
    pub mark_routes: Vec<MarkRoute>,
}

/// A routing rule that sends packets with a mark to a table, and the one route of that table, which
/// delivers everything to the pod itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRoute {
    /// The packets' family.
    pub family: Family,
    /// The mark.
    pub mark: NonZeroU32,
    /// The routing table.
    pub table: NonZeroU32,
}

/// The families that a pod speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// The namespace has no IPv6 address at all, so IPv6 packets are left alone.
    V4,
    /// Both; a namespace without IPv4 still has the family.
    V4AndV6,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Which kernel interface rules are made for: one has sets and both families at once, the other one
/// value a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One nf_tables transaction.
    Nftables,
    /// iptables-restore, family by family.
    Iptables,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// iptables' table, which for nf_tables decides type and priority of the base chain.
    pub table: Table,
    /// The chain that the rule is appended to.
    pub chain: Chain,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
}

/// A condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The packet is of this family.
    Family(Family),
    /// It came in by one of these.
    InInterface(OneOf<Interface>),
    /// It leaves by one of these.
    OutInterface(OneOf<Interface>),
    /// Its source address.
    Source(Addresses),
    /// Its destination address.
    Destination(Addresses),
    /// Its transport protocol.
    Protocol(Protocol),
    /// Its source port; stands after a [`Match::Protocol`].
    SourcePort(OneOf<PortRange>),
    /// Its destination port; stands after a [`Match::Protocol`].
    DestinationPort(OneOf<PortRange>),
    /// The user of the socket that sends it.
    User(OneOf<u32>),
    /// The group of the socket that sends it.
    Group(OneOf<u32>),
    /// Its mark.
    Mark {
        /// The mark.
        mark: u32,
        /// The condition holds for every other mark.
        negated: bool,
    },
    /// The mark of its connection.
    ConnectionMark(u32),
    /// Its connection is known to connection tracking, or it belongs to one that is.
    Established,
    /// Connection tracking can make no sense of it.
    Invalid,
}

/// Membership in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOf<T> {
    /// Name of the nf_tables set, should one be needed.
    pub name: &'static str,
    /// The list, in the user's order.
    pub values: Vec<T>,
    /// The condition holds for what is *not* in the list.
    pub negated: bool,
}

/// Addresses of one family; the condition holds only for packets of that family, negated or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4 networks.
    V4(OneOf<Ipv4Net>),
    /// IPv6 networks.
    V6(OneOf<Ipv6Net>),
}

/// Transport protocols that rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go back to the calling chain; from a base chain, let the packet pass.
    Return,
    /// Let the packet pass this table.
    Accept,
    /// Evaluate another chain of the same table, then go on here.
    Jump(Chain),
    /// Send the connection to this port of the pod itself; counted.
    Redirect(NonZeroU16),
    /// Hand the packet with this mark to the socket that listens on this port, and let it pass this
    /// table; counted.
    ///
    /// Where there is no such socket iptables drops the packet, and nf_tables goes on with the next
    /// rule.
    Tproxy {
        /// The port of the pod itself.
        port: NonZeroU16,
        /// The mark by which the packet is routed to the pod itself.
        mark: NonZeroU32,
    },
    /// Give the packet this mark.
    Mark(u32),
    /// Give the packet's mark to its connection.
    SaveMark,
    /// Give the connection's mark to its packet.
    RestoreMark,
    /// Track the packet's connection in this zone, unless a zone was chosen already.
    Zone(u16),
    /// Track the packet's connection in this zone as far as its own direction goes, unless a zone was
    /// chosen already; what comes back is looked for outside of zones.
    OriginalZone(u16),
    /// Drop the packet; counted.
    Drop,
}

/// A chain of the plan with its rules, in the order of evaluation.
#[derive(Clone, Debug)]
pub struct ChainRules<'a> {
    /// The chain's table.
    pub table: Table,
    /// The chain.
    pub chain: Chain,
    /// Its rules.
    pub rules: Vec<&'a Rule>,
}

// === impl Plan ===

impl Plan {
    /// The rules by chain. Chains come in the order of their first rule, those without a rule of
    /// their own last.
    pub fn chains(&self) -> Vec<ChainRules<'_>> {
        let mut chains: Vec<ChainRules<'_>> = Vec::new();
        for rule in &self.rules {
            entry(&mut chains, rule.table, rule.chain).rules.push(rule);
        }
        for rule in &self.rules {
            if let Action::Jump(target) = rule.action {
                entry(&mut chains, rule.table, target);
            }
        }
        chains
    }
}

// === impl Families ===

impl Families {
    /// The families one by one, IPv4 first.
    pub fn each(self) -> &'static [Family] {
        match self {
            Self::V4 => &[Family::V4],
            Self::V4AndV6 => &[Family::V4, Family::V6],
        }
    }
}

// === impl Family ===

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

// === impl Rule ===

impl Rule {
    /// The family that the rule is bound to by an address, or nothing if it holds for any.
    pub fn family(&self) -> Option<Family> {
        self.matches.iter().find_map(|condition| match condition {
            Match::Family(family) => Some(*family),
            Match::Source(addresses) | Match::Destination(addresses) => Some(addresses.family()),
            Match::InInterface(_)
            | Match::OutInterface(_)
            | Match::Protocol(_)
            | Match::SourcePort(_)
            | Match::DestinationPort(_)
            | Match::User(_)
            | Match::Group(_)
            | Match::Mark { .. }
            | Match::ConnectionMark(_)
            | Match::Established
            | Match::Invalid => None,
        })
    }
}

// === impl OneOf ===

impl<T> OneOf<T> {
    /// The value is in the list that goes by `name`.
    pub fn of(name: &'static str, values: Vec<T>) -> Self {
        Self {
            name,
            values,
            negated: false,
        }
    }

    /// The value is this one.
    pub fn is(value: T) -> Self {
        Self::of("", vec![value])
    }

    /// The value is any but this one.
    pub fn is_not(value: T) -> Self {
        Self::is(value).negate()
    }

    /// The opposite.
    #[must_use]
    pub fn negate(mut self) -> Self {
        self.negated = !self.negated;
        self
    }
}

// === impl Addresses ===

impl Addresses {
    /// The family of the addresses.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

// === impl Action ===

impl Action {
    /// Whether packets that get here are counted, so that users can see the rules work.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Redirect(_) | Self::Tproxy { .. } | Self::Drop)
    }
}

fn entry<'a, 'b>(
    chains: &'b mut Vec<ChainRules<'a>>,
    table: Table,
    chain: Chain,
) -> &'b mut ChainRules<'a> {
    let known = chains
        .iter()
        .position(|entry| entry.table == table && entry.chain == chain);
    let position = known.unwrap_or_else(|| {
        chains.push(ChainRules {
            table,
            chain,
            rules: Vec::new(),
        });
        chains.len() - 1
    });
    &mut chains[position]
}

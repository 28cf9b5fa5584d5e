//! Routing rules that look up marks, and the routes that they lead to.
//!
//! Part of [`Network`](super::Network). The originator that the kernel keeps with every rule and
//! route tells ours from others', whatever mark and table they have; a rule's priority is always the
//! same, so that the kernel refuses a second one.

use std::fmt;

use contract::ids;
use nix::errno::Errno;

use super::{Change, LOOPBACK_INDEX, Network, unless};
use crate::{
    netlink::{Malformed, Message, NetlinkError, Packet, flags},
    plan::{Family, MarkRoute},
};

/// A rule that sends packets with a mark to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    family: Family,
    priority: u32,
    mark: u32,
    mask: u32,
    table: u32,
    originator: u8,
}

/// A route that delivers everything to the namespace itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRoute {
    family: Family,
    table: u32,
    originator: u8,
}

/// Kinds of messages (`linux/rtnetlink.h`).
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const GET_RULE: u16 = 34;

/// Length of the fixed part of either message (`struct fib_rule_hdr`, `struct rtmsg`).
const HEADER: usize = 12;
/// Attributes of rules (`linux/fib_rules.h`).
const FRA_PRIORITY: u16 = 6;
const FRA_MARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_MARK_MASK: u16 = 16;
const FRA_PROTOCOL: u16 = 21;
/// Attributes of routes (`linux/rtnetlink.h`).
const RTA_OUT_INTERFACE: u16 = 4;
const RTA_TABLE: u16 = 15;
/// `FR_ACT_TO_TBL`.
const TO_TABLE: u8 = 1;
/// `RTN_LOCAL` and `RT_SCOPE_HOST`.
const LOCAL: u8 = 2;
const SCOPE_HOST: u8 = 254;
/// Lists change rarely; if they do it this often, it is not by chance.
const ATTEMPTS: usize = 16;

// === impl Network ===

impl Network {
    /// All rules that send packets with a mark to a table, whoever made them.
    pub(crate) fn routing_rules(&mut self) -> Result<Vec<RoutingRule>, NetlinkError> {
        self.list(GET_RULE, NEW_RULE, decode_rule)
    }

    /// All routes that deliver everything to the namespace itself, whoever made them.
    pub(crate) fn local_routes(&mut self) -> Result<Vec<LocalRoute>, NetlinkError> {
        self.list(GET_ROUTE, NEW_ROUTE, decode_route)
    }

    /// Adds or removes a rule; tells whether that changed anything.
    pub(crate) fn change_rule(
        &mut self,
        change: Change,
        rule: &RoutingRule,
    ) -> Result<bool, NetlinkError> {
        let kind = change.choose(NEW_RULE, DELETE_RULE);
        let outcome = self.send(kind, change, &rule.header(), |packet| rule.encode(packet));
        unless(outcome, change.choose(Errno::EEXIST, Errno::ENOENT))
    }

    /// Adds or removes a route; tells whether that changed anything.
    pub(crate) fn change_route(
        &mut self,
        change: Change,
        route: &LocalRoute,
    ) -> Result<bool, NetlinkError> {
        let kind = change.choose(NEW_ROUTE, DELETE_ROUTE);
        let outcome = self.send(kind, change, &route.header(), |packet| route.encode(packet));
        unless(outcome, change.choose(Errno::EEXIST, Errno::ESRCH))
    }

    /// Asks about all families at once: a kernel without one of them just has nothing to say about
    /// it.
    fn list<T>(
        &mut self,
        question: u16,
        answer: u16,
        decode: impl Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..ATTEMPTS {
            let mut packet = Packet::default();
            let request = packet.message(question, flags::DUMP, &[0; HEADER], |_| {});
            let mut found = Vec::new();
            let asked = self.socket.ask(&packet, request, |message| {
                if message.kind == answer {
                    found.extend(decode(message)?);
                }
                Ok(())
            });
            match asked {
                Err(NetlinkError::Interrupted) => {}
                outcome => return outcome.map(|()| found),
            }
        }
        Err(NetlinkError::Interrupted)
    }
}

// === impl RoutingRule ===

impl RoutingRule {
    /// The rule that these packets need.
    pub(crate) fn wanted(route: &MarkRoute) -> Self {
        Self {
            family: route.family,
            priority: ids::TPROXY_RULE_PRIORITY,
            mark: route.mark.get(),
            mask: u32::MAX,
            table: route.table.get(),
            originator: ids::ROUTE_PROTOCOL,
        }
    }

    /// Whether it is one of ours, with whatever mark and table.
    pub(crate) fn is_ours(&self) -> bool {
        self.originator == ids::ROUTE_PROTOCOL
    }

    /// Whether it does the same, whoever made it.
    pub(crate) fn does_as(&self, other: &Self) -> bool {
        let deed = |rule: &Self| (rule.family, rule.mark, rule.mask, rule.table);
        deed(self) == deed(other)
    }

    /// `struct fib_rule_hdr`: family, lengths of destination and source, type of service, table,
    /// two reserved bytes, action, flags.
    pub(super) fn header(&self) -> [u8; HEADER] {
        let family = family_number(self.family);
        [
            family,
            0,
            0,
            0,
            short(self.table),
            0,
            0,
            TO_TABLE,
            0,
            0,
            0,
            0,
        ]
    }

    pub(super) fn encode(&self, packet: &mut Packet) {
        for (kind, value) in [
            (FRA_PRIORITY, self.priority),
            (FRA_MARK, self.mark),
            (FRA_MARK_MASK, self.mask),
            (FRA_TABLE, self.table),
        ] {
            packet.bytes_attribute(kind, &value.to_ne_bytes());
        }
        packet.bytes_attribute(FRA_PROTOCOL, &[self.originator]);
    }
}

/// `the routing rule "fwmark 0x539 lookup 133" for IPv4`
impl fmt::Display for RoutingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, table, family) = (self.mark, self.table, self.family);
        write!(
            f,
            "the routing rule \"fwmark {mark:#x} lookup {table}\" for {family}"
        )
    }
}

// === impl LocalRoute ===

impl LocalRoute {
    /// The route that these packets need.
    pub(crate) fn wanted(route: &MarkRoute) -> Self {
        Self {
            family: route.family,
            table: route.table.get(),
            originator: ids::ROUTE_PROTOCOL,
        }
    }

    /// Whether it is one of ours, in whatever table.
    pub(crate) fn is_ours(&self) -> bool {
        self.originator == ids::ROUTE_PROTOCOL
    }

    /// Whether it does the same, whoever made it.
    pub(crate) fn does_as(&self, other: &Self) -> bool {
        (self.family, self.table) == (other.family, other.table)
    }

    /// `struct rtmsg`: family, lengths of destination and source, type of service, table,
    /// originator, scope, type, flags.
    pub(super) fn header(&self) -> [u8; HEADER] {
        let (family, table) = (family_number(self.family), short(self.table));
        let originator = self.originator;
        [
            family, 0, 0, 0, table, originator, SCOPE_HOST, LOCAL, 0, 0, 0, 0,
        ]
    }

    pub(super) fn encode(&self, packet: &mut Packet) {
        packet.bytes_attribute(RTA_TABLE, &self.table.to_ne_bytes());
        packet.bytes_attribute(RTA_OUT_INTERFACE, &LOOPBACK_INDEX.to_ne_bytes());
    }
}

/// `the route "local default dev lo table 133" for IPv4`
impl fmt::Display for LocalRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, family) = (self.table, self.family);
        write!(
            f,
            "the route \"local default dev lo table {table}\" for {family}"
        )
    }
}

/// Nothing means a rule of another kind or family.
pub(super) fn decode_rule(message: &Message<'_>) -> Result<Option<RoutingRule>, Malformed> {
    let header = message.payload.first_chunk::<HEADER>();
    let [
        family,
        destination,
        source,
        service,
        table,
        _,
        _,
        action,
        ..,
    ] = header.ok_or(Malformed::Length)?;
    let (mut priority, mut mark, mut mask, mut originator) = (0, 0, 0, 0);
    let mut table = u32::from(*table);
    for attribute in message.attributes(HEADER) {
        let attribute = attribute?;
        match attribute.kind {
            FRA_PRIORITY => priority = attribute.native_number()?,
            FRA_MARK => mark = attribute.native_number()?,
            FRA_MARK_MASK => mask = attribute.native_number()?,
            FRA_TABLE => table = attribute.native_number()?,
            FRA_PROTOCOL => originator = attribute.byte()?,
            _ => {}
        }
    }
    let is_plain = (*destination, *source, *service) == (0, 0, 0) && *action == TO_TABLE;
    Ok(family_of(*family)
        .filter(|_| is_plain && mark != 0)
        .map(|family| RoutingRule {
            family,
            priority,
            mark,
            mask,
            table,
            originator,
        }))
}

/// Nothing means a route of another kind or family.
pub(super) fn decode_route(message: &Message<'_>) -> Result<Option<LocalRoute>, Malformed> {
    let header = message.payload.first_chunk::<HEADER>();
    let [
        family,
        destination,
        source,
        _,
        table,
        originator,
        _,
        kind,
        ..,
    ] = header.ok_or(Malformed::Length)?;
    let (mut interface, mut table) = (0, u32::from(*table));
    for attribute in message.attributes(HEADER) {
        let attribute = attribute?;
        match attribute.kind {
            RTA_OUT_INTERFACE => interface = attribute.native_number()?,
            RTA_TABLE => table = attribute.native_number()?,
            _ => {}
        }
    }
    let is_default = (*destination, *source, *kind) == (0, 0, LOCAL);
    Ok(family_of(*family)
        .filter(|_| is_default && interface == LOOPBACK_INDEX)
        .map(|family| LocalRoute {
            family,
            table,
            originator: *originator,
        }))
}

/// The table's number in the byte that was once enough for it; 0 where the attribute says it.
fn short(table: u32) -> u8 {
    u8::try_from(table).unwrap_or_default()
}

/// `AF_INET` and `AF_INET6`.
fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn family_of(number: u8) -> Option<Family> {
    [Family::V4, Family::V6]
        .into_iter()
        .find(|family| family_number(*family) == number)
}

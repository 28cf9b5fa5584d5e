//! Tests for one value or for a set of them.
//!
//! A part of [`raise`](super); pure. A set is taken for what it holds; whether it was written as
//! networks or ranges that overlap cannot be seen any more and makes no difference to a packet.

use std::num::NonZeroU16;

use crate::{
    capture::PortRange,
    nfnetlink::{expression::Expression, ruleset::Set, uapi},
    plan::OneOf,
};

/// Names of the sets that rules of ours have.
const SETS: [&str; 17] = [
    "dns_and_tunnel_ports",
    "dns_servers_v4",
    "dns_servers_v6",
    "excluded_interfaces",
    "excluded_networks_v4",
    "excluded_networks_v6",
    "inbound_ports",
    "inbound_ports_excluded",
    "networks_v4",
    "networks_v6",
    "outbound_ports",
    "outbound_ports_excluded",
    "owner_groups",
    "owner_groups_excluded",
    "proxy_groups",
    "proxy_users",
    "virtual_interfaces",
];
/// A single network or those of a set, which may be intervals.
pub(super) fn networks<T>(
    test: &Expression,
    sets: &[Set],
    single: impl Fn(&[u8]) -> Option<T>,
    interval: impl Fn(&[u8], Option<&[u8]>) -> Option<Vec<T>>,
) -> Option<OneOf<T>> {
    let (set, negated) = match test {
        Expression::Lookup { set, negated } => (set_of(set, sets)?, *negated),
        Expression::Compare { negated, value } => {
            let values = vec![single(value)?];
            return Some(one_of("", values, *negated));
        }
        _ => return None,
    };
    let mut values = Vec::new();
    for (first, behind) in bounds(set) {
        match set.flags & uapi::set::INTERVAL {
            0 => values.push(single(first)?),
            _ => values.extend(interval(first, behind)?),
        }
    }
    Some(one_of(known_name(&set.name)?, values, negated))
}

pub(super) fn ports(test: &Expression, sets: &[Set]) -> Option<OneOf<PortRange>> {
    let port = |bytes: &[u8]| Some(u16::from_be_bytes(padded(bytes)?));
    let range =
        |first: u16, last: u16| PortRange::new(NonZeroU16::new(first)?, NonZeroU16::new(last)?);
    if let Expression::Range { negated, from, to } = test {
        return Some(one_of("", vec![range(port(from)?, port(to)?)?], *negated));
    }
    networks(
        test,
        sets,
        |value| range(port(value)?, port(value)?),
        |first, behind| {
            let last = behind.map_or(Some(u16::MAX), |end| port(end)?.checked_sub(1))?;
            Some(vec![range(port(first)?, last)?])
        },
    )
}

pub(super) fn list<T>(
    test: &Expression,
    sets: &[Set],
    single: impl Fn(&[u8]) -> Option<T>,
) -> Option<OneOf<T>> {
    networks(test, sets, single, |_, _| None)
}

/// The beginnings of a set's intervals, each with the first value behind it; sorted as they are, an
/// end follows its beginning.
fn bounds(set: &Set) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let elements = set.elements.iter().enumerate();
    let begins = elements.filter(|(_, element)| !element.is_end);
    begins.map(|(position, element)| {
        let next = set.elements.get(position + 1);
        let end = next.filter(|next| next.is_end);
        (
            element.key.as_slice(),
            end.map(|element| element.key.as_slice()),
        )
    })
}

fn set_of<'a>(name: &str, sets: &'a [Set]) -> Option<&'a Set> {
    sets.iter().find(|set| set.name == name)
}

fn known_name(name: &str) -> Option<&'static str> {
    SETS.into_iter().find(|known| *known == name)
}

fn one_of<T>(name: &'static str, values: Vec<T>, negated: bool) -> OneOf<T> {
    OneOf {
        name,
        values,
        negated,
    }
}

/// A value of which only the first bytes are there.
pub(super) fn padded<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    bytes.get_mut(..value.len())?.copy_from_slice(value);
    Some(bytes)
}

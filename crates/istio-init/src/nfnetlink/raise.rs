//! From the table in the kernel back to a plan, so that a packet can be walked through what is in
//! force.
//!
//! Called by [`live`](crate::live); pure, and the opposite of [`lower`](super::lower): a rule that is
//! not of a form that `lower` writes is not ours and is named instead of guessed at.

mod membership;
#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
};

use ipnet::{Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use self::membership::{list, networks, padded, ports};
use super::{
    expression::Expression,
    ruleset::{Ruleset, Set},
    uapi::{self, ct, meta},
};
use crate::{
    capture::Interface,
    plan::{Action, Addresses, Chain, Families, Family, Match, Plan, Protocol, Rule, Table},
};

/// A rule that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Its chain.
    pub(crate) chain: String,
    /// Its place there, counted from 1; 0 is the chain itself.
    pub(crate) position: usize,
}

/// Every chain with the table that it stands for.
const PLACES: [(Chain, Table); 16] = [
    (Chain::Prerouting, Table::Raw),
    (Chain::Prerouting, Table::Mangle),
    (Chain::Prerouting, Table::Nat),
    (Chain::Output, Table::Raw),
    (Chain::Output, Table::Mangle),
    (Chain::Output, Table::Nat),
    (Chain::IstioInbound, Table::Raw),
    (Chain::IstioInbound, Table::Mangle),
    (Chain::IstioInbound, Table::Nat),
    (Chain::IstioRedirect, Table::Nat),
    (Chain::IstioInRedirect, Table::Nat),
    (Chain::IstioOutput, Table::Raw),
    (Chain::IstioOutput, Table::Nat),
    (Chain::IstioOutputDns, Table::Raw),
    (Chain::IstioOutputDns, Table::Nat),
    (Chain::IstioDivert, Table::Mangle),
];
/// Chains that iptables has in one table alone.
const MANGLE: [Chain; 2] = [Chain::IstioTproxy, Chain::IstioDrop];

/// The plan that `lower` makes this table of.
pub(crate) fn raise(ruleset: &Ruleset) -> Result<Plan, Foreign> {
    let mut rules = Vec::new();
    for chain in &ruleset.chains {
        let foreign = |position| Foreign {
            chain: chain.name.clone(),
            position,
        };
        let (of, table) = place(&chain.name).ok_or_else(|| foreign(0))?;
        for (position, steps) in chain.rules.iter().enumerate() {
            let rule = rule(of, table, steps, &ruleset.sets);
            rules.push(rule.ok_or_else(|| foreign(position + 1))?);
        }
    }
    Ok(Plan {
        families: Families::V4AndV6,
        rules,
        loopback_addresses: Vec::new(),
        mark_routes: Vec::new(),
    })
}

fn place(name: &str) -> Option<(Chain, Table)> {
    let places = PLACES.into_iter();
    let mut places = places.chain(MANGLE.map(|chain| (chain, Table::Mangle)));
    places.find(|(chain, table)| chain.nft_name(*table) == name)
}

fn rule(chain: Chain, table: Table, steps: &[Expression], sets: &[Set]) -> Option<Rule> {
    let (mut matches, mut rest) = (Vec::new(), steps);
    while let Some((condition, length)) = condition(rest, sets) {
        matches.push(condition);
        rest = rest.get(length..)?;
    }
    if let [Expression::Counter, after @ ..] = rest {
        rest = after;
    }
    Some(Rule {
        table,
        chain,
        matches,
        action: action(rest)?,
    })
}

/// The condition that the steps begin with, and how many of them it is.
fn condition(steps: &[Expression], sets: &[Set]) -> Option<(Match, usize)> {
    use Expression as Step;
    let [load, test, rest @ ..] = steps else {
        return None;
    };
    let found = match (load, test) {
        (
            Step::Meta { key: meta::FAMILY },
            Step::Compare {
                negated: false,
                value,
            },
        ) => {
            let family = family(value)?;
            return Some(match address(family, rest, sets) {
                Some((condition, length)) => (condition, length + 2),
                None => (Match::Family(family), 2),
            });
        }
        (Step::Tracking { key: ct::STATE }, Step::Mask { mask }) => {
            return Some((state(mask, rest.first()?)?, 3));
        }
        (
            Step::Meta {
                key: meta::PROTOCOL,
            },
            Step::Compare {
                negated: false,
                value,
            },
        ) => match value.as_slice() {
            [6] => Match::Protocol(Protocol::Tcp),
            [17] => Match::Protocol(Protocol::Udp),
            _ => return None,
        },
        (Step::Meta { key: meta::MARK }, Step::Compare { negated, value }) => Match::Mark {
            mark: number(value)?,
            negated: *negated,
        },
        (
            Step::Tracking { key: ct::MARK },
            Step::Compare {
                negated: false,
                value,
            },
        ) => Match::ConnectionMark(number(value)?),
        _ => membership(load, test, sets)?,
    };
    Some((found, 2))
}

/// A test for what may be one value or several.
fn membership(load: &Expression, test: &Expression, sets: &[Set]) -> Option<Match> {
    use Expression as Step;
    Some(match load {
        Step::Meta { key: meta::IN_NAME } => Match::InInterface(list(test, sets, interface)?),
        Step::Meta {
            key: meta::OUT_NAME,
        } => Match::OutInterface(list(test, sets, interface)?),
        Step::Meta {
            key: meta::SOCKET_USER,
        } => Match::User(list(test, sets, number)?),
        Step::Meta {
            key: meta::SOCKET_GROUP,
        } => Match::Group(list(test, sets, number)?),
        Step::Payload {
            base: uapi::BASE_TRANSPORT,
            offset,
            length: 2,
        } => match offset {
            0 => Match::SourcePort(ports(test, sets)?),
            2 => Match::DestinationPort(ports(test, sets)?),
            _ => return None,
        },
        _ => return None,
    })
}

fn state(mask: &[u8], test: &Expression) -> Option<Match> {
    let is_any = matches!(test, Expression::Compare { negated: true, value } if value.iter().all(|byte| *byte == 0));
    match number(mask)? {
        ct::INVALID if is_any => Some(Match::Invalid),
        bits if is_any && bits == ct::ESTABLISHED | ct::RELATED => Some(Match::Established),
        _ => None,
    }
}

/// An address in the header of a family, behind the test for the family.
fn address(family: Family, steps: &[Expression], sets: &[Set]) -> Option<(Match, usize)> {
    let [Expression::Payload { base, offset, .. }, tests @ ..] = steps else {
        return None;
    };
    let is_source = match (*base, family, *offset) {
        (uapi::BASE_NETWORK, Family::V4, 12) | (uapi::BASE_NETWORK, Family::V6, 8) => true,
        (uapi::BASE_NETWORK, Family::V4, 16) | (uapi::BASE_NETWORK, Family::V6, 24) => false,
        _ => return None,
    };
    let (prefix, test, length) = match tests {
        [Expression::Mask { mask }, test, ..] => {
            let ones = mask.iter().map(|byte| byte.count_ones()).sum();
            (Some(ones), test, 3)
        }
        [test, ..] => (None, test, 2),
        [] => return None,
    };
    let prefix_of = |value: &[u8]| -> Option<u8> {
        let whole = u32::try_from(value.len()).ok()? * 8;
        u8::try_from(prefix.unwrap_or(whole)).ok()
    };
    let addresses = match family {
        Family::V4 => Addresses::V4(networks(
            test,
            sets,
            |value| Ipv4Net::new(Ipv4Addr::from(padded(value)?), prefix_of(value)?).ok(),
            |first, behind| {
                let last = behind.map_or(Some(u32::MAX), |end| {
                    Some(u32::from_be_bytes(padded(end)?).wrapping_sub(1))
                })?;
                Some(
                    Ipv4Subnets::new(Ipv4Addr::from(padded(first)?), Ipv4Addr::from(last), 0)
                        .collect(),
                )
            },
        )?),
        Family::V6 => Addresses::V6(networks(
            test,
            sets,
            |value| Ipv6Net::new(Ipv6Addr::from(padded(value)?), prefix_of(value)?).ok(),
            |first, behind| {
                let last = behind.map_or(Some(u128::MAX), |end| {
                    Some(u128::from_be_bytes(padded(end)?).wrapping_sub(1))
                })?;
                Some(
                    Ipv6Subnets::new(Ipv6Addr::from(padded(first)?), Ipv6Addr::from(last), 0)
                        .collect(),
                )
            },
        )?),
    };
    let condition = match is_source {
        true => Match::Source(addresses),
        false => Match::Destination(addresses),
    };
    Some((condition, length))
}

fn action(steps: &[Expression]) -> Option<Action> {
    use Expression as Step;
    match steps {
        [Step::Verdict { code, chain: None }] => match *code {
            uapi::VERDICT_RETURN => Some(Action::Return),
            uapi::VERDICT_ACCEPT => Some(Action::Accept),
            uapi::VERDICT_DROP => Some(Action::Drop),
            _ => None,
        },
        [
            Step::Verdict {
                code: uapi::VERDICT_JUMP,
                chain: Some(chain),
            },
        ] => Some(Action::Jump(place(chain)?.0)),
        [Step::Value { value }, Step::Redirect] => Some(Action::Redirect(port(value)?)),
        [
            Step::Value { value },
            Step::Tproxy { .. },
            Step::Value { value: mark },
            Step::SetMeta { key: meta::MARK },
            Step::Verdict {
                code: uapi::VERDICT_ACCEPT,
                chain: None,
            },
        ] => Some(Action::Tproxy {
            port: port(value)?,
            mark: NonZeroU32::new(number(mark)?)?,
        }),
        [Step::Value { value }, Step::SetMeta { key: meta::MARK }] => {
            Some(Action::Mark(number(value)?))
        }
        [
            Step::Meta { key: meta::MARK },
            Step::SetTracking {
                key: ct::MARK,
                is_original: false,
            },
        ] => Some(Action::SaveMark),
        [
            Step::Tracking { key: ct::MARK },
            Step::SetMeta { key: meta::MARK },
        ] => Some(Action::RestoreMark),
        [
            Step::Value { value },
            Step::SetTracking {
                key: ct::ZONE,
                is_original,
            },
        ] => {
            let zone = u16::from_ne_bytes(value.as_slice().try_into().ok()?);
            Some(match is_original {
                true => Action::OriginalZone(zone),
                false => Action::Zone(zone),
            })
        }
        _ => None,
    }
}

fn family(value: &[u8]) -> Option<Family> {
    let [v4, v6] = uapi::NFPROTO;
    match value {
        [number] if *number == v4 => Some(Family::V4),
        [number] if *number == v6 => Some(Family::V6),
        _ => None,
    }
}

/// A whole name ends with a zero, a prefix of names does not.
fn interface(value: &[u8]) -> Option<Interface> {
    let name = match value.split(|byte| *byte == 0).next()? {
        name if name.len() == value.len() => format!("{}+", std::str::from_utf8(name).ok()?),
        name => std::str::from_utf8(name).ok()?.to_owned(),
    };
    Interface::parse(&name).ok()
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn port(value: &[u8]) -> Option<NonZeroU16> {
    let bytes = value.try_into().ok()?;
    NonZeroU16::new(u16::from_be_bytes(bytes))
}

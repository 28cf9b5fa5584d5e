//! From a plan to the table that carries it out.
//!
//! Called by [`apply`](crate::apply) with a plan that was made for nf_tables; pure. Each condition
//! becomes a load and a comparison, just as `nft` would write the text that [`nft`](crate::nft)
//! prints.

mod set;

use std::cmp::Ordering;

use super::{
    expression::Expression,
    ruleset::{Base, Chain, Ruleset},
    uapi::{self, ct, meta},
};
use crate::{
    capture::{Interface, PortRange},
    plan::{self, Action, Addresses, ChainRules, Family, Match, OneOf, Plan, Protocol, Rule},
    sets,
};

/// The kernel's buffer for the name of an interface (`IFNAMSIZ`).
const INTERFACE_LENGTH: usize = 16;
/// Protocol numbers (IANA).
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where an address stands in its header, and how long it is.
#[derive(Clone, Copy, Debug)]
struct Field {
    source: u32,
    destination: u32,
    length: u32,
}

const FIELD_V4: Field = Field {
    source: 12,
    destination: 16,
    length: 4,
};
const FIELD_V6: Field = Field {
    source: 8,
    destination: 24,
    length: 16,
};

/// The table for a plan.
pub(crate) fn lower(plan: &Plan) -> Ruleset {
    Ruleset {
        flags: 0,
        sets: sets::of(plan).into_iter().map(set::set).collect(),
        chains: plan.chains().iter().map(chain).collect(),
    }
}

fn chain(entry: &ChainRules<'_>) -> Chain {
    let hook = match entry.chain {
        plan::Chain::Prerouting => Some(uapi::chain::PREROUTING),
        plan::Chain::Output => Some(uapi::chain::OUTPUT),
        _ => None,
    };
    Chain {
        name: entry.chain.nft_name(entry.table).to_owned(),
        base: hook.map(|hook| Base {
            kind: entry.chain.nft_type(entry.table).to_owned(),
            hook,
            priority: entry.table.priority().cast_unsigned(),
            policy: uapi::VERDICT_ACCEPT,
        }),
        rules: entry.rules.iter().map(|rule| self::rule(rule)).collect(),
    }
}

fn rule(rule: &Rule) -> Vec<Expression> {
    let mut steps: Vec<Expression> = rule.matches.iter().flat_map(condition).collect();
    if rule.action.is_counted() {
        steps.push(Expression::Counter);
    }
    steps.extend(action(rule));
    steps
}

fn action(rule: &Rule) -> Vec<Expression> {
    match rule.action {
        Action::Return => vec![verdict(uapi::VERDICT_RETURN, None)],
        Action::Accept => vec![verdict(uapi::VERDICT_ACCEPT, None)],
        Action::Jump(chain) => {
            let name = chain.nft_name(rule.table);
            vec![verdict(uapi::VERDICT_JUMP, Some(name))]
        }
        Action::Redirect(port) => {
            let value = port_bytes(port.get());
            vec![Expression::Value { value }, Expression::Redirect]
        }
        Action::Tproxy { port, mark } => {
            let value = port_bytes(port.get());
            let family = rule.family().map_or(0, family_number).into();
            let mut steps = vec![Expression::Value { value }, Expression::Tproxy { family }];
            steps.extend(set_mark(mark.get()));
            steps.push(verdict(uapi::VERDICT_ACCEPT, None));
            steps
        }
        Action::Mark(mark) => set_mark(mark).to_vec(),
        Action::SaveMark => vec![
            load(meta::MARK),
            Expression::SetTracking {
                key: ct::MARK,
                is_original: false,
            },
        ],
        Action::RestoreMark => vec![
            Expression::Tracking { key: ct::MARK },
            Expression::SetMeta { key: meta::MARK },
        ],
        Action::Zone(zone) => set_zone(zone, false).to_vec(),
        Action::OriginalZone(zone) => set_zone(zone, true).to_vec(),
        Action::Drop => vec![verdict(uapi::VERDICT_DROP, None)],
    }
}

fn set_mark(mark: u32) -> [Expression; 2] {
    let value = mark.to_ne_bytes().to_vec();
    [
        Expression::Value { value },
        Expression::SetMeta { key: meta::MARK },
    ]
}

fn set_zone(zone: u16, is_original: bool) -> [Expression; 2] {
    let value = zone.to_ne_bytes().to_vec();
    [
        Expression::Value { value },
        Expression::SetTracking {
            key: ct::ZONE,
            is_original,
        },
    ]
}

fn verdict(code: u32, chain: Option<&str>) -> Expression {
    let chain = chain.map(str::to_owned);
    Expression::Verdict { code, chain }
}

fn condition(condition: &Match) -> Vec<Expression> {
    match condition {
        Match::Family(family) => vec![load(meta::FAMILY), equals(vec![family_number(*family)])],
        Match::InInterface(names) => vec![load(meta::IN_NAME), one_of(names, interface)],
        Match::OutInterface(names) => vec![load(meta::OUT_NAME), one_of(names, interface)],
        Match::Source(addresses) => address(addresses, |field| field.source),
        Match::Destination(addresses) => address(addresses, |field| field.destination),
        Match::Protocol(Protocol::Tcp) => vec![load(meta::PROTOCOL), equals(vec![TCP])],
        Match::Protocol(Protocol::Udp) => vec![load(meta::PROTOCOL), equals(vec![UDP])],
        Match::SourcePort(ports) => vec![transport(0), one_of(ports, port)],
        Match::DestinationPort(ports) => vec![transport(2), one_of(ports, port)],
        Match::User(users) => vec![load(meta::SOCKET_USER), one_of(users, number)],
        Match::Group(groups) => vec![load(meta::SOCKET_GROUP), one_of(groups, number)],
        Match::Mark { mark, negated } => vec![load(meta::MARK), number(mark, *negated)],
        Match::ConnectionMark(mark) => {
            vec![Expression::Tracking { key: ct::MARK }, number(mark, false)]
        }
        Match::Established => state(ct::ESTABLISHED | ct::RELATED),
        Match::Invalid => state(ct::INVALID),
    }
}

/// Any of these bits.
fn state(bits: u32) -> Vec<Expression> {
    vec![
        Expression::Tracking { key: ct::STATE },
        Expression::Mask {
            mask: bits.to_ne_bytes().to_vec(),
        },
        differs(vec![0; size_of::<u32>()]),
    ]
}

/// A port, by its place in the header of TCP or UDP.
fn transport(offset: u32) -> Expression {
    Expression::Payload {
        base: uapi::BASE_TRANSPORT,
        offset,
        length: 2,
    }
}

/// An address is only looked for in packets of its family: the same bytes of another header mean
/// something else.
fn address(addresses: &Addresses, offset: impl Fn(&Field) -> u32) -> Vec<Expression> {
    let family = equals(vec![family_number(addresses.family())]);
    let test = match addresses {
        Addresses::V4(networks) => within(networks, offset(&FIELD_V4), FIELD_V4, |network| {
            (network.network().octets().to_vec(), network.prefix_len())
        }),
        Addresses::V6(networks) => within(networks, offset(&FIELD_V6), FIELD_V6, |network| {
            (network.network().octets().to_vec(), network.prefix_len())
        }),
    };
    [load(meta::FAMILY), family]
        .into_iter()
        .chain(test)
        .collect()
}

/// A single network is compared, as many bytes of it as its prefix has; where the prefix ends within
/// a byte the whole address is masked first. Several networks are looked up.
fn within<T>(
    networks: &OneOf<T>,
    offset: u32,
    field: Field,
    network: impl Fn(&T) -> (Vec<u8>, u8),
) -> Vec<Expression> {
    let negated = networks.negated;
    let payload = |length| Expression::Payload {
        base: uapi::BASE_NETWORK,
        offset,
        length,
    };
    match (sets::name_of(networks), networks.values.first()) {
        (None, Some(single)) => {
            let (mut value, prefix) = network(single);
            let n_bytes = prefix / 8;
            if prefix % 8 == 0 && prefix > 0 {
                value.truncate(n_bytes.into());
                return vec![
                    payload(n_bytes.into()),
                    Expression::Compare { negated, value },
                ];
            }
            let mask = Expression::Mask {
                mask: mask(prefix, value.len()),
            };
            let compare = Expression::Compare { negated, value };
            vec![payload(field.length), mask, compare]
        }
        (name, _) => {
            let lookup = lookup(name.unwrap_or(networks.name), negated);
            vec![payload(field.length), lookup]
        }
    }
}

/// This many bits that are set, and then zeros.
fn mask(prefix: u8, n_bytes: usize) -> Vec<u8> {
    let (whole, rest) = (usize::from(prefix / 8), prefix % 8);
    (0..n_bytes)
        .map(|position| match position.cmp(&whole) {
            Ordering::Less => u8::MAX,
            Ordering::Equal => !(u8::MAX >> rest),
            Ordering::Greater => 0,
        })
        .collect()
}

/// The test for a loaded value.
fn one_of<T>(list: &OneOf<T>, single: impl Fn(&T, bool) -> Expression) -> Expression {
    match (sets::name_of(list), list.values.first()) {
        (None, Some(value)) => single(value, list.negated),
        (name, _) => lookup(name.unwrap_or(list.name), list.negated),
    }
}

fn interface(name: &Interface, negated: bool) -> Expression {
    let value = match name.is_prefix() {
        true => name.stem().as_bytes().to_vec(),
        false => interface_bytes(name),
    };
    Expression::Compare { negated, value }
}

fn port(range: &PortRange, negated: bool) -> Expression {
    let (from, to) = (port_bytes(range.first()), port_bytes(range.last()));
    if range.is_single() {
        Expression::Compare {
            negated,
            value: from,
        }
    } else {
        Expression::Range { negated, from, to }
    }
}

/// An owner or a mark.
fn number(number: &u32, negated: bool) -> Expression {
    let value = number.to_ne_bytes().to_vec();
    Expression::Compare { negated, value }
}

fn load(key: u32) -> Expression {
    Expression::Meta { key }
}

fn equals(value: Vec<u8>) -> Expression {
    Expression::Compare {
        negated: false,
        value,
    }
}

fn differs(value: Vec<u8>) -> Expression {
    Expression::Compare {
        negated: true,
        value,
    }
}

fn lookup(set: &str, negated: bool) -> Expression {
    let set = set.to_owned();
    Expression::Lookup { negated, set }
}

fn interface_bytes(name: &Interface) -> Vec<u8> {
    let mut bytes = name.stem().as_bytes().to_vec();
    bytes.resize(INTERFACE_LENGTH, 0);
    bytes
}

fn port_bytes(port: u16) -> Vec<u8> {
    port.to_be_bytes().to_vec()
}

fn family_number(family: Family) -> u8 {
    let [v4, v6] = uapi::NFPROTO;
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

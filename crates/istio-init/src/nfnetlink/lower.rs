//! From a plan to the table that carries it out.
//!
//! Called by [`apply`](crate::apply) with a plan that was made for nf_tables; pure. Each condition
//! becomes a load and a comparison, just as `nft` would write the text that [`nft`](crate::nft)
//! prints.

use std::num::NonZeroU16;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{
    expression::Expression,
    ruleset::{Base, Chain, Element, Ruleset, Set},
    uapi::{self, ct, key, meta, set as flag},
};
use crate::{
    capture::{Interface, PortRange},
    plan::{self, Action, Addresses, ChainRules, Family, Match, OneOf, Plan, Protocol, Rule},
    sets::{self, Elements},
};

/// The kernel's buffer for the name of an interface (`IFNAMSIZ`).
const INTERFACE_LENGTH: usize = 16;
/// Protocol numbers (IANA).
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where an address stands in its header, and how long it is.
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
        sets: sets::of(plan).into_iter().map(set).collect(),
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
        Action::SaveMark => vec![load(meta::MARK), Expression::SetTracking { key: ct::MARK }],
        Action::RestoreMark => vec![
            Expression::Tracking { key: ct::MARK },
            Expression::SetMeta { key: meta::MARK },
        ],
        Action::Zone(zone) => {
            let value = zone.to_ne_bytes().to_vec();
            vec![
                Expression::Value { value },
                Expression::SetTracking { key: ct::ZONE },
            ]
        }
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
    let field = match addresses {
        Addresses::V4(_) => FIELD_V4,
        Addresses::V6(_) => FIELD_V6,
    };
    let mut steps = vec![
        load(meta::FAMILY),
        equals(vec![family_number(addresses.family())]),
        Expression::Payload {
            base: uapi::BASE_NETWORK,
            offset: offset(&field),
            length: field.length,
        },
    ];
    match addresses {
        Addresses::V4(networks) => steps.extend(within(networks, |network| {
            (
                network.network().octets().to_vec(),
                network.netmask().octets().to_vec(),
            )
        })),
        Addresses::V6(networks) => steps.extend(within(networks, |network| {
            (
                network.network().octets().to_vec(),
                network.netmask().octets().to_vec(),
            )
        })),
    }
    steps
}

/// A single network is masked and compared, several are looked up.
fn within<T>(networks: &OneOf<T>, bytes: impl Fn(&T) -> (Vec<u8>, Vec<u8>)) -> Vec<Expression> {
    let negated = networks.negated;
    match (sets::name_of(networks), networks.values.first()) {
        (None, Some(network)) => {
            let (value, mask) = bytes(network);
            let is_host = mask.iter().all(|byte| *byte == u8::MAX);
            let mask = (!is_host).then_some(Expression::Mask { mask });
            mask.into_iter()
                .chain([Expression::Compare { negated, value }])
                .collect()
        }
        (name, _) => vec![lookup(name.unwrap_or(networks.name), negated)],
    }
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

fn set(set: sets::Set) -> Set {
    let has_intervals = set.elements.has_intervals();
    let (key_type, key_length, mut elements) = match set.elements {
        Elements::Interfaces(names) => (
            key::INTERFACE_NAME,
            INTERFACE_LENGTH,
            values(names.iter().map(interface_bytes)),
        ),
        Elements::V4(networks) => (
            key::IPV4_ADDRESS,
            size_of::<u32>(),
            intervals(networks.iter().map(bounds_v4), has_intervals),
        ),
        Elements::V6(networks) => (
            key::IPV6_ADDRESS,
            size_of::<u128>(),
            intervals(networks.iter().map(bounds_v6), has_intervals),
        ),
        Elements::Ports(ranges) => {
            let bounds = |range: &PortRange| {
                (
                    port_bytes(range.first()),
                    range.last().checked_add(1).map(port_bytes),
                )
            };
            (
                key::INET_SERVICE,
                size_of::<NonZeroU16>(),
                intervals(ranges.iter().map(bounds), has_intervals),
            )
        }
        Elements::Users(users) => (
            key::UID,
            size_of::<u32>(),
            values(users.iter().map(|user| user.to_ne_bytes().to_vec())),
        ),
        Elements::Groups(groups) => (
            key::GID,
            size_of::<u32>(),
            values(groups.iter().map(|group| group.to_ne_bytes().to_vec())),
        ),
    };
    elements.sort_unstable();
    Set {
        name: set.name.to_owned(),
        flags: if has_intervals {
            flag::CONSTANT | flag::INTERVAL
        } else {
            flag::CONSTANT
        },
        key_type,
        key_length: u32::try_from(key_length).expect("keys are a few bytes long"),
        elements,
    }
}

fn values(keys: impl Iterator<Item = Vec<u8>>) -> Vec<Element> {
    keys.map(|key| Element { key, is_end: false }).collect()
}

/// Each interval is its first value and, unless it reaches the highest value of all, the first one
/// behind it.
///
/// Intervals come sorted; where one begins right behind another the two are one, because the kernel
/// takes such a pair for an overlap.
fn intervals(
    bounds: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    has_intervals: bool,
) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    for (first, behind) in bounds {
        let touches = |last: &Element| last.is_end && last.key == first;
        if elements.pop_if(|last| touches(last)).is_none() {
            let is_end = false;
            elements.push(Element { key: first, is_end });
        }
        if has_intervals && let Some(key) = behind {
            elements.push(Element { key, is_end: true });
        }
    }
    elements
}

fn bounds_v4(network: &Ipv4Net) -> (Vec<u8>, Option<Vec<u8>>) {
    let behind = network.broadcast().to_bits().checked_add(1);
    (
        network.network().octets().to_vec(),
        behind.map(|address| address.to_be_bytes().to_vec()),
    )
}

fn bounds_v6(network: &Ipv6Net) -> (Vec<u8>, Option<Vec<u8>>) {
    let behind = network.broadcast().to_bits().checked_add(1);
    (
        network.network().octets().to_vec(),
        behind.map(|address| address.to_be_bytes().to_vec()),
    )
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

//! The plan as text for `nft -f`.
//!
//! Called for `--dry-run` with a plan that was made for
//! [`Backend::Nftables`](crate::plan::Backend); pure. The text replaces the whole table in one
//! transaction, as the program itself does, whatever was in it before.

use std::fmt::Display;

use contract::chains;
use ipnet::{Ipv4Net, Ipv6Net};

use crate::{
    capture::{Interface, PortRange},
    iptables::route_comments,
    plan::{Action, Addresses, ChainRules, Family, Match, OneOf, Plan, Protocol, Rule},
    sets::{self, Elements, Set},
};

/// The plan as one nft script, which also removes the tables that Istio left if `istio` is set.
pub fn render(plan: &Plan, istio: bool) -> String {
    let sets: String = sets::of(plan).iter().map(set).collect();
    let chains: String = plan.chains().iter().map(chain).collect();
    let addresses = plan.loopback_addresses.iter();
    let addresses: String = addresses
        .map(|address| format!("# The interface lo also needs the address {address}.\n"))
        .collect();
    let routes = plan.families.each().iter();
    let routes: String = routes.map(|family| route_comments(plan, *family)).collect();
    let table = chains::TABLE;
    format!(
        "{}table inet {table} {{\n{sets}{chains}}}\n{addresses}{routes}",
        render_cleanup(istio)
    )
}

/// The script that removes everything; naming a table first makes deleting it succeed where it is
/// absent.
pub fn render_cleanup(istio: bool) -> String {
    let others = chains::ISTIO_NATIVE_TABLES.into_iter().filter(|_| istio);
    [chains::TABLE]
        .into_iter()
        .chain(others)
        .map(|table| format!("table inet {table}\ndelete table inet {table}\n"))
        .collect()
}

/// One rule as nft writes it, without the chain; also names a rule in messages.
pub fn rule_text(rule: &Rule) -> String {
    let mut words: Vec<String> = Vec::new();
    for (position, condition) in rule.matches.iter().enumerate() {
        let next = rule.matches.get(position + 1);
        words.push(condition_text(condition, next));
    }
    if rule.action.is_counted() {
        words.push("counter".to_owned());
    }
    words.push(statement(rule));
    words.join(" ")
}

fn statement(rule: &Rule) -> String {
    match rule.action {
        Action::Return => "return".to_owned(),
        Action::Accept => "accept".to_owned(),
        Action::Jump(chain) => format!("jump {}", chain.nft_name(rule.table)),
        Action::Redirect(port) => format!("redirect to :{port}"),
        Action::Tproxy { port, mark } => {
            let family = match rule.family() {
                Some(Family::V4) => "ip ",
                Some(Family::V6) => "ip6 ",
                None => "",
            };
            format!("tproxy {family}to :{port} meta mark set {mark} accept")
        }
        Action::Mark(mark) => format!("meta mark set {mark}"),
        Action::SaveMark => "ct mark set meta mark".to_owned(),
        Action::RestoreMark => "meta mark set ct mark".to_owned(),
        Action::Zone(zone) => format!("ct zone set {zone}"),
        Action::OriginalZone(zone) => format!("ct original zone set {zone}"),
        Action::Drop => "drop".to_owned(),
    }
}

fn set(set: &Set) -> String {
    let (kind, elements) = match &set.elements {
        Elements::Interfaces(names) => ("ifname", list(names.iter().map(interface))),
        Elements::V4(networks) => ("ipv4_addr", list(networks.iter().map(network_v4))),
        Elements::V6(networks) => ("ipv6_addr", list(networks.iter().map(network_v6))),
        Elements::Ports(ranges) => ("inet_service", list(ranges.iter())),
        Elements::Users(users) => ("uid", list(users.iter())),
        Elements::Groups(groups) => ("gid", list(groups.iter())),
    };
    let flags = if set.elements.has_intervals() {
        "constant,interval"
    } else {
        "constant"
    };
    let name = set.name;
    format!(
        "\tset {name} {{\n\t\ttype {kind}\n\t\tflags {flags}\n\t\telements = {{ {elements} }}\n\t}}\n"
    )
}

fn chain(entry: &ChainRules<'_>) -> String {
    let name = entry.chain.nft_name(entry.table);
    let hook = entry.chain.hook().map(|hook| {
        let (kind, priority) = (entry.chain.nft_type(entry.table), entry.table.priority());
        format!("\t\ttype {kind} hook {hook} priority {priority}; policy accept;\n")
    });
    let rules: String = entry
        .rules
        .iter()
        .map(|rule| format!("\t\t{}\n", rule_text(rule)))
        .collect();
    format!(
        "\tchain {name} {{\n{}{rules}\t}}\n",
        hook.unwrap_or_default()
    )
}

/// A protocol that is followed by a port goes without saying: `tcp dport 80` tests for both.
fn condition_text(condition: &Match, next: Option<&Match>) -> String {
    match condition {
        Match::Family(Family::V4) => "meta nfproto ipv4".to_owned(),
        Match::Family(Family::V6) => "meta nfproto ipv6".to_owned(),
        Match::InInterface(names) => one_of("iifname", names, interface),
        Match::OutInterface(names) => one_of("oifname", names, interface),
        Match::Source(Addresses::V4(networks)) => one_of("ip saddr", networks, network_v4),
        Match::Source(Addresses::V6(networks)) => one_of("ip6 saddr", networks, network_v6),
        Match::Destination(Addresses::V4(networks)) => one_of("ip daddr", networks, network_v4),
        Match::Destination(Addresses::V6(networks)) => one_of("ip6 daddr", networks, network_v6),
        Match::Protocol(protocol)
            if matches!(next, Some(Match::SourcePort(_) | Match::DestinationPort(_))) =>
        {
            protocol_text(*protocol).to_owned()
        }
        Match::Protocol(protocol) => format!("meta l4proto {}", protocol_text(*protocol)),
        Match::SourcePort(ports) => one_of("sport", ports, PortRange::to_string),
        Match::DestinationPort(ports) => one_of("dport", ports, PortRange::to_string),
        Match::User(users) => one_of("meta skuid", users, u32::to_string),
        Match::Group(groups) => one_of("meta skgid", groups, u32::to_string),
        Match::Mark { mark, negated } => {
            format!("meta mark {}{mark}", if *negated { "!= " } else { "" })
        }
        Match::ConnectionMark(mark) => format!("ct mark {mark}"),
        Match::Established => "ct state established,related".to_owned(),
        Match::Invalid => "ct state invalid".to_owned(),
    }
}

fn protocol_text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn one_of<T>(what: &str, list: &OneOf<T>, text: impl Fn(&T) -> String) -> String {
    let is_not = if list.negated { "!= " } else { "" };
    match (sets::name_of(list), list.values.first()) {
        (None, Some(value)) => format!("{what} {is_not}{}", text(value)),
        (name, _) => format!("{what} {is_not}@{}", name.unwrap_or(list.name)),
    }
}

fn list(values: impl Iterator<Item = impl Display>) -> String {
    values
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn interface(name: &Interface) -> String {
    format!(
        "\"{}{}\"",
        name.stem(),
        if name.is_prefix() { "*" } else { "" }
    )
}

fn network_v4(network: &Ipv4Net) -> String {
    if network.prefix_len() == 32 {
        network.addr().to_string()
    } else {
        network.trunc().to_string()
    }
}

fn network_v6(network: &Ipv6Net) -> String {
    if network.prefix_len() == 128 {
        network.addr().to_string()
    } else {
        network.trunc().to_string()
    }
}

//! The whole policy: from what is to be captured to the rules that capture it.
//!
//! Called with a [`Capture`] and the namespace's families; pure. The order of the sections is
//! Istio's, so that its output and ours can be laid side by side, and the verdict for the first packet
//! of a connection is that of Istio's iptables rules whichever backend is asked for.

mod dns;
mod inbound;
mod outbound;
mod tproxy;
mod zones;

use std::num::NonZeroU16;

use contract::net;
use ipnet::{Ipv4Net, Ipv6Net};

use crate::{
    capture::{Capture, Inbound, Interception, Interface, PortRange},
    plan::{
        Action, Addresses, Backend, Chain, Families, Family, MarkRoute, Match, OneOf, Plan,
        Protocol, Rule, Table,
    },
};

/// Collects rules in the order of their evaluation.
struct Builder<'a> {
    capture: &'a Capture,
    families: Families,
    backend: Backend,
    rules: Vec<Rule>,
}

/// The agent's source address towards its application, IPv6, which `lo` does not have by itself.
const INBOUND_SOURCE_V6: Ipv6Net = Ipv6Net::new_assert(net::INBOUND_SOURCE_V6, 128);
/// The agent's source address towards its application.
const INBOUND_SOURCE_V4: Ipv4Net = Ipv4Net::new_assert(net::INBOUND_SOURCE_V4, 32);
/// IPv6 destinations that count as "this very pod".
const LOOPBACK_V6: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);

/// The rules that make `capture` true in a namespace that speaks `families`.
pub fn plan(capture: &Capture, families: Families, backend: Backend) -> Plan {
    let mut builder = Builder {
        capture,
        families,
        backend,
        rules: Vec::new(),
    };
    builder.interfaces();
    builder.invalid();
    builder.redirects();
    tproxy::hand_over(&mut builder);
    inbound::rules(&mut builder);
    outbound::rules(&mut builder);
    tproxy::marks(&mut builder);
    zones::rules(&mut builder);
    Plan {
        families,
        rules: builder.rules,
        loopback_addresses: loopback_addresses(families).to_vec(),
        mark_routes: mark_routes(capture, families),
    }
}

/// The addresses that the loopback interface needs besides its own.
pub fn loopback_addresses(families: Families) -> &'static [Ipv6Net] {
    match families {
        Families::V4 => &[],
        Families::V4AndV6 => &[INBOUND_SOURCE_V6],
    }
}

/// Where nothing inbound is captured no packet is ever marked for the proxy.
fn mark_routes(capture: &Capture, families: Families) -> Vec<MarkRoute> {
    match (capture.interception, &capture.inbound) {
        (Interception::Redirect, _) | (_, Inbound::None) => Vec::new(),
        (Interception::Tproxy { mark, table }, Inbound::All { .. } | Inbound::Only { .. }) => {
            let route = |family: &Family| MarkRoute {
                family: *family,
                mark,
                table,
            };
            families.each().iter().map(route).collect()
        }
    }
}

// === impl Builder ===

impl Builder<'_> {
    /// Interfaces without capture, and those of virtual machines, whose packets come in but are
    /// calls out.
    fn interfaces(&mut self) {
        let capture = self.capture;
        for interfaces in lists("virtual_interfaces", &capture.virtual_interfaces) {
            outbound::from_virtual_machines(self, &interfaces);
            let matches = vec![Match::InInterface(interfaces)];
            self.base(Table::Nat, Chain::Prerouting, matches, Action::Return);
        }
        let tables = match capture.interception {
            Interception::Redirect => &[Table::Nat][..],
            Interception::Tproxy { .. } => &[Table::Nat, Table::Mangle],
        };
        for group in self.grouped(&capture.excluded_interfaces) {
            for interfaces in lists("excluded_interfaces", &group) {
                for table in tables {
                    let incoming = vec![Match::InInterface(interfaces.clone())];
                    self.base(*table, Chain::Prerouting, incoming, Action::Return);
                    let outgoing = vec![Match::OutInterface(interfaces.clone())];
                    self.base(*table, Chain::Output, outgoing, Action::Return);
                }
            }
        }
    }

    /// Packets that connection tracking finds invalid would reach the application untranslated and
    /// reset its connections.
    fn invalid(&mut self) {
        if !self.capture.drop_invalid {
            return;
        }
        let drop = Action::Jump(Chain::IstioDrop);
        self.base(Table::Mangle, Chain::Prerouting, vec![Match::Invalid], drop);
        self.push(Table::Mangle, Chain::IstioDrop, Vec::new(), Action::Drop);
    }

    /// The two places where connections turn to the proxy; they are there even if nothing leads to
    /// them.
    fn redirects(&mut self) {
        let tunnel = tcp_port(self.capture.tunnel_port);
        self.nat(Chain::IstioInbound, tunnel, Action::Return);
        let outbound = Action::Redirect(self.capture.outbound_port);
        self.nat(Chain::IstioRedirect, vec![tcp()], outbound);
        let inbound = Action::Redirect(self.capture.inbound_port);
        self.nat(Chain::IstioInRedirect, vec![tcp()], inbound);
    }

    fn nat(&mut self, chain: Chain, matches: Vec<Match>, action: Action) {
        self.push(Table::Nat, chain, matches, action);
    }

    /// Appends to a base chain, through which packets of both families come even where only one is
    /// captured.
    fn base(&mut self, table: Table, chain: Chain, mut matches: Vec<Match>, action: Action) {
        if self.families == Families::V4 {
            matches.insert(0, Match::Family(Family::V4));
        }
        self.push(table, chain, matches, action);
    }

    fn push(&mut self, table: Table, chain: Chain, matches: Vec<Match>, action: Action) {
        self.rules.push(Rule {
            table,
            chain,
            matches,
            action,
        });
    }

    /// The values that share a rule: all of them where there are sets, else one each.
    ///
    /// Only needed where a list leads to several rules, which Istio emits value by value; in others
    /// the printer splits.
    fn grouped<T: Clone>(&self, values: &[T]) -> Vec<Vec<T>> {
        match self.backend {
            Backend::Nftables if values.is_empty() => Vec::new(),
            Backend::Nftables => vec![values.to_vec()],
            Backend::Iptables => values.iter().map(|value| vec![value.clone()]).collect(),
        }
    }

    /// The proxy's users and groups: all users at once, then all groups, where there are sets, else
    /// one after the other.
    fn owners(&self) -> Vec<Match> {
        let capture = self.capture;
        let users = self.grouped(&capture.proxy_uids).into_iter();
        let users = users.map(|users| Match::User(OneOf::of("proxy_users", users)));
        let groups = self.grouped(&capture.proxy_gids).into_iter();
        let groups = groups.map(|groups| Match::Group(OneOf::of("proxy_groups", groups)));
        users.chain(groups).collect()
    }

    /// This pod's loopback destinations, family by family.
    fn loopbacks(&self) -> Vec<Addresses> {
        self.per_family(self.capture.loopback, LOOPBACK_V6)
    }

    /// The agent's source addresses, family by family.
    fn inbound_sources(&self) -> Vec<Addresses> {
        self.per_family(INBOUND_SOURCE_V4, INBOUND_SOURCE_V6)
    }

    fn per_family(&self, v4: Ipv4Net, v6: Ipv6Net) -> Vec<Addresses> {
        let addresses = |family: &Family| match family {
            Family::V4 => Addresses::V4(OneOf::is(v4)),
            Family::V6 => Addresses::V6(OneOf::is(v6)),
        };
        self.families.each().iter().map(addresses).collect()
    }
}

fn tcp() -> Match {
    Match::Protocol(Protocol::Tcp)
}

fn tcp_port(port: NonZeroU16) -> Vec<Match> {
    to_port(Protocol::Tcp, port)
}

fn to_port(protocol: Protocol, port: NonZeroU16) -> Vec<Match> {
    vec![
        Match::Protocol(protocol),
        Match::DestinationPort(OneOf::is(PortRange::single(port))),
    ]
}

/// The opposite of a condition on addresses or owners.
fn negated(condition: Match) -> Match {
    match condition {
        Match::User(users) => Match::User(users.negate()),
        Match::Group(groups) => Match::Group(groups.negate()),
        Match::Destination(Addresses::V4(networks)) => {
            Match::Destination(Addresses::V4(networks.negate()))
        }
        Match::Destination(Addresses::V6(networks)) => {
            Match::Destination(Addresses::V6(networks.negate()))
        }
        other => other,
    }
}

fn loopback_out() -> Match {
    Match::OutInterface(OneOf::is(Interface::loopback()))
}

/// The exact names as one list, and each prefix for itself, because a set holds no prefixes of
/// names.
fn lists(name: &'static str, interfaces: &[Interface]) -> Vec<OneOf<Interface>> {
    let (prefixes, exact): (Vec<_>, Vec<_>) =
        interfaces.iter().cloned().partition(Interface::is_prefix);
    let exact = (!exact.is_empty()).then(|| OneOf::of(name, exact));
    exact
        .into_iter()
        .chain(prefixes.into_iter().map(OneOf::is))
        .collect()
}

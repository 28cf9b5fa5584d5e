//! Connections from the pod: `OUTPUT` sends everything to `ISTIO_OUTPUT`, which sends what is
//! captured to `ISTIO_REDIRECT`.
//!
//! Called by [`plan`](super::plan) last. The order is: what passes by port; what the proxy and the
//! application say to themselves through `lo`; what passes by user, group; questions to DNS
//! servers; what passes by address; then what is captured by port and by address.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Builder, dns, loopback_out, negated, tcp};
use crate::{
    capture::{Destinations, Interface, OwnerGroups, PortRange},
    plan::{Action, Addresses, Backend, Chain, Families, Match, OneOf, Protocol, Table},
};

const TO_PROXY: Action = Action::Jump(Chain::IstioRedirect);

/// Appends the rules for what goes out.
pub(super) fn rules(builder: &mut Builder<'_>) {
    let output = Action::Jump(Chain::IstioOutput);
    builder.base(Table::Nat, Chain::Output, Vec::new(), output);
    excluded_ports(builder);
    for source in builder.inbound_sources() {
        pass(builder, vec![loopback_out(), Match::Source(source)]);
    }
    match builder.backend {
        Backend::Nftables => owners_at_once(builder),
        Backend::Iptables => owners_one_by_one(builder),
    }
    owner_groups(builder);
    dns::rules(builder);
    for loopback in builder.loopbacks() {
        pass(builder, vec![Match::Destination(loopback)]);
    }
    let excluded = &builder.capture.excluded_destinations;
    for networks in networks(
        builder.families,
        ["excluded_networks_v4", "excluded_networks_v6"],
        excluded,
    ) {
        pass(builder, vec![Match::Destination(networks)]);
    }
    included_ports(builder);
    for networks in captured_networks(builder) {
        builder.nat(Chain::IstioOutput, networks, TO_PROXY);
    }
}

/// What comes in from a virtual machine is its call to the world, captured by address as the pod's
/// own calls are.
pub(super) fn from_virtual_machines(builder: &mut Builder<'_>, interfaces: &OneOf<Interface>) {
    for networks in captured_networks(builder) {
        let mut matches = vec![Match::InInterface(interfaces.clone())];
        matches.extend(networks);
        builder.base(Table::Nat, Chain::Prerouting, matches, TO_PROXY);
    }
}

fn excluded_ports(builder: &mut Builder<'_>) {
    let capture = builder.capture;
    for ports in builder.grouped(&capture.excluded_ports) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let ports = OneOf::of("outbound_ports_excluded", ports.clone());
            pass(
                builder,
                vec![Match::Protocol(protocol), Match::DestinationPort(ports)],
            );
        }
    }
}

fn included_ports(builder: &mut Builder<'_>) {
    let ports = &builder.capture.included_ports;
    if !ports.is_empty() {
        let ports = OneOf::of("outbound_ports", ports.clone());
        builder.nat(
            Chain::IstioOutput,
            vec![tcp(), Match::DestinationPort(ports)],
            TO_PROXY,
        );
    }
}

/// Istio's own sequence: three rules for each user, then for each group.
///
/// Where questions to DNS servers are captured, those that the first two rules would decide about go
/// on: from users of the proxy by TCP, from others by either protocol.
fn owners_one_by_one(builder: &mut Builder<'_>) {
    let is_dns = builder.capture.dns.is_captured();
    for owner in builder.owners() {
        call_to_own_service(builder, &owner, is_dns && matches!(owner, Match::User(_)));
        if !builder.capture.destinations.lists_loopback() {
            let mut others = vec![loopback_out()];
            others.extend(is_dns.then(but_questions).into_iter().flatten());
            others.push(negated(owner.clone()));
            pass(builder, others);
        }
        pass(builder, vec![owner]);
    }
}

/// The same verdicts with fewer rules.
///
/// After the first user's three rules every packet on `lo` has returned: the second rule lets other
/// users' pass, the third the user's own. So the rules of further owners never see `lo`, and one
/// plain return says what the two say together. Only where calls to localhost are captured is the
/// second rule missing; then owners are disjoint cases and can share a rule. A packet without a
/// socket has no owner; iptables' negated match holds for it and nf_tables' does not, which is one
/// more reason to have none here.
///
/// Where questions to DNS servers are captured, the return leaves out TCP to their port and all that
/// is not TCP; of these, groups of the proxy turn the former to the inbound side.
fn owners_at_once(builder: &mut Builder<'_>) {
    let capture = builder.capture;
    let is_dns = capture.dns.is_captured();
    let users = Match::User(OneOf::of("proxy_users", capture.proxy_uids.clone()));
    let groups = Match::Group(OneOf::of("proxy_groups", capture.proxy_gids.clone()));
    if capture.destinations.lists_loopback() {
        call_to_own_service(builder, &users, is_dns);
        pass(builder, vec![users]);
        call_to_own_service(builder, &groups, false);
        pass(builder, vec![groups]);
        return;
    }
    if let Some(first) = capture.proxy_uids.first() {
        call_to_own_service(builder, &Match::User(OneOf::is(*first)), is_dns);
    }
    let mut others = vec![loopback_out()];
    others.extend(is_dns.then(but_questions).into_iter().flatten());
    pass(builder, others);
    pass(builder, vec![users]);
    if is_dns {
        call_to_own_service(builder, &groups, false);
    }
    pass(builder, vec![groups]);
}

/// The proxy sends what its application said to the pod's own service to the pod itself: it passes
/// the inbound side too, but for the tunnel and, if asked for, questions to DNS servers.
fn call_to_own_service(builder: &mut Builder<'_>, owner: &Match, but_dns: bool) {
    let tunnel = PortRange::single(builder.capture.tunnel_port);
    let ports = match but_dns {
        true => vec![PortRange::single(dns::PORT), tunnel],
        false => vec![tunnel],
    };
    let ports = OneOf::of("dns_and_tunnel_ports", ports).negate();
    for loopback in builder.loopbacks() {
        let matches = vec![
            loopback_out(),
            negated(Match::Destination(loopback)),
            tcp(),
            Match::DestinationPort(ports.clone()),
            owner.clone(),
        ];
        builder.nat(
            Chain::IstioOutput,
            matches,
            Action::Jump(Chain::IstioInRedirect),
        );
    }
}

fn but_questions() -> [Match; 2] {
    let port = OneOf::is_not(PortRange::single(dns::PORT));
    [tcp(), Match::DestinationPort(port)]
}

/// What is captured, TCP and questions to DNS servers, always begins at a socket, so packets without
/// an owner do not matter here.
fn owner_groups(builder: &mut Builder<'_>) {
    match &builder.capture.owner_groups {
        OwnerGroups::All { except } if except.is_empty() => {}
        OwnerGroups::All { except } => {
            let groups = OneOf::of("owner_groups_excluded", except.clone());
            pass(builder, vec![Match::Group(groups)]);
        }
        OwnerGroups::Only(groups) => {
            let groups = OneOf::of("owner_groups", groups.clone());
            pass(builder, vec![Match::Group(groups.negate())]);
        }
    }
}

/// One condition for all addresses, or one for each family that has networks.
fn captured_networks(builder: &Builder<'_>) -> Vec<Vec<Match>> {
    match &builder.capture.destinations {
        Destinations::All => vec![Vec::new()],
        Destinations::Only(listed) => {
            networks(builder.families, ["networks_v4", "networks_v6"], listed)
                .into_iter()
                .map(|networks| vec![Match::Destination(networks)])
                .collect()
        }
    }
}

/// Splits networks by family; the names are those of the sets.
pub(super) fn networks(
    families: Families,
    names: [&'static str; 2],
    networks: &[IpNet],
) -> Vec<Addresses> {
    let [name_v4, name_v6] = names;
    let v4: Vec<Ipv4Net> = networks
        .iter()
        .filter_map(|network| match network {
            IpNet::V4(network) => Some(*network),
            IpNet::V6(_) => None,
        })
        .collect();
    let v6: Vec<Ipv6Net> = networks
        .iter()
        .filter_map(|network| match network {
            IpNet::V6(network) => Some(*network),
            IpNet::V4(_) => None,
        })
        .collect();
    let v4 = (!v4.is_empty()).then(|| Addresses::V4(OneOf::of(name_v4, v4)));
    let v6 = (!v6.is_empty() && families == Families::V4AndV6)
        .then(|| Addresses::V6(OneOf::of(name_v6, v6)));
    v4.into_iter().chain(v6).collect()
}

fn pass(builder: &mut Builder<'_>, matches: Vec<Match>) {
    builder.nat(Chain::IstioOutput, matches, Action::Return);
}

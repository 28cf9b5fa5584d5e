//! What happens to packets: the plan for nf_tables, which is shortened, and the plan for iptables,
//! which is Istio's, agree.
//!
//! A small interpreter walks packets through either plan by the rules of its own kernel interface.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use istio_init::{
    capture::{Capture, Destinations, Inbound, Interface, OwnerGroups, PortRange},
    plan::{
        Action, Addresses, Backend, Chain, Families, Family, Match, OneOf, Plan, Protocol, Rule,
        Table,
    },
    rules,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// The first packet of a connection, or of something else.
#[derive(Clone, Debug)]
struct Packet {
    is_incoming: bool,
    interface: &'static str,
    source: IpAddr,
    destination: IpAddr,
    /// Neither means that it is something else, such as ICMP.
    protocol: Option<Protocol>,
    port: u16,
    /// User and group, if a local socket sent it.
    owner: Option<(u32, u32)>,
    is_invalid: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Redirect(NonZeroU16),
    Drop,
}

/// Walks one packet through one plan.
struct Walk<'a> {
    plan: &'a Plan,
    backend: Backend,
    packet: &'a Packet,
}

// === impl Walk ===

impl Walk<'_> {
    fn verdict(&self) -> Verdict {
        let hook = if self.packet.is_incoming {
            Chain::Prerouting
        } else {
            Chain::Output
        };
        let is_v4 = self.packet.destination.is_ipv4();
        if self.backend == Backend::Iptables && !is_v4 && self.plan.families == Families::V4 {
            return Verdict::Pass;
        }
        let mangled = self.chain(Table::Mangle, hook);
        mangled
            .or_else(|| self.chain(Table::Nat, hook))
            .unwrap_or(Verdict::Pass)
    }

    /// Nothing means that the end was reached or a rule returned.
    fn chain(&self, table: Table, chain: Chain) -> Option<Verdict> {
        let rules = self
            .plan
            .rules
            .iter()
            .filter(|rule| rule.table == table && rule.chain == chain);
        for rule in rules.filter(|rule| self.applies(rule)) {
            match rule.action {
                Action::Return => return None,
                Action::Redirect(port) => return Some(Verdict::Redirect(port)),
                Action::Drop => return Some(Verdict::Drop),
                Action::Jump(target) => {
                    if let Some(verdict) = self.chain(table, target) {
                        return Some(verdict);
                    }
                }
            }
        }
        None
    }

    fn applies(&self, rule: &Rule) -> bool {
        let packet = self.packet;
        rule.matches.iter().all(|condition| match condition {
            Match::Family(Family::V4) => packet.destination.is_ipv4(),
            Match::Family(Family::V6) => packet.destination.is_ipv6(),
            Match::InInterface(names) => {
                packet.is_incoming && one_of(names, |name| is_named(name, packet.interface))
            }
            Match::OutInterface(names) => {
                !packet.is_incoming && one_of(names, |name| is_named(name, packet.interface))
            }
            Match::Source(addresses) => contains(addresses, packet.source),
            Match::Destination(addresses) => contains(addresses, packet.destination),
            Match::Protocol(protocol) => packet.protocol == Some(*protocol),
            Match::DestinationPort(ports) => one_of(ports, |range| {
                (range.first()..=range.last()).contains(&packet.port)
            }),
            Match::User(users) => self.is_owned(users, packet.owner.map(|(user, _)| user)),
            Match::Group(groups) => self.is_owned(groups, packet.owner.map(|(_, group)| group)),
            Match::Invalid => packet.is_invalid,
        })
    }

    /// Without an owner a negated match holds in iptables and no match at all in nf_tables.
    fn is_owned(&self, owners: &OneOf<u32>, owner: Option<u32>) -> bool {
        match owner {
            Some(owner) => one_of(owners, |known| *known == owner),
            None => owners.negated && self.backend == Backend::Iptables,
        }
    }
}

fn one_of<T>(list: &OneOf<T>, is: impl Fn(&T) -> bool) -> bool {
    list.values.iter().any(is) != list.negated
}

fn is_named(name: &Interface, interface: &str) -> bool {
    if name.is_prefix() {
        interface.starts_with(name.stem())
    } else {
        interface == name.stem()
    }
}

fn contains(addresses: &Addresses, address: IpAddr) -> bool {
    match (addresses, address) {
        (Addresses::V4(networks), IpAddr::V4(address)) => {
            one_of(networks, |network| network.contains(&address))
        }
        (Addresses::V6(networks), IpAddr::V6(address)) => {
            one_of(networks, |network| network.contains(&address))
        }
        (Addresses::V4(_), IpAddr::V6(_)) | (Addresses::V6(_), IpAddr::V4(_)) => false,
    }
}

const INTERFACES: [&str; 4] = ["lo", "eth0", "eth1", "tap0"];
const OWNERS: [u32; 5] = [0, 1000, 1337, 2000, 3000];
const PORTS: [u16; 8] = [1, 53, 80, 443, 8080, 15006, 15008, 65535];
const ADDRESSES_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(127, 0, 0, 6),
    Ipv4Addr::new(127, 1, 2, 3),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 1, 0, 1),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::BROADCAST,
];
const ADDRESSES_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::LOCALHOST,
    Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6),
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
];

fn packets() -> impl Strategy<Value = Packet> {
    let v4 = (select(&ADDRESSES_V4[..]), select(&ADDRESSES_V4[..]))
        .prop_map(|(from, to)| (IpAddr::V4(from), IpAddr::V4(to)));
    let v6 = (select(&ADDRESSES_V6[..]), select(&ADDRESSES_V6[..]))
        .prop_map(|(from, to)| (IpAddr::V6(from), IpAddr::V6(to)));
    let protocol = select(vec![
        Some(Protocol::Tcp),
        Some(Protocol::Tcp),
        Some(Protocol::Udp),
        None,
    ]);
    let owner = prop::option::weighted(0.9, (select(&OWNERS[..]), select(&OWNERS[..])));
    let facts = (
        any::<bool>(),
        select(&INTERFACES[..]),
        prop_oneof![v4, v6],
        protocol,
        select(&PORTS[..]),
        owner,
    );
    (facts, prop::bool::weighted(0.1)).prop_map(
        |((is_incoming, interface, (source, destination), protocol, port, owner), is_invalid)| {
            // A TCP connection begins at a socket.
            let owner = owner.or((protocol == Some(Protocol::Tcp)).then_some((1000, 1000)));
            Packet {
                is_incoming,
                interface,
                source,
                destination,
                protocol,
                port,
                owner: owner.filter(|_| !is_incoming),
                is_invalid,
            }
        },
    )
}

fn port() -> impl Strategy<Value = NonZeroU16> {
    select(&PORTS[..]).prop_map(|port| NonZeroU16::new(port).expect("no port is zero"))
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    let range = (port(), port())
        .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).expect("the lower one is first"));
    vec(
        prop_oneof![3 => port().prop_map(PortRange::single), 1 => range],
        0..4,
    )
}

fn networks() -> impl Strategy<Value = Vec<IpNet>> {
    let v4 = (select(&ADDRESSES_V4[..]), 0u8..=32)
        .prop_map(|(address, prefix)| IpNet::V4(Ipv4Net::new_assert(address, prefix)));
    let v6 = (select(&ADDRESSES_V6[..]), 0u8..=128)
        .prop_map(|(address, prefix)| IpNet::V6(Ipv6Net::new_assert(address, prefix)));
    vec(prop_oneof![v4, v6], 0..4)
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    vec(select(vec!["eth1", "tap0", "tap+", "eth+"]), 0..3).prop_map(|names| {
        names
            .into_iter()
            .map(|name| Interface::parse(name).expect("names are right"))
            .collect()
    })
}

fn owners() -> impl Strategy<Value = Vec<u32>> {
    vec(select(&OWNERS[..]), 1..4)
}

fn inbound() -> impl Strategy<Value = Inbound> {
    let some = ports().prop_filter("one at least", |ports| !ports.is_empty());
    prop_oneof![
        Just(Inbound::None),
        ports().prop_map(|except| Inbound::All { except }),
        (some, ports()).prop_map(|(ports, except)| Inbound::Only { ports, except }),
    ]
}

fn owner_groups() -> impl Strategy<Value = OwnerGroups> {
    prop_oneof![
        3 => Just(OwnerGroups::All { except: Vec::new() }),
        1 => owners().prop_map(|except| OwnerGroups::All { except }),
        1 => owners().prop_map(OwnerGroups::Only),
    ]
}

prop_compose! {
    fn captures()(
        [outbound_port, inbound_port, tunnel_port] in [port(), port(), port()],
        [proxy_uids, proxy_gids] in [owners(), owners()],
        inbound in inbound(),
        destinations in prop_oneof![Just(Destinations::All), networks().prop_map(Destinations::Only)],
        excluded_destinations in networks(),
        [included_ports, excluded_ports] in [ports(), ports()],
        [excluded_interfaces, virtual_interfaces] in [interfaces(), interfaces()],
        owner_groups in owner_groups(),
        loopback_prefix in 8u8..=32,
        drop_invalid in any::<bool>(),
    ) -> Capture {
        Capture {
            outbound_port,
            inbound_port,
            tunnel_port,
            proxy_uids,
            proxy_gids,
            inbound,
            destinations,
            excluded_destinations,
            included_ports,
            excluded_ports,
            excluded_interfaces,
            virtual_interfaces,
            owner_groups,
            loopback: Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, loopback_prefix),
            drop_invalid,
        }
    }
}

fn verdict(capture: &Capture, families: Families, packet: &Packet) -> Verdict {
    let backend = Backend::Nftables;
    let plan = &rules::plan(capture, families, backend);
    Walk {
        plan,
        backend,
        packet,
    }
    .verdict()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn both_plans_give_the_same_verdict_for_every_packet(capture in captures(), packets in vec(packets(), 50)) {
        for families in [Families::V4, Families::V4AndV6] {
            let plans = [Backend::Nftables, Backend::Iptables].map(|backend| (rules::plan(&capture, families, backend), backend));
            for packet in &packets {
                let [nft, iptables] = [0, 1].map(|position| {
                    let (plan, backend) = &plans[position];
                    Walk { plan, backend: *backend, packet }.verdict()
                });
                prop_assert_eq!(nft, iptables, "{:?} {:?}", families, packet);
            }
        }
    }

    #[test]
    fn only_tcp_is_ever_redirected_and_only_invalid_packets_are_dropped(capture in captures(), packet in packets()) {
        match verdict(&capture, Families::V4AndV6, &packet) {
            Verdict::Redirect(_) => prop_assert_eq!(packet.protocol, Some(Protocol::Tcp)),
            Verdict::Drop => prop_assert!(packet.is_invalid && capture.drop_invalid),
            Verdict::Pass => {}
        }
    }

    #[test]
    fn where_ipv6_is_absent_no_packet_of_it_is_touched(capture in captures(), packet in packets()) {
        let packet = Packet { source: ADDRESSES_V6[0].into(), destination: ADDRESSES_V6[2].into(), ..packet };
        prop_assert_eq!(verdict(&capture, Families::V4, &packet), Verdict::Pass);
    }

    /// The loop guard: whatever else is asked for, what the proxy sends to others leaves.
    #[test]
    fn the_proxys_own_connections_to_others_pass(capture in captures(), packet in packets(), by_user in any::<bool>()) {
        let owner = if by_user { (capture.proxy_uids[0], 7) } else { (7, capture.proxy_gids[0]) };
        let packet = Packet { is_incoming: false, interface: "eth0", owner: Some(owner), is_invalid: false, ..packet };
        prop_assert_eq!(verdict(&capture, Families::V4AndV6, &packet), Verdict::Pass);
    }
}

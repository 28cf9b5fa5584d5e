//! What happens to packets: the plan for nf_tables, which is shortened, and the plan for iptables,
//! which is Istio's, agree.
//!
//! Both are walked by the rules of their own kernel interface.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use istio_init::{
    capture::{Capture, Destinations, Inbound, Interface, OwnerGroups, PortRange},
    plan::{Backend, Families, Protocol},
    rules,
    walk::{Direction, Owner, Packet, State, Verdict, walk},
};
use proptest::{collection::vec, prelude::*, sample::select};

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
    let ids = (select(&OWNERS[..]), select(&OWNERS[..]));
    let owner = prop::option::weighted(0.9, ids.prop_map(|(user, group)| Owner { user, group }));
    let direction = select(vec![Direction::Incoming, Direction::Outgoing]);
    let state = prop_oneof![8 => Just(State::New), 1 => Just(State::Established), 1 => Just(State::Invalid)];
    let ports = (select(&PORTS[..]), select(&PORTS[..]));
    let facts = (direction, select(&INTERFACES[..]), prop_oneof![v4, v6]);
    (facts, protocol, ports, owner, state).prop_map(
        |((direction, interface, addresses), protocol, ports, owner, state)| {
            // A TCP connection begins at a socket.
            let application = Owner {
                user: 1000,
                group: 1000,
            };
            let owner = owner.or((protocol == Some(Protocol::Tcp)).then_some(application));
            Packet {
                direction,
                interface: interface.to_owned(),
                source: addresses.0,
                destination: addresses.1,
                protocol,
                source_port: ports.0,
                destination_port: ports.1,
                owner: owner.filter(|_| direction == Direction::Outgoing),
                state,
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
    let plan = &rules::plan(capture, families, Backend::Nftables);
    walk(plan, Backend::Nftables, packet).verdict
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
                    walk(plan, *backend, packet).verdict
                });
                prop_assert_eq!(nft, iptables, "{:?} {:?}", families, packet);
            }
        }
    }

    #[test]
    fn only_tcp_is_ever_redirected_and_only_invalid_packets_are_dropped(capture in captures(), packet in packets()) {
        match verdict(&capture, Families::V4AndV6, &packet) {
            Verdict::Redirect(_) => prop_assert_eq!(packet.protocol, Some(Protocol::Tcp)),
            Verdict::Drop => prop_assert!(packet.state == State::Invalid && capture.drop_invalid),
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
        let owner = if by_user { Owner { user: capture.proxy_uids[0], group: 7 } } else { Owner { user: 7, group: capture.proxy_gids[0] } };
        let packet = Packet { direction: Direction::Outgoing, interface: "eth0".to_owned(), owner: Some(owner), state: State::New, ..packet };
        prop_assert_eq!(verdict(&capture, Families::V4AndV6, &packet), Verdict::Pass);
    }
}

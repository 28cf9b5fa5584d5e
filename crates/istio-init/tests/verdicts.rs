//! What happens to packets: the plan for nf_tables, which is shortened, and the plan for iptables,
//! which is Istio's, agree.
//!
//! Both are walked by the rules of their own kernel interface.

#[path = "shared/cases.rs"]
mod cases;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
};

use contract::{ids, ports as port_of};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use istio_init::{
    capture::{
        Capture, Destinations, Dns, Inbound, Interception, Interface, OwnerGroups, PortRange,
    },
    plan::{Addresses, Backend, Families, Match, Plan, Protocol},
    rules,
    walk::{Direction, Outcome, Owner, Packet, State, Verdict, walk},
};
use proptest::{collection::vec, prelude::*, sample::select};

const INTERFACES: [&str; 4] = ["lo", "eth0", "eth1", "tap0"];
const OWNERS: [u32; 5] = [0, 1000, ids::PROXY_UID, 2000, 3000];
const PORTS: [u16; 10] = [
    1,
    port_of::DOMAIN,
    80,
    443,
    8080,
    port_of::INBOUND,
    port_of::HBONE,
    port_of::DNS,
    50000,
    65535,
];
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
const MARKS: [u32; 4] = [0, ids::TPROXY_MARK, ids::SELF_CALL_MARK, 7];

/// What packets are made of: a few values that everything can be told apart by, and those where the
/// rules at hand change their mind.
struct Pools {
    interfaces: Vec<String>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    ports: Vec<u16>,
    owners: Vec<u32>,
    marks: Vec<u32>,
}

impl Pools {
    fn common() -> Self {
        Self {
            interfaces: INTERFACES.map(str::to_owned).to_vec(),
            v4: ADDRESSES_V4.to_vec(),
            v6: ADDRESSES_V6.to_vec(),
            ports: PORTS.to_vec(),
            owners: OWNERS.to_vec(),
            marks: MARKS.to_vec(),
        }
    }

    /// For a plan: both sides of every border in it.
    fn of(plan: &Plan) -> Self {
        let mut pools = Self::common();
        for condition in plan.rules.iter().flat_map(|rule| &rule.matches) {
            pools.add(condition);
        }
        pools
    }

    fn add(&mut self, condition: &Match) {
        match condition {
            Match::InInterface(names) | Match::OutInterface(names) => {
                let stems = names.values.iter().map(Interface::stem);
                self.interfaces
                    .extend(stems.flat_map(|stem| [stem.to_owned(), format!("{stem}9")]));
            }
            Match::Source(Addresses::V4(list)) | Match::Destination(Addresses::V4(list)) => {
                for network in &list.values {
                    let (first, last) =
                        (network.network().to_bits(), network.broadcast().to_bits());
                    let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                    self.v4.extend(edges.map(Ipv4Addr::from_bits));
                }
            }
            Match::Source(Addresses::V6(list)) | Match::Destination(Addresses::V6(list)) => {
                for network in &list.values {
                    let (first, last) =
                        (network.network().to_bits(), network.broadcast().to_bits());
                    let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
                    self.v6.extend(edges.map(Ipv6Addr::from_bits));
                }
            }
            Match::SourcePort(list) | Match::DestinationPort(list) => {
                for range in &list.values {
                    let (first, last) = (range.first(), range.last());
                    self.ports
                        .extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)]);
                }
            }
            Match::User(list) | Match::Group(list) => self.owners.extend(&list.values),
            Match::Mark { mark, .. } | Match::ConnectionMark(mark) => self.marks.push(*mark),
            Match::Family(_) | Match::Protocol(_) | Match::Established | Match::Invalid => {}
        }
    }

    /// A packet that is a function of this number, for strategies that draw packet by packet are
    /// slow.
    fn packet(&self, seed: u64) -> Packet {
        let mut draw = Draw(seed);
        let (source, destination): (IpAddr, IpAddr) = match draw.one_in(2) {
            true => (draw.from(&self.v4).into(), draw.from(&self.v4).into()),
            false => (draw.from(&self.v6).into(), draw.from(&self.v6).into()),
        };
        let [tcp, udp] = [Protocol::Tcp, Protocol::Udp].map(Some);
        let protocol = draw.from(&[tcp, tcp, tcp, tcp, udp, udp, None]);
        let direction = draw.from(&[Direction::Incoming, Direction::Outgoing]);
        // What may be captured begins at a socket.
        let has_owner = protocol.is_some() || draw.one_in(2);
        let owner = (direction == Direction::Outgoing && has_owner).then(|| Owner {
            user: draw.from(&self.owners),
            group: draw.from(&self.owners),
        });
        let state = match (draw.one_in(9), draw.one_in(9)) {
            (true, _) => State::Invalid,
            (false, true) => State::Established,
            (false, false) => State::New,
        };
        Packet {
            direction,
            interface: draw.from(&self.interfaces),
            source,
            destination,
            protocol,
            source_port: draw.from(&self.ports),
            destination_port: draw.from(&self.ports),
            owner,
            state,
            mark: draw.from(&self.marks),
            connection_mark: draw.from(&self.marks),
            proxy_listens: draw.one_in(2),
        }
    }
}

/// A source of numbers that look random (Steele and others, "SplitMix").
struct Draw(u64);

impl Draw {
    fn number(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("31 bits fit");
        high % below
    }

    fn from<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.number(values.len())].clone()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.number(n) == 0
    }
}

fn packets() -> impl Strategy<Value = Packet> {
    let pools = Pools::common();
    any::<u64>().prop_map(move |seed| pools.packet(seed))
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

fn interception() -> impl Strategy<Value = Interception> {
    let (mark, table) = (
        NonZeroU32::new(ids::TPROXY_MARK).expect("it is not zero"),
        NonZeroU32::MIN,
    );
    select(vec![
        Interception::Redirect,
        Interception::Tproxy { mark, table },
    ])
}

fn dns() -> impl Strategy<Value = Dns> {
    let servers = prop_oneof![
        select(&ADDRESSES_V4[..]).prop_map(IpAddr::V4),
        select(&ADDRESSES_V6[..]).prop_map(IpAddr::V6),
    ];
    prop_oneof![
        2 => Just(Dns::Off),
        1 => Just(Dns::All),
        2 => vec(servers, 0..4).prop_map(Dns::Servers),
    ]
}

prop_compose! {
    fn captures()(
        [outbound_port, inbound_port, tunnel_port] in [port(), port(), port()],
        [proxy_uids, proxy_gids] in [owners(), owners()],
        (interception, inbound, dns) in (interception(), inbound(), dns()),
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
            interception,
            inbound,
            destinations,
            excluded_destinations,
            included_ports,
            excluded_ports,
            excluded_interfaces,
            virtual_interfaces,
            owner_groups,
            dns,
            loopback: Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, loopback_prefix),
            drop_invalid,
        }
    }
}

fn verdict(capture: &Capture, families: Families, packet: &Packet) -> Verdict {
    let plan = &rules::plan(capture, families, Backend::Nftables);
    walk(plan, Backend::Nftables, packet).verdict
}

/// What tells packets apart afterwards: the verdict, the marks and the zone; of one that is dropped
/// nothing is left.
type Fate = (Verdict, Option<(u32, u32, u16)>);

fn fate(outcome: &Outcome<'_>) -> Fate {
    let notes = (outcome.mark, outcome.connection_mark, outcome.zone);
    (
        outcome.verdict,
        (outcome.verdict != Verdict::Drop).then_some(notes),
    )
}

/// Both plans for the same capture.
fn plans(capture: &Capture, families: Families) -> [(Plan, Backend); 2] {
    [Backend::Nftables, Backend::Iptables]
        .map(|backend| (rules::plan(capture, families, backend), backend))
}

fn fates(plans: &[(Plan, Backend); 2], packet: &Packet) -> [Fate; 2] {
    plans
        .each_ref()
        .map(|(plan, backend)| fate(&walk(plan, *backend, packet)))
}

/// Tens of thousands of packets for every case, near the borders that its rules draw.
#[test]
fn in_every_case_both_plans_have_the_same_fate_for_a_packet() {
    const PACKETS: u64 = 20_000;
    std::thread::scope(|scope| {
        for case in cases::CASES {
            scope.spawn(move || {
                let plans = plans(&case.capture(), case.families);
                let pools = Pools::of(&plans[1].0);
                for seed in 0..PACKETS {
                    let packet = pools.packet(seed);
                    let [nft, iptables] = fates(&plans, &packet);
                    assert_eq!(nft, iptables, "{}: {packet:?}", case.name);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn both_plans_have_the_same_fate_for_every_packet(capture in captures(), packets in vec(packets(), 50)) {
        for families in [Families::V4, Families::V4AndV6] {
            let plans = plans(&capture, families);
            for packet in &packets {
                let [nft, iptables] = fates(&plans, packet);
                prop_assert_eq!(nft, iptables, "{:?} {:?}", families, packet);
            }
        }
    }

    #[test]
    fn only_tcp_and_questions_are_ever_captured_and_only_what_makes_no_sense_or_has_no_proxy_is_dropped(capture in captures(), packet in packets()) {
        let is_tproxy = capture.interception != Interception::Redirect;
        match verdict(&capture, Families::V4AndV6, &packet) {
            Verdict::Redirect(port) if port.get() == port_of::DNS && packet.protocol == Some(Protocol::Udp) => {
                prop_assert!(capture.dns.is_captured() && packet.destination_port == port_of::DOMAIN);
            }
            Verdict::Redirect(_) => prop_assert_eq!(packet.protocol, Some(Protocol::Tcp)),
            Verdict::Tproxy(port) => {
                prop_assert!(is_tproxy && packet.proxy_listens);
                prop_assert!(packet.direction == Direction::Incoming || packet.interface == "lo");
                prop_assert_eq!((port, packet.protocol), (capture.inbound_port, Some(Protocol::Tcp)));
            }
            Verdict::Drop if packet.state == State::Invalid && capture.drop_invalid => {}
            Verdict::Drop => prop_assert!(is_tproxy && !packet.proxy_listens && packet.protocol == Some(Protocol::Tcp)),
            Verdict::Pass => {}
        }
    }

    #[test]
    fn where_ipv6_is_absent_no_packet_of_it_is_touched(capture in captures(), packet in packets()) {
        let packet = Packet { source: ADDRESSES_V6[0].into(), destination: ADDRESSES_V6[2].into(), ..packet };
        for (plan, backend) in &plans(&capture, Families::V4) {
            let outcome = walk(plan, *backend, &packet);
            prop_assert_eq!(outcome.verdict, Verdict::Pass);
            prop_assert_eq!((outcome.mark, outcome.connection_mark, outcome.zone), (packet.mark, packet.connection_mark, 0));
        }
    }

    /// Where an application's connection is captured, one of the proxy with the same addresses and ports is tracked apart from it.
    #[test]
    fn what_is_captured_from_an_application_is_never_tracked_as_what_the_proxy_sends(capture in captures(), packet in packets(), by_user in any::<bool>()) {
        let application = Packet { direction: Direction::Outgoing, interface: "eth0".to_owned(), owner: Some(Owner { user: 7, group: 7 }), state: State::New, ..packet };
        let owner = match by_user {
            true => Owner { user: capture.proxy_uids[0], group: 7 },
            false => Owner { user: 7, group: capture.proxy_gids[0] },
        };
        let proxys = Packet { owner: Some(owner), ..application.clone() };
        for (plan, backend) in &plans(&capture, Families::V4AndV6) {
            let [of_application, of_proxy] = [&application, &proxys].map(|packet| walk(plan, *backend, packet));
            if matches!(of_application.verdict, Verdict::Redirect(_)) {
                prop_assert_ne!(of_application.zone, of_proxy.zone);
            }
        }
    }

    /// The loop guard: whatever else is asked for, what the proxy sends to others leaves.
    #[test]
    fn the_proxys_own_connections_to_others_pass(capture in captures(), packet in packets(), by_user in any::<bool>()) {
        let owner = match by_user {
            true => Owner { user: capture.proxy_uids[0], group: 7 },
            false => Owner { user: 7, group: capture.proxy_gids[0] },
        };
        let packet = Packet { direction: Direction::Outgoing, interface: "eth0".to_owned(), owner: Some(owner), state: State::New, ..packet };
        prop_assert_eq!(verdict(&capture, Families::V4AndV6, &packet), Verdict::Pass);
    }
}

//! The walk and the tools of others against the live kernel: printed plans are loaded by the
//! programs that they are printed for, and connections fare as the walk says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use contract::{ids::PROXY_UID, ports};
use istio_init::{
    plan::{Backend, Families, Plan, Protocol},
    rules,
    walk::{Direction, Owner, Packet, State, Verdict, walk},
};
use testkit::netns::Pod;

use crate::{
    cases::{self, CASES, Case},
    lab::{APPLICATION, Lab, Listener, connect, generation, run, run_case, tool, tool_reading},
};

/// The program finds what `nft` made of the printed plan to be just what it would have made itself.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn nft_loads_each_printed_plan_and_makes_the_same_of_it() {
    let lab = Lab::new();
    let mut has_ipv6 = true;
    for case in CASES {
        set_ipv6(&lab, &mut has_ipv6, case);
        let printed = run_case(&lab.pod, case, "--dry-run").succeeds();
        tool_reading(&lab.pod, "nft -f -", &printed).expect(case.name);
        let before = generation(&lab.pod);
        run_case(&lab.pod, case, "").succeeds_saying("rules unchanged");
        assert_eq!(generation(&lab.pod), before, "{}", case.name);
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn iptables_restore_loads_each_printed_plan() {
    let lab = Lab::new();
    let mut has_ipv6 = true;
    for case in CASES {
        set_ipv6(&lab, &mut has_ipv6, case);
        let printed = run_case(&lab.pod, case, "--dry-run --output=iptables").succeeds();
        restore(&lab.pod, &printed);
        tool(&lab.pod, "nft flush ruleset");
        // The printed commands bear our mark.
        run(&lab.pod, "--cleanup-only", &[]).succeeds();
    }
}

fn set_ipv6(lab: &Lab, has_ipv6: &mut bool, case: &Case) {
    if *has_ipv6 != (case.families == Families::V4AndV6) {
        *has_ipv6 = !*has_ipv6;
        lab.set_ipv6(*has_ipv6);
    }
}

/// Loads the printed plan as its comments say.
fn restore(pod: &Pod, printed: &str) {
    let parts = printed.split_once("# IPv6, for ip6tables-restore:\n");
    let (v4, v6) = parts.unwrap_or((printed, ""));
    for (program, text) in [("iptables-restore", v4), ("ip6tables-restore", v6)] {
        let loaded = tool_reading(pod, &format!("{program} --noflush"), text);
        loaded.unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    let commands = printed.lines().filter_map(|line| line.strip_prefix("#   "));
    for command in commands {
        tool(pod, command);
    }
}

/// A pod in which everything listens that a connection can reach.
struct Scene {
    lab: Lab,
    outbound: Listener,
    inbound: Listener,
    here: Vec<Listener>,
    there: Vec<Listener>,
}

/// Who took a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    Outbound,
    Inbound,
    Pod,
    Peer,
    Nobody,
}

/// Ports that are captured, listed, excluded or none of these, as the flags below have it.
const SERVERS: [u16; 4] = [ports::READINESS, 8080, 3306, 9999];

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        let on = |pod| SERVERS.map(|port| Listener::any(pod, port)).into();
        Self {
            outbound: Listener::any(&lab.pod, ports::OUTBOUND),
            inbound: Listener::transparent(&lab.pod, ports::INBOUND),
            here: on(&lab.pod),
            there: on(&lab.peer),
            lab,
        }
    }

    /// Makes the connection and tells who took it.
    fn taker(&self, packet: &Packet) -> Taker {
        let destination = SocketAddr::new(packet.destination, packet.destination_port);
        let (pod, owner) = match packet.owner {
            Some(owner) => (&self.lab.pod, (owner.user, owner.group)),
            None => (&self.lab.peer, APPLICATION),
        };
        let _ = connect(pod, owner, destination);
        let reached = |listeners: &[Listener]| {
            let reached: Vec<bool> = listeners.iter().map(Listener::was_reached).collect();
            reached.contains(&true)
        };
        let takers = [
            (self.outbound.was_reached(), Taker::Outbound),
            (self.inbound.was_reached(), Taker::Inbound),
            (reached(&self.here), Taker::Pod),
            (reached(&self.there), Taker::Peer),
        ];
        let taker = takers.iter().find(|(reached, _)| *reached);
        taker.map_or(Taker::Nobody, |(_, taker)| *taker)
    }

    /// Calls of every kind of owner to every kind of destination, and calls from outside.
    fn packets(&self) -> Vec<Packet> {
        let owners = [
            APPLICATION,
            (PROXY_UID, PROXY_UID),
            (PROXY_UID, 7),
            (0, PROXY_UID),
        ];
        let localhost: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let (own, peer) = (self.lab.own_addresses(), self.lab.peer_addresses());
        let mut packets = Vec::new();
        for (position, own) in own.into_iter().enumerate() {
            for port in SERVERS {
                for owner in owners.map(|(user, group)| Some(Owner { user, group })) {
                    let localhost = localhost[position];
                    packets.push(packet(owner, "eth0", own, peer[position], port));
                    packets.push(packet(owner, "lo", own, own, port));
                    packets.push(packet(owner, "lo", localhost, localhost, port));
                }
                packets.push(packet(None, "eth0", peer[position], own, port));
            }
        }
        packets
    }

    #[track_caller]
    fn check(&self, flags: &str, plan: &Plan, backend: Backend) {
        for packet in self.packets() {
            let verdict = walk(plan, backend, &packet).verdict;
            let expected = match verdict {
                Verdict::Redirect(port) | Verdict::Tproxy(port) => match port.get() {
                    ports::OUTBOUND => Taker::Outbound,
                    _ => Taker::Inbound,
                },
                Verdict::Pass if self.lab.peer_addresses().contains(&packet.destination) => {
                    Taker::Peer
                }
                Verdict::Pass => Taker::Pod,
                Verdict::Drop => Taker::Nobody,
            };
            let taker = self.taker(&packet);
            assert_eq!(taker, expected, "{flags} by {backend:?}: {packet:?}");
        }
    }
}

fn packet(owner: Option<Owner>, interface: &str, from: IpAddr, to: IpAddr, port: u16) -> Packet {
    Packet {
        direction: match owner {
            Some(_) => Direction::Outgoing,
            None => Direction::Incoming,
        },
        interface: interface.to_owned(),
        source: from,
        destination: to,
        protocol: Some(Protocol::Tcp),
        source_port: 50000,
        destination_port: port,
        owner,
        state: State::New,
        mark: 0,
        connection_mark: 0,
        proxy_listens: true,
    }
}

const FLAGS: [&str; 7] = [
    cases::INJECTED,
    "-i * -b 8080 -o 9999",
    "-i 192.0.2.0/24 -b * -d 8080 -q 3306 -u 1337,1000",
    "-i 10.244.0.0/16,127.0.0.1/32,::1/128 -b * -x fd00::/8",
    "-i * -b * -k eth0 --redirect-dns --capture-all-dns",
    cases::TPROXY,
    "-m TPROXY -i * -b 8080,9000-10000 -d 9999 --redirect-dns --capture-all-dns --drop-invalid",
];

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn connections_fare_as_the_walk_says_whichever_back_end_set_the_rules() {
    for flags in FLAGS {
        let scene = Scene::new();
        let pod = &scene.lab.pod;
        let capture = cases::capture(flags, &[]);
        let plan = |backend| rules::plan(&capture, Families::V4AndV6, backend);
        run(pod, flags, &[]).succeeds();
        scene.check(flags, &plan(Backend::Nftables), Backend::Nftables);
        run(pod, "--cleanup-only", &[]).succeeds();
        let printed = run(pod, &format!("{flags} --dry-run --output=iptables"), &[]).succeeds();
        tool(pod, "ip -6 address add ::6/128 dev lo");
        restore(pod, &printed);
        scene.check(flags, &plan(Backend::Iptables), Backend::Iptables);
    }
}

//! Which connections tell whether a plan is in force, and what must become of each.
//!
//! Called by [`validate`](super::validate) with what there is to probe with; pure. What must become
//! of a connection is not written down here: the walk through the plan says it, so every option is
//! probed as it was asked for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use contract::{
    net,
    ports::{DNS, DOMAIN},
};
use ipnet::IpNet;

use super::Shown;
use crate::{
    capture::{Capture, Destinations, Dns, OwnerGroups},
    plan::{Backend, Family, Plan, Protocol},
    trace,
    walk::{Direction, Owner, Packet, State, Verdict, walk},
};

/// A connection and what must become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// What it stands for.
    pub(super) way: Way,
    /// Whose it is.
    pub(super) owner: Owner,
    /// Address that it comes from, if the kernel is not to choose.
    pub(super) source: Option<IpAddr>,
    /// Where it is meant to go.
    pub(super) destination: SocketAddr,
    /// Where it must arrive.
    pub(super) expected: Expected,
    /// The rules that see to it.
    pub(super) rules: String,
}

/// What a connection stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Calls of the pod to others.
    Outbound,
    /// Calls to the pod's own addresses.
    Inbound,
}

/// Where a connection must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// At this port, which is the proxy's.
    Proxy(NonZeroU16),
    /// Where it was meant to go, which is a listener of this program.
    Destination,
    /// Not at any listener of this program.
    Elsewhere,
}

/// What there is to probe with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whose connections can be made.
    pub(super) owners: Vec<Owner>,
    /// Listeners of this program: for each family one on its localhost and one on another address of
    /// the namespace.
    pub(super) servers: Vec<SocketAddr>,
    /// Where connections could leave to.
    pub(super) outside: Vec<Outside>,
}

/// Somewhere outside of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outside {
    /// The address; the port says nothing.
    pub(super) destination: SocketAddr,
    /// The address that a connection to it comes from.
    pub(super) source: IpAddr,
    /// The interface that it leaves by.
    pub(super) interface: String,
}

/// Addresses of documentation, which nobody has (RFC 5737, RFC 3849).
const NOBODY: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Of a list of networks or ports, more than these are no better.
const TRIED: usize = 8;

/// All connections that are to be made; those to other hosts go to `port` where the plan captures
/// that, and else to a port that it captures.
pub(super) fn probes(
    plan: &Plan,
    backend: Backend,
    capture: &Capture,
    port: NonZeroU16,
    facts: &Facts,
) -> Vec<Probe> {
    let mut probes = Vec::new();
    for family in plan.families.each() {
        for owner in &facts.owners {
            let outside = facts.outside.iter();
            let outside: Vec<_> = outside
                .filter(|outside| is_of(*family, outside.source))
                .collect();
            let to = |ports: &[NonZeroU16]| {
                let pairs = outside.iter().flat_map(|outside| {
                    let pair = |port: &NonZeroU16| (*outside, *port);
                    ports.iter().map(pair).collect::<Vec<_>>()
                });
                let probes = pairs.map(|(outside, port)| {
                    let interface = outside.interface.clone();
                    let mut destination = outside.destination;
                    destination.set_port(port.get());
                    let ends = (outside.source, destination);
                    probe(plan, backend, Way::Outbound, *owner, ends, interface)
                });
                best(probes.collect())
            };
            probes.extend(to(&ports(capture, port)));
            if dns_port(capture).is_some() {
                probes.extend(NonZeroU16::new(DOMAIN).and_then(|port| to(&[port])));
            }
            probes.extend(own(plan, backend, *family, *owner, &facts.servers));
        }
    }
    probes
}

/// Where questions to DNS servers are redirected to, if they are.
pub(super) fn dns_port(capture: &Capture) -> Option<NonZeroU16> {
    match capture.dns {
        Dns::Off => None,
        Dns::Servers(_) | Dns::All => NonZeroU16::new(DNS),
    }
}

/// Whose connections tell something: an ordinary application's, the proxy user's, the proxy group's.
pub(super) fn owners(capture: &Capture) -> [Owner; 3] {
    let nobody = |taken: &[u32]| (1..=65534).rev().find(|number| !taken.contains(number));
    let (user, group) = (
        nobody(&capture.proxy_uids),
        match &capture.owner_groups {
            OwnerGroups::All { except } => {
                nobody(&[capture.proxy_gids.as_slice(), except].concat())
            }
            OwnerGroups::Only(groups) => {
                let others = groups
                    .iter()
                    .find(|group| !capture.proxy_gids.contains(group));
                others.or(groups.first()).copied()
            }
        },
    );
    let application = Owner {
        user: user.unwrap_or_default(),
        group: group.unwrap_or_default(),
    };
    let first = |numbers: &[u32], other: u32| numbers.first().copied().unwrap_or(other);
    [
        application,
        Owner {
            user: first(&capture.proxy_uids, application.user),
            ..application
        },
        Owner {
            group: first(&capture.proxy_gids, application.group),
            ..application
        },
    ]
}

/// Where connections could go: to nobody, into the networks that are captured, and next to the
/// namespace's own addresses, which can be reached without a route.
pub(super) fn destinations(capture: &Capture, own: &[(SocketAddr, IpNet)]) -> Vec<SocketAddr> {
    let networks = match &capture.destinations {
        Destinations::All => &[][..],
        Destinations::Only(networks) => networks.get(..TRIED).unwrap_or(networks),
    };
    let listed = networks.iter().map(|network| {
        let mut hosts = network.hosts();
        hosts.next().unwrap_or(network.addr())
    });
    let beside = own.iter().filter_map(|(address, network)| {
        let mut hosts = network.hosts();
        let ip = hosts.find(|host| *host != address.ip())?;
        let mut neighbour = *address;
        neighbour.set_ip(ip);
        Some(neighbour)
    });
    let anywhere = NOBODY.into_iter().chain(listed);
    let servers = match &capture.dns {
        Dns::Servers(servers) => servers.as_slice(),
        Dns::Off | Dns::All => &[],
    };
    anywhere
        .chain(servers.iter().copied())
        .map(|ip| SocketAddr::new(ip, 0))
        .chain(beside)
        .filter(|destination| !is_link_local(*destination))
        .collect()
}

/// A socket to such an address is bound to its interface, so that no rule can lead it to the proxy by `lo`.
fn is_link_local(destination: SocketAddr) -> bool {
    match destination.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What these probes show, should they all turn out well.
pub(super) fn shown(probes: &[Probe], capture: &Capture) -> Shown {
    let captured = |way: Way, port: NonZeroU16, family: Family| {
        probes.iter().any(|probe| {
            let is_captured = probe.expected == Expected::Proxy(port);
            probe.way == way && is_captured && is_of(family, probe.destination.ip())
        })
    };
    let families = |way: Way, port: NonZeroU16| {
        let each = [Family::V4, Family::V6].into_iter();
        each.filter(|family| captured(way, port, *family)).collect()
    };
    Shown {
        is_read_back: false,
        n_connections: probes.len(),
        outbound: families(Way::Outbound, capture.outbound_port),
        inbound: families(Way::Inbound, capture.inbound_port),
    }
}

/// Connections through `lo`: to localhost, to an address of the namespace, and to that from the
/// address that the proxy has when it calls its application.
fn own(
    plan: &Plan,
    backend: Backend,
    family: Family,
    owner: Owner,
    servers: &[SocketAddr],
) -> Vec<Probe> {
    let (localhost, agent): (IpAddr, IpAddr) = match family {
        Family::V4 => (Ipv4Addr::LOCALHOST.into(), net::INBOUND_SOURCE_V4.into()),
        Family::V6 => (Ipv6Addr::LOCALHOST.into(), net::INBOUND_SOURCE_V6.into()),
    };
    let mut probes = Vec::new();
    for server in servers.iter().filter(|server| is_of(family, server.ip())) {
        let ip = server.ip();
        let plain = if ip == agent { localhost } else { ip };
        let mut sources = vec![plain];
        sources.extend((ip != localhost && ip != agent).then_some(agent));
        for source in sources {
            let ends = (source, *server);
            let probe = probe(plan, backend, Way::Inbound, owner, ends, "lo".to_owned());
            let source = Some(source);
            probes.push(Probe { source, ..probe });
        }
    }
    probes
}

fn probe(
    plan: &Plan,
    backend: Backend,
    way: Way,
    owner: Owner,
    (source, destination): (IpAddr, SocketAddr),
    interface: String,
) -> Probe {
    let packet = Packet {
        direction: Direction::Outgoing,
        interface,
        source,
        destination: destination.ip(),
        protocol: Some(Protocol::Tcp),
        // Any that the kernel may choose; no rule asks for the source port of TCP.
        source_port: 50000,
        destination_port: destination.port(),
        owner: Some(owner),
        state: State::New,
        mark: 0,
        connection_mark: 0,
        // The listeners of this program are not transparent: that takes a capability.
        proxy_listens: false,
    };
    let outcome = walk(plan, backend, &packet);
    Probe {
        way,
        owner,
        source: None,
        destination,
        expected: match (outcome.verdict, way) {
            (Verdict::Redirect(port) | Verdict::Tproxy(port), _) => Expected::Proxy(port),
            (Verdict::Pass, Way::Inbound) => Expected::Destination,
            (Verdict::Pass, Way::Outbound) | (Verdict::Drop, _) => Expected::Elsewhere,
        },
        rules: trace::path(&outcome.trace, backend),
    }
}

/// The first that must be captured; if none is, the first.
fn best(candidates: Vec<Probe>) -> Option<Probe> {
    let captured = |probe: &Probe| matches!(probe.expected, Expected::Proxy(_));
    let position = candidates.iter().position(captured).unwrap_or_default();
    candidates.into_iter().nth(position)
}

fn ports(capture: &Capture, port: NonZeroU16) -> Vec<NonZeroU16> {
    let included = capture.included_ports.iter().take(TRIED);
    let included = included.filter_map(|range| NonZeroU16::new(range.first()));
    let others = [80, 443, 15002, 20001, 65535].into_iter();
    let mut ports = vec![port];
    ports.extend(included.chain(others.filter_map(NonZeroU16::new)));
    ports
}

fn is_of(family: Family, address: IpAddr) -> bool {
    match family {
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    }
}

// === impl Probe ===

/// `outbound IPv4 from user 1000, group 1000 to 192.0.2.1:15002 must arrive at port 15001`
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Outbound => "outbound",
            Way::Inbound => "inbound",
        };
        let family = match self.destination {
            SocketAddr::V4(_) => "IPv4",
            SocketAddr::V6(_) => "IPv6",
        };
        let Owner { user, group } = self.owner;
        let to = self.destination;
        write!(f, "{way} {family} from user {user}, group {group}")?;
        if let Some(source) = self.source {
            write!(f, ", address {source},")?;
        }
        write!(f, " to {to} must ")?;
        match self.expected {
            Expected::Proxy(port) => write!(f, "arrive at port {port}"),
            Expected::Destination => f.write_str("arrive there"),
            Expected::Elsewhere => f.write_str("not be captured"),
        }
    }
}

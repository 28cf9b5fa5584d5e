//! What there is to probe with: the namespace's addresses and routes, and whose sockets the process
//! can make.
//!
//! Called by [`validate`](super::validate) before each round; asks the kernel and changes nothing.
//! What is not there, such as a route of one family, is left out, not an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use contract::net;
use ipnet::IpNet;
use nix::{
    errno::Errno,
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};

use super::{
    connection::{Listener, can_be, current, source_towards},
    scheme::{Facts, Outside, destinations, owners},
};
use crate::{
    capture::{Capture, Interception},
    plan::Families,
    walk::Owner,
};

/// An address of an interface.
struct Own {
    interface: String,
    address: SocketAddr,
    network: IpNet,
}

/// Asks, and listens on addresses of the namespace.
pub(super) fn gather(
    families: Families,
    capture: &Capture,
) -> Result<(Facts, Vec<Listener>), Errno> {
    let own: Vec<Own> = getifaddrs()?.filter_map(|entry| own(&entry)).collect();
    let servers = servers(families, capture, &own);
    let facts = Facts {
        owners: possible_owners(capture),
        servers: servers.iter().map(|server| server.address).collect(),
        outside: outside(capture, &own),
    };
    Ok((facts, servers))
}

/// All whose connections tell something, or only ourselves if that is all that we can be.
fn possible_owners(capture: &Capture) -> Vec<Owner> {
    let owners = owners(capture);
    if owners.iter().all(|owner| can_be(*owner)) {
        owners.to_vec()
    } else {
        vec![current()]
    }
}

/// For each family one listener on localhost and one on the first other address that can be used;
/// where there is none, the address that is the proxy's does.
///
/// With TPROXY another one on HBONE's port: calls to that are not redirected when they leave, so they
/// show what becomes of packets that come in.
fn servers(families: Families, capture: &Capture, own: &[Own]) -> Vec<Listener> {
    let bind = |ip: IpAddr| Listener::bind(SocketAddr::new(ip, 0)).ok();
    let first = |is_v4: bool| {
        let usable = own.iter().map(|own| own.address.ip());
        let usable = usable.filter(|ip| ip.is_ipv4() == is_v4 && !is_local(*ip));
        usable.into_iter().find_map(bind)
    };
    let mut servers = Vec::new();
    servers.extend(bind(Ipv4Addr::LOCALHOST.into()));
    servers.extend(first(true).or_else(|| bind(net::INBOUND_SOURCE_V4.into())));
    if families == Families::V4AndV6 {
        servers.extend(bind(Ipv6Addr::LOCALHOST.into()));
        servers.extend(first(false).or_else(|| bind(net::INBOUND_SOURCE_V6.into())));
    }
    if matches!(capture.interception, Interception::Tproxy { .. }) {
        let reachable = servers.iter().map(|server| server.address.ip());
        let reachable: Vec<IpAddr> = reachable.filter(|ip| !ip.is_loopback()).collect();
        let tunnel = capture.tunnel_port.get();
        let bind = |ip| Listener::bind(SocketAddr::new(ip, tunnel)).ok();
        servers.extend(reachable.into_iter().filter_map(bind));
    }
    servers
}

/// Whether an address is of no use to reach the pod by.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unicast_link_local() || ip == net::INBOUND_SOURCE_V6
        }
    }
}

fn outside(capture: &Capture, own: &[Own]) -> Vec<Outside> {
    let beside = own.iter().filter(|own| own.interface != "lo");
    let beside: Vec<_> = beside.map(|own| (own.address, own.network)).collect();
    let destinations = destinations(capture, &beside).into_iter();
    destinations
        .filter_map(|destination| {
            let source = source_towards(destination)?;
            let through = own.iter().find(|own| own.address.ip() == source)?;
            (through.interface != "lo").then(|| Outside {
                destination,
                source,
                interface: through.interface.clone(),
            })
        })
        .collect()
}

fn own(entry: &InterfaceAddress) -> Option<Own> {
    let (address, mask) = (address(entry.address.as_ref()?)?, entry.netmask.as_ref()?);
    let mask = self::address(mask)?.ip();
    let network = IpNet::with_netmask(address.ip(), mask).ok()?.trunc();
    Some(Own {
        interface: entry.interface_name.clone(),
        address,
        network,
    })
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), 0));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(v6.ip(), 0, 0, v6.scope_id()).into())
}

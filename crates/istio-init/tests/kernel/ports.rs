//! A port that is used again, while the kernel still remembers the connection that had it.

use std::{
    io::{self, Read as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
};

use contract::{ids::PROXY_UID, ports};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use crate::{
    cases,
    lab::{APPLICATION, Lab, Listener, as_owner, run},
};

const PROXY: (u32, u32) = (PROXY_UID, PROXY_UID);
/// The proxy where it may not be its user, as under TPROXY.
const PROXYS_GROUP: (u32, u32) = (0, PROXY_UID);

/// Who is reached first has its connection reset, which leaves an entry in connection tracking that
/// the next first packet does not replace.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_goes_where_it_should_whose_port_had_a_connection_of_somebody_else() {
    let lab = Lab::new();
    let (proxy, server) = (
        Listener::any(&lab.pod, ports::OUTBOUND),
        Listener::any(&lab.peer, 0),
    );
    for flags in [
        cases::INJECTED.to_owned(),
        format!("{} --backend iptables", cases::INJECTED),
        cases::TPROXY.to_owned(),
    ] {
        run(&lab.pod, &flags, &[]).succeeds();
        for (own, peer) in lab.own_addresses().into_iter().zip(lab.peer_addresses()) {
            let destination = SocketAddr::new(peer, server.port());
            for owners in [
                [PROXY, APPLICATION],
                [PROXYS_GROUP, APPLICATION],
                [APPLICATION, PROXY],
            ] {
                let mut port = 0;
                for owner in owners {
                    let is_captured = owner == APPLICATION;
                    let listener = if is_captured { &proxy } else { &server };
                    port = be_reset(&lab, owner, (own, port), destination, listener)
                        .unwrap_or_else(|error| panic!("{owners:?} to {peer}, {flags}: {error}"));
                }
            }
        }
    }
}

/// Connects from an address and port, 0 for any, to `listener`, which resets; gives the port.
fn be_reset(
    lab: &Lab,
    owner: (u32, u32),
    (address, port): (IpAddr, u16),
    destination: SocketAddr,
    listener: &Listener,
) -> io::Result<u16> {
    let family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let mut stream = as_owner(&lab.pod, owner, || {
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let address = SockaddrStorage::from(SocketAddr::new(address, port));
        bind(socket.as_raw_fd(), &address)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(destination))?;
        io::Result::Ok(TcpStream::from(socket))
    })?;
    let port = stream.local_addr()?.port();
    let reached = listener.next().ok_or(io::ErrorKind::NotFound)?;
    let now = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&reached, sockopt::Linger, &now)?;
    drop(reached);
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(port),
        other => Err(io::Error::other(format!(
            "{other:?} in the place of a reset"
        ))),
    }
}

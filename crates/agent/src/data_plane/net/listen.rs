//! Opens listeners, one socket a worker.
//!
//! [`start`](crate::data_plane::start) opens all of them before any worker begins.
//! A port that anything else has is an error, even where the kernel would share it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// To which addresses a listener takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To those that it is bound to.
    OwnAddresses,
    /// To any that the kernel's rules hand over (`IP_TRANSPARENT`); takes the capability NET_ADMIN.
    Everywhere,
}

/// Binds `workers` sockets to the same address; the kernel spreads connections over them.
///
/// An unspecified IPv6 address also takes IPv4 connections, and becomes the unspecified IPv4 address where there is no IPv6.
/// Port 0 is chosen by the kernel once, for all of them.
///
/// # Errors
/// When the address is taken by anyone, this user's other processes included, or is not of this machine; or when the process may not
/// reach everywhere.
pub(crate) fn listen(
    address: SocketAddr,
    reach: Reach,
    workers: NonZeroUsize,
) -> io::Result<Vec<TcpListener>> {
    match listen_on(address, reach, workers) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            let address = (Ipv4Addr::UNSPECIFIED, address.port()).into();
            listen_on(address, reach, workers)
        }
        result => result,
    }
}

fn listen_on(
    address: SocketAddr,
    reach: Reach,
    workers: NonZeroUsize,
) -> io::Result<Vec<TcpListener>> {
    // A shared port would silently be shared with an older process of the same user, too; binding it alone first tells.
    let alone = bind(address, reach, false)?;
    if workers.get() == 1 {
        return Ok(vec![finish(alone)?]);
    }
    let address = local_address(&alone)?;
    drop(alone);
    (0..workers.get())
        .map(|_| finish(bind(address, reach, true)?))
        .collect()
}

fn bind(address: SocketAddr, reach: Reach, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if reach == Reach::Everywhere {
        make_transparent(&socket)?;
    }
    // Accepted connections inherit it, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Lets a socket have addresses that are not its machine's; IPv4's option is what a socket of either family is asked for.
pub(super) fn make_transparent(socket: &Socket) -> io::Result<()> {
    socket
        .set_ip_transparent_v4(true)
        .map_err(|source| io::Error::new(source.kind(), NotTransparent { source }))
}

fn finish(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Why a socket may not reach everywhere.
#[derive(Debug, thiserror::Error)]
#[error("a transparent socket, which TPROXY needs, takes the capability NET_ADMIN")]
struct NotTransparent {
    source: io::Error,
}

/// IPv6 is not compiled in, or switched off for the machine or the namespace.
fn no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Linux, all architectures but MIPS, Alpha and SPARC; the standard library has no kind for it.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;
    const OWN: Reach = Reach::OwnAddresses;

    #[test]
    fn a_busy_port_is_refused_for_any_number_of_workers() {
        let held = listen("127.0.0.1:0".parse().unwrap(), OWN, ONE).unwrap();
        let address = held[0].local_addr().unwrap();
        for workers in [1, 2] {
            let error = listen(address, OWN, NonZeroUsize::new(workers).unwrap()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        let shared = listen(
            "127.0.0.1:0".parse().unwrap(),
            OWN,
            NonZeroUsize::new(2).unwrap(),
        )
        .unwrap();
        let error = listen(
            shared[0].local_addr().unwrap(),
            OWN,
            NonZeroUsize::new(2).unwrap(),
        );
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// Whether the test may have such a socket depends on who runs it.
    #[test]
    fn a_listener_that_reaches_everywhere_is_transparent_or_says_what_it_takes() {
        match listen("[::]:0".parse().unwrap(), Reach::Everywhere, ONE) {
            Ok(listeners) => {
                let socket = socket2::SockRef::from(&listeners[0]);
                assert!(socket.ip_transparent_v4().unwrap());
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert!(error.to_string().contains("NET_ADMIN"), "{error}");
            }
        }
    }

    #[test]
    fn workers_share_one_port() {
        let listeners = listen(
            "127.0.0.1:0".parse().unwrap(),
            OWN,
            NonZeroUsize::new(3).unwrap(),
        );
        let ports: Vec<_> = listeners
            .unwrap()
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert_eq!(ports, [ports[0]; 3]);
    }

    #[test]
    fn the_unspecified_address_takes_ipv4_connections() {
        let listeners = listen("[::]:0".parse().unwrap(), OWN, ONE).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}

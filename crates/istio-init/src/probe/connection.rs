//! Sockets: listeners that know their own connections by a token, and connections in another
//! user's name.
//!
//! Called by [`validate`](super::validate). Nothing here waits longer than it is told to, and a
//! stranger's connection or answer is never taken for one of ours.

use std::{
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn6, SockaddrStorage, bind, connect,
            getsockopt, setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike as _},
    },
    unistd::{Gid, Uid, setfsgid, setfsuid},
};

use crate::walk::Owner;

/// What tells one connection from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token([u8; 16]);

/// A listener of this program.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// How connecting ended.
#[derive(Debug)]
pub(super) enum Connected {
    /// Somebody accepts.
    Accepted(TcpStream),
    /// Nobody accepts.
    Refused(Errno),
    /// Nobody answers.
    Unanswered,
}

/// Strangers that are let go before a listener gives up on finding its own.
const STRANGERS: usize = 64;
/// How long a stranger may take to say what he has to say.
const PATIENCE: Duration = Duration::from_millis(20);

// === impl Token ===

impl Token {
    /// A token that nobody can guess.
    pub(super) fn new() -> Self {
        // The standard library seeds these from the kernel.
        let random = || RandomState::new().build_hasher().finish();
        let number = u128::from(random()) << 64 | u128::from(random());
        Self(number.to_be_bytes())
    }

    /// Says it to whoever accepted.
    pub(super) fn say(self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.0)
    }
}

// === impl Listener ===

impl Listener {
    /// Listens on an address; port 0 is any free one.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where the connection with this token was meant to go, if it is here.
    pub(super) fn accepted(&self, token: Token) -> Option<SocketAddr> {
        for _ in 0..STRANGERS {
            let (mut stream, _) = self.socket.accept().ok()?;
            if said(&mut stream).is_ok_and(|said| said == token) {
                return original_destination(&stream).or_else(|| stream.local_addr().ok());
            }
        }
        None
    }
}

/// The listener that the connection with this token arrived at, and where it was meant to go.
pub(super) fn find<'a>(
    listeners: &[&'a Listener],
    token: Token,
    limit: Duration,
) -> Option<(&'a Listener, SocketAddr)> {
    let end = Instant::now() + limit;
    loop {
        let found = listeners.iter().copied().find_map(|listener| {
            let meant = listener.accepted(token)?;
            Some((listener, meant))
        });
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        // The kernel hands a connection over a moment after it has told the other side.
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether sockets can be made in another user's name, and in whose else.
pub(super) fn can_be(owner: Owner) -> bool {
    as_owner(owner, current) == owner
}

/// The port of this network namespace that has accepted the connection from here, whoever listens.
pub(super) fn accepted_at(from: SocketAddr) -> Option<u16> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    tables.iter().find_map(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        let mut connections = text.lines().filter_map(ports_of);
        let accepted = connections.find(|(_, theirs)| *theirs == from.port());
        accepted.map(|(ours, _)| ours)
    })
}

/// The ports of a line of the kernel's table, `0: 0100007F:3A99 0100007F:C350 01 …`: our own and the
/// other side's.
fn ports_of(line: &str) -> Option<(u16, u16)> {
    let mut fields = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok();
    Some((port()?, port()?))
}

/// In whose name sockets are made now.
pub(super) fn current() -> Owner {
    // The highest number is nobody's, so these two change nothing and tell what is.
    Owner {
        user: setfsuid(Uid::from_raw(u32::MAX)).as_raw(),
        group: setfsgid(Gid::from_raw(u32::MAX)).as_raw(),
    }
}

/// Connects in the name of `owner`, waiting no longer than `limit`.
///
/// What leaves the namespace gets no farther than the first router.
pub(super) fn dial(
    owner: Owner,
    source: Option<IpAddr>,
    destination: SocketAddr,
    limit: Duration,
) -> io::Result<Connected> {
    let family = match destination {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let descriptor = as_owner(owner, || {
        socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
    })?;
    limit_reach(&descriptor, destination)?;
    let milliseconds = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let limit = TimeVal::milliseconds(milliseconds.max(1));
    setsockopt(&descriptor, sockopt::SendTimeout, &limit)?;
    if let Some(source) = source {
        let source = SockaddrStorage::from(SocketAddr::new(source, 0));
        bind(descriptor.as_raw_fd(), &source)?;
    }
    match connect(descriptor.as_raw_fd(), &SockaddrStorage::from(destination)) {
        Ok(()) => Ok(Connected::Accepted(TcpStream::from(descriptor))),
        Err(Errno::EINPROGRESS | Errno::ETIMEDOUT | Errno::EAGAIN) => Ok(Connected::Unanswered),
        Err(
            reason @ (Errno::ECONNREFUSED
            | Errno::ECONNRESET
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EPERM
            | Errno::EACCES),
        ) => Ok(Connected::Refused(reason)),
        Err(error) => Err(error.into()),
    }
}

/// The address from which a connection to `destination` would come, if there is a route.
pub(super) fn source_towards(destination: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    let mut destination = destination;
    destination.set_port(9);
    // Connecting a datagram socket only looks for a route.
    socket.connect(destination).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn limit_reach(descriptor: &OwnedFd, destination: SocketAddr) -> nix::Result<()> {
    match destination {
        SocketAddr::V4(_) => setsockopt(descriptor, sockopt::Ipv4Ttl, &1),
        SocketAddr::V6(_) => setsockopt(descriptor, sockopt::Ipv6Ttl, &1),
    }
}

/// User and group of a socket are those of the thread for file accesses at the moment it is made.
fn as_owner<T>(owner: Owner, f: impl FnOnce() -> T) -> T {
    let group = setfsgid(Gid::from_raw(owner.group));
    let user = setfsuid(Uid::from_raw(owner.user));
    let result = f();
    setfsuid(user);
    setfsgid(group);
    result
}

fn said(stream: &mut TcpStream) -> io::Result<Token> {
    let mut bytes = [0; 16];
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut bytes)?;
    Ok(Token(bytes))
}

/// Nothing where the destination was not translated.
fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    match stream.local_addr().ok()? {
        SocketAddr::V4(_) => {
            let address = getsockopt(stream, sockopt::OriginalDst).ok()?;
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(address.sin_port)))
        }
        SocketAddr::V6(_) => {
            let address = getsockopt(stream, sockopt::Ip6tOriginalDst).ok()?;
            let address = SockaddrIn6::from(address);
            Some(SocketAddr::new(address.ip().into(), address.port()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_both_sides_are_read_from_the_kernels_table() {
        let v4 =
            "   0: 0100007F:3A99 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1337";
        assert_eq!(ports_of(v4), Some((15001, 50000)));
        let v6 =
            "1: 0000000000000000FFFF00000100007F:3A9E 0000000000000000FFFF00000100007F:0001 01";
        assert_eq!(ports_of(v6), Some((15006, 1)));
        for line in [
            "",
            "  sl  local_address rem_address   st",
            "0: 1:x 2:1",
            "0: 1",
        ] {
            assert_eq!(ports_of(line), None, "{line}");
        }
    }

    #[test]
    fn a_connection_is_found_by_the_port_that_accepted_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(address).expect("it listens");
        let from = ours.local_addr().expect("it is connected");
        assert_eq!(accepted_at(from), Some(address.port()));
        assert_ne!(accepted_at(address), Some(address.port()));
    }
}

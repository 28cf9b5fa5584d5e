//! Sockets: listeners, original destinations, upstream connections, buffers.
//!
//! Everything that touches the kernel's network interface is below this module; the protocols above see a [`Stream`] and addresses
//! that cannot be mixed up. IPv4 addresses are always plain here, never mapped into IPv6.

pub(crate) mod buffers;
pub(crate) mod connect;
pub(crate) mod listen;
pub(crate) mod original_destination;
pub(crate) mod splice;
pub mod stream;

use std::net::{IpAddr, SocketAddr};

pub(crate) use buffers::{Buffers, Size};
pub(crate) use connect::{Source, connect};
pub(crate) use original_destination::OriginalDestination;
pub(crate) use stream::Stream;

/// The other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The address with an IPv4 address in its plain form, as a dual-stack socket reports it mapped.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

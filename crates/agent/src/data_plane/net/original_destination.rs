//! Where a captured connection was going before the kernel redirected it.
//!
//! A worker asks right after accepting, before anything else is decided.
//! A connection without such a destination was addressed to the proxy, and must not be dialled.

use std::{io, net::SocketAddr};

use socket2::{SockAddr, SockRef};
use tokio::net::TcpStream;

use super::canonical;

/// How the original destination of a connection becomes known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capture {
    /// A netfilter rule redirected it; the kernel's connection tracking remembers (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`).
    #[default]
    Redirect,
    /// A netfilter rule handed it over as it is (TPROXY): its own address is the destination.
    Tproxy,
    /// Every connection was meant for this address: one service without any rules, as in a test.
    Fixed(SocketAddr),
}

/// The destination that the application, or the peer, had dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OriginalDestination(pub(crate) SocketAddr);

// === impl Capture ===

impl Capture {
    /// Looks up the original destination of an accepted connection.
    ///
    /// # Errors
    /// `NotFound` or `ENOPROTOOPT` where no rule redirected it, so that it was addressed to the proxy itself.
    pub(crate) fn original_destination(
        self,
        stream: &TcpStream,
    ) -> io::Result<OriginalDestination> {
        let address = match self {
            Self::Redirect => redirected(stream)?,
            Self::Tproxy => stream.local_addr()?,
            Self::Fixed(address) => address,
        };
        Ok(OriginalDestination(canonical(address)))
    }
}

fn redirected(stream: &TcpStream) -> io::Result<SocketAddr> {
    // A dual-stack socket holds IPv4 connections as mapped ones; connection tracking knows them as IPv4.
    let is_ipv4 = canonical(stream.local_addr()?).is_ipv4();
    let socket = SockRef::from(stream);
    let address = if is_ipv4 {
        socket.original_dst_v4()?
    } else {
        socket.original_dst_v6()?
    };
    SockAddr::as_socket(&address).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

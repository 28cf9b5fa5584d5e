//! Opens connections to upstreams.
//!
//! Called by [`Connection::upstream`](crate::data_plane::captured::Connection::upstream) when the pool has nothing.
//! Towards the application the source address is the one that the capture rules let pass, or the client's, without using up a port for each.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use contract::{
    ids,
    net::{INBOUND_SOURCE_V4, INBOUND_SOURCE_V6},
};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpSocket;

use super::{Stream, listen::make_transparent};
use crate::data_plane::error::Failure;

/// Where a connection of ours comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Whatever address routing chooses.
    Routing,
    /// The address that the capture rules let pass towards the application, 127.0.0.6 or ::6.
    Inbound,
    /// A client's, so that the application sees who asks it (TPROXY); takes the capability NET_ADMIN.
    Client(IpAddr),
}

/// Connects to `address`. Nothing is lost when it is dropped before it is done; a half-open connection is closed.
///
/// # Errors
/// [`Failure::Connect`] with what the kernel said, [`Failure::ConnectTimeout`] after `limit`.
pub(crate) async fn connect(
    address: SocketAddr,
    source: Source,
    limit: Duration,
) -> Result<Stream, Failure> {
    let connecting = async {
        let socket = socket(address, source)?;
        TcpSocket::from_std_stream(socket.into())
            .connect(address)
            .await
    };
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected.map(Stream::new).map_err(Failure::Connect),
        Err(_elapsed) => Err(Failure::ConnectTimeout),
    }
}

fn socket(address: SocketAddr, source: Source) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    let from = match (source, address.ip()) {
        (Source::Routing, _) => return Ok(socket),
        (Source::Inbound, IpAddr::V4(_)) => INBOUND_SOURCE_V4.into(),
        (Source::Inbound, IpAddr::V6(_)) => INBOUND_SOURCE_V6.into(),
        (Source::Client(client), _) => {
            make_transparent(&socket)?;
            // By the mark the rules know what is on its way to the application, and lead the answers back here.
            socket.set_mark(ids::TPROXY_MARK)?;
            client
        }
    };
    // The port is chosen at connect, when the destination is known: only then can one port serve many destinations.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    Ok(socket)
}

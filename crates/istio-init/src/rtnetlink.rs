//! Addresses and routes of the namespace: which families it speaks, the extra address of its
//! loopback interface, and where marked packets go.
//!
//! Called by [`apply`](crate::apply), over the kernel's routing socket. Adding what is there and
//! removing what is not are both fine, so both can be repeated.

mod routes;
#[cfg(test)]
mod tests;

use std::{fmt, net::Ipv6Addr};

use ipnet::Ipv6Net;
use nix::{errno::Errno, sys::socket::SockProtocol};

use crate::{
    netlink::{Message, NetlinkError, Packet, Socket, flags},
    plan::Families,
};

pub use routes::{LocalRoute, RoutingRule};

/// The namespace's addresses and routes.
#[derive(Debug)]
pub(crate) struct Network {
    socket: Socket,
}

/// What to do with an address, a rule or a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Have it.
    Add,
    /// Have it no more.
    Remove,
}

/// `AF_INET6`, in the first byte of every request and answer about addresses.
const FAMILY_V6: u8 = 10;
/// The loopback interface is the first of every namespace (`LOOPBACK_IFINDEX` in the kernel).
const LOOPBACK_INDEX: u32 = 1;

/// Length of `struct ifaddrmsg`.
const HEADER: usize = 8;
/// Kinds of messages (`linux/rtnetlink.h`).
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
/// Attributes of addresses (`linux/if_addr.h`).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

// === impl Network ===

impl Network {
    /// Opens a socket; needs no privilege.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let socket = Socket::open(SockProtocol::NetlinkRoute)?;
        Ok(Self { socket })
    }

    /// Both families if the namespace has any IPv6 address. A kernel without IPv6 answers with
    /// addresses of other families.
    ///
    /// Fails as interrupted if addresses change meanwhile and none of IPv6 was seen yet.
    pub(crate) fn families(&mut self) -> Result<Families, NetlinkError> {
        let mut packet = Packet::default();
        let request = packet.message(GET_ADDRESS, flags::DUMP, &header(FAMILY_V6, 0, 0), |_| {});
        let mut families = Families::V4;
        let outcome = self.socket.ask(&packet, request, |message| {
            if message.kind == NEW_ADDRESS && message.payload.first() == Some(&FAMILY_V6) {
                families = Families::V4AndV6;
            }
            Ok(())
        });
        match outcome {
            Err(NetlinkError::Interrupted) if families == Families::V4AndV6 => Ok(families),
            other => other.map(|()| families),
        }
    }

    /// Whether the loopback interface has all of these addresses.
    pub(crate) fn are_on_loopback(&mut self, networks: &[Ipv6Net]) -> Result<bool, NetlinkError> {
        if networks.is_empty() {
            return Ok(true);
        }
        let mut packet = Packet::default();
        let request = packet.message(GET_ADDRESS, flags::DUMP, &header(FAMILY_V6, 0, 0), |_| {});
        let mut missing: Vec<_> = networks
            .iter()
            .map(|network| network.addr().octets())
            .collect();
        self.socket.ask(&packet, request, |message| {
            if message.kind == NEW_ADDRESS
                && message.payload.get(4..8) == Some(&LOOPBACK_INDEX.to_ne_bytes())
            {
                for attribute in message.attributes(HEADER) {
                    let attribute = attribute?;
                    missing.retain(|address| {
                        !(attribute.kind == IFA_ADDRESS && attribute.value == address)
                    });
                }
            }
            Ok(())
        })?;
        Ok(missing.is_empty())
    }

    /// Adds an address to the loopback interface or removes it from there; tells whether that
    /// changed anything.
    pub(crate) fn change_loopback(
        &mut self,
        change: Change,
        network: Ipv6Net,
    ) -> Result<bool, NetlinkError> {
        let header = header(FAMILY_V6, network.prefix_len(), LOOPBACK_INDEX);
        let address: Ipv6Addr = network.addr();
        let kind = change.choose(NEW_ADDRESS, DELETE_ADDRESS);
        let outcome = self.send(kind, change, &header, |packet| {
            packet.bytes_attribute(IFA_LOCAL, &address.octets());
            packet.bytes_attribute(IFA_ADDRESS, &address.octets());
        });
        unless(outcome, change.choose(Errno::EEXIST, Errno::EADDRNOTAVAIL))
    }

    fn send(
        &mut self,
        kind: u16,
        change: Change,
        header: &[u8],
        fill: impl FnOnce(&mut Packet),
    ) -> Result<(), NetlinkError> {
        let mut packet = Packet::default();
        let flags = change.choose(flags::CREATE | flags::EXCLUSIVE, 0) | flags::ACKNOWLEDGE;
        let request = packet.message(kind, flags, header, fill);
        self.socket.ask(&packet, request, |_| Ok(()))
    }
}

// === impl Change ===

impl Change {
    fn choose<T>(self, add: T, remove: T) -> T {
        match self {
            Self::Add => add,
            Self::Remove => remove,
        }
    }
}

/// `add` or `remove`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.choose("add", "remove"))
    }
}

/// How many of the readers of rules and routes make sense of a message.
pub(crate) fn n_readers_of(message: &Message<'_>) -> usize {
    let readers = [
        routes::decode_rule(message).is_ok(),
        routes::decode_route(message).is_ok(),
    ];
    readers.into_iter().filter(|made_sense| *made_sense).count()
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope (all the world), index of the interface.
fn header(family: u8, prefix_len: u8, index: u32) -> [u8; HEADER] {
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    [family, prefix_len, 0, 0, i0, i1, i2, i3]
}

/// Whether something was changed; being told that there is nothing to change is no error.
fn unless(outcome: Result<(), NetlinkError>, already: Errno) -> Result<bool, NetlinkError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(NetlinkError::Refused { source, .. }) if source == already => Ok(false),
        Err(error) => Err(error),
    }
}

//! The few rtnetlink requests that a topology needs.
//!
//! Called by `netns` on a thread inside the namespace that is changed.
//! Each request waits for the kernel's acknowledgement, so that the next step finds what this one made.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::RawFd,
};

use anyhow::{Context, anyhow};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A route netlink socket in the namespace of the thread that opened it.
pub(super) struct Netlink {
    socket: Socket,
}

/// An address with its prefix length in bits.
#[derive(Clone, Copy)]
pub(super) enum Address {
    V4(Ipv4Addr, u8),
    V6(Ipv6Addr, u8),
}

// === impl Netlink ===

impl Netlink {
    pub(super) fn open() -> anyhow::Result<Self> {
        let mut socket =
            Socket::new(NETLINK_ROUTE).context("cannot open a route netlink socket")?;
        socket
            .bind_auto()
            .context("cannot bind the route netlink socket")?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .context("cannot connect the route netlink socket")?;
        Ok(Self { socket })
    }

    pub(super) fn up(&self, name: &str) -> anyhow::Result<()> {
        let mut message = self.existing(name)?;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.set_link(message)
            .with_context(|| format!("cannot set {name} up"))
    }

    pub(super) fn attach(&self, name: &str, bridge: &str) -> anyhow::Result<()> {
        let mut message = self.existing(name)?;
        message
            .attributes
            .push(LinkAttribute::Controller(self.index(bridge)?));
        self.set_link(message)
            .with_context(|| format!("cannot attach {name} to {bridge}"))
    }

    pub(super) fn add_bridge(&self, name: &str) -> anyhow::Result<()> {
        let mut message = named(name);
        message
            .attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
                InfoKind::Bridge,
            )]));
        self.create(RouteNetlinkMessage::NewLink(message))
            .with_context(|| format!("cannot add bridge {name}"))
    }

    /// Adds a pair of links: `name` here, `peer` in the namespace of `peer_namespace`.
    pub(super) fn add_veth(
        &self,
        name: &str,
        peer: &str,
        peer_namespace: RawFd,
    ) -> anyhow::Result<()> {
        let mut peer_message = named(peer);
        peer_message
            .attributes
            .push(LinkAttribute::NetNsFd(peer_namespace));
        let mut message = named(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer_message))),
        ]));
        self.create(RouteNetlinkMessage::NewLink(message))
            .with_context(|| format!("cannot add veth pair {name}, {peer}"))
    }

    pub(super) fn add_address(&self, name: &str, address: Address) -> anyhow::Result<()> {
        let (ip, prefix_len) = match address {
            Address::V4(ip, prefix_len) => (IpAddr::V4(ip), prefix_len),
            Address::V6(ip, prefix_len) => (IpAddr::V6(ip), prefix_len),
        };
        let mut message = AddressMessage::default();
        message.header.family = family(ip);
        message.header.prefix_len = prefix_len;
        message.header.index = self.index(name)?;
        // Without it an IPv6 address cannot be used for a second, until duplicate detection has ended.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Local(ip));
        message.attributes.push(AddressAttribute::Address(ip));
        self.create(RouteNetlinkMessage::NewAddress(message))
            .with_context(|| format!("cannot add address {ip} to {name}"))
    }

    pub(super) fn add_default_route(&self, gateway: IpAddr) -> anyhow::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(gateway);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message
            .attributes
            .push(RouteAttribute::Gateway(match gateway {
                IpAddr::V4(ip) => RouteAddress::Inet(ip),
                IpAddr::V6(ip) => RouteAddress::Inet6(ip),
            }));
        self.create(RouteNetlinkMessage::NewRoute(message))
            .with_context(|| format!("cannot add default route to {gateway}"))
    }

    fn existing(&self, name: &str) -> anyhow::Result<LinkMessage> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(name)?;
        Ok(message)
    }

    fn index(&self, name: &str) -> anyhow::Result<u32> {
        nix::net::if_::if_nametoindex(name).with_context(|| format!("no link {name}"))
    }

    fn set_link(&self, message: LinkMessage) -> anyhow::Result<()> {
        self.request(RouteNetlinkMessage::SetLink(message), 0)
    }

    fn create(&self, message: RouteNetlinkMessage) -> anyhow::Result<()> {
        self.request(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> anyhow::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket
            .send(&bytes, 0)
            .context("cannot send to the kernel")?;
        let (answer, _) = self
            .socket
            .recv_from_full()
            .context("cannot receive from the kernel")?;
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io().into()),
            other => Err(anyhow!(
                "the kernel answered {other:?} instead of an acknowledgement"
            )),
        }
    }
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

//! The grammar of packets: `tcp out 10.0.0.1:80 uid 1000`.
//!
//! Called by [`Request::read`](super::Request::read); pure. First the protocol, the direction and the
//! destination, then any facts by name; what is not said is what an ordinary connection has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    plan::Protocol,
    walk::{Direction, Owner, Packet, State},
};

/// The grammar in one line.
pub const USAGE: &str = "a packet is: tcp|udp|other in|out ADDRESS[:PORT] [from ADDRESS[:PORT]] [dev INTERFACE] [uid N] [gid N] [state new|established|invalid] [mark N] [connmark N] [proxy up|down]";

/// What is wrong with a packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPacket {
    /// It ends where something is needed.
    #[error("{expected} is missing; {USAGE}")]
    Missing {
        /// What is needed.
        expected: &'static str,
    },
    /// A word that is not what stands there.
    #[error("{word:?}: expected {expected}; {USAGE}")]
    Unexpected {
        /// The word.
        word: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Addresses of two families.
    #[error("{word:?}: source and destination are of the same family; {USAGE}")]
    Families {
        /// The source.
        word: String,
    },
}

/// The words of a packet.
struct Words<'a> {
    words: std::str::SplitWhitespace<'a>,
}

/// An ordinary application.
const APPLICATION: u32 = 1000;
/// A port that a kernel chooses.
const EPHEMERAL: u16 = 40000;

/// Reads a packet.
///
/// # Errors
/// Which word makes no sense, and what it should be.
pub fn parse(text: &str) -> Result<Packet, InvalidPacket> {
    let mut words = Words {
        words: text.split_whitespace(),
    };
    let mut packet = words.ordinary()?;
    let is_outgoing = packet.direction == Direction::Outgoing;
    let (mut user, mut group) = (None, None);
    while let Some(name) = words.words.next() {
        match name {
            "from" => source(&mut words, &mut packet)?,
            "dev" => packet.interface = words.next("an interface such as eth0")?.to_owned(),
            "uid" if is_outgoing => user = Some(words.number("the number of a user")?),
            "gid" if is_outgoing => group = Some(words.number("the number of a group")?),
            "mark" => packet.mark = words.number("a mark")?,
            "connmark" => packet.connection_mark = words.number("a mark")?,
            "state" => {
                let states = [
                    ("new", State::New),
                    ("established", State::Established),
                    ("invalid", State::Invalid),
                ];
                packet.state = words.one_of("a state: new, established or invalid", &states)?;
            }
            "proxy" => {
                let states = [("up", true), ("down", false)];
                packet.proxy_listens = words.one_of("up or down", &states)?;
            }
            word => {
                let word = word.to_owned();
                let expected = match is_outgoing {
                    true => "from, dev, uid, gid, state, mark, connmark or proxy",
                    false => {
                        "from, dev, state, mark, connmark or proxy: what comes in has no user here"
                    }
                };
                return Err(InvalidPacket::Unexpected { word, expected });
            }
        }
    }
    let user = user.unwrap_or(APPLICATION);
    let group = group.unwrap_or(user);
    packet.owner = is_outgoing.then_some(Owner { user, group });
    Ok(packet)
}

fn source(words: &mut Words<'_>, packet: &mut Packet) -> Result<(), InvalidPacket> {
    let (source, port) = words.address("a source such as 10.0.0.2 or 10.0.0.2:40000")?;
    if source.is_ipv4() != packet.destination.is_ipv4() {
        let word = source.to_string();
        return Err(InvalidPacket::Families { word });
    }
    packet.source = source;
    if port != 0 {
        packet.source_port = port;
    }
    Ok(())
}

/// Localhost talks to itself; for the rest an address of documentation (RFC 5737, RFC 3849).
fn usual_source(destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    }
}

// === impl Words ===

impl<'a> Words<'a> {
    /// Protocol, direction and destination, and what is usual for the rest.
    fn ordinary(&mut self) -> Result<Packet, InvalidPacket> {
        let protocol = self.one_of(
            "a protocol: tcp, udp or other",
            &[
                ("tcp", Some(Protocol::Tcp)),
                ("udp", Some(Protocol::Udp)),
                ("other", None),
            ],
        )?;
        let direction = self.one_of(
            "a direction: in or out",
            &[("in", Direction::Incoming), ("out", Direction::Outgoing)],
        )?;
        let (destination, destination_port) = self.address("a destination such as 10.0.0.1:80")?;
        Ok(Packet {
            direction,
            interface: match destination.is_loopback() {
                true => "lo".to_owned(),
                false => "eth0".to_owned(),
            },
            source: usual_source(destination),
            destination,
            protocol,
            source_port: protocol.map_or(0, |_| EPHEMERAL),
            destination_port,
            owner: None,
            state: State::New,
            mark: 0,
            connection_mark: 0,
            proxy_listens: true,
        })
    }

    fn next(&mut self, expected: &'static str) -> Result<&'a str, InvalidPacket> {
        self.words.next().ok_or(InvalidPacket::Missing { expected })
    }

    fn one_of<T: Copy>(
        &mut self,
        expected: &'static str,
        known: &[(&str, T)],
    ) -> Result<T, InvalidPacket> {
        let word = self.next(expected)?;
        let found = known.iter().find(|(name, _)| *name == word);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| unexpected(word, expected))
    }

    fn number(&mut self, expected: &'static str) -> Result<u32, InvalidPacket> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| unexpected(word, expected))
    }

    /// An address and its port, 0 if there is none.
    fn address(&mut self, expected: &'static str) -> Result<(IpAddr, u16), InvalidPacket> {
        let word = self.next(expected)?;
        if let Ok(address) = word.parse::<SocketAddr>() {
            return Ok((address.ip(), address.port()));
        }
        let plain = word
            .strip_prefix('[')
            .and_then(|word| word.strip_suffix(']'));
        match plain.unwrap_or(word).parse() {
            Ok(ip) => Ok((ip, 0)),
            Err(_) => Err(unexpected(word, expected)),
        }
    }
}

fn unexpected(word: &str, expected: &'static str) -> InvalidPacket {
    let word = word.chars().take(100).collect();
    InvalidPacket::Unexpected { word, expected }
}

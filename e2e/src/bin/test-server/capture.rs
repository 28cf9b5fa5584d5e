//! What passes on the links of a node, as somebody in the network would see it.
//!
//! `test-server capture` runs in a pod of the node's own network, listens with a packet socket and counts the TCP segments of one address: those that can
//! be read, because they hold a text that the test sends, and those that are encrypted. It says when it listens, and reports when its input ends.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Flags of `test-server capture`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address whose segments count, whichever way they go.
    address: IpAddr,
    /// The text that must not be readable.
    text: String,
}

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Seen {
    /// Segments with contents.
    segments: usize,
    /// Those that begin with an encrypted record of TLS.
    encrypted: usize,
    /// Those that hold the text.
    readable: usize,
}

/// A TCP segment's ends and contents.
struct Segment<'a> {
    source: IpAddr,
    destination: IpAddr,
    contents: &'a [u8],
}

/// Every protocol, in network order (`ETH_P_ALL` of `linux/if_ether.h`).
const EVERYTHING: u16 = 0x0003_u16.to_be();
/// Largest frame: the kernel joins segments before it shows them.
const MAX_FRAME: usize = 128 * 1024;
/// How long the end of the input may go unnoticed.
const PAUSE: Duration = Duration::from_millis(50);
/// How encrypted records of TLS begin (RFC 8446, section 5.2).
const ENCRYPTED: &[u8] = b"\x17\x03\x03";

/// Listens until standard input ends, then prints what was seen.
///
/// # Errors
/// There is no right to listen.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    let listener = Arc::clone(&ended);
    let listening = tokio::task::spawn_blocking(move || listen(&args, &listener));
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink())).await??;
    ended.store(true, Ordering::Relaxed);
    let seen = listening.await??;
    writeln!(io::stdout(), "{}", serde_json::to_string(&seen)?)?;
    Ok(())
}

fn listen(args: &Args, ended: &AtomicBool) -> anyhow::Result<Seen> {
    let protocol = Protocol::from(i32::from(EVERYTHING));
    let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))
        .context("cannot listen on the node's links, which takes CAP_NET_RAW")?;
    // A node's own traffic would fill the socket's queue, and what is sought would be lost.
    socket
        .attach_filter(&only(args.address))
        .context("cannot filter what is heard")?;
    socket.set_read_timeout(Some(PAUSE))?;
    writeln!(io::stdout(), "listening")?;
    let mut seen = Seen::default();
    let mut buffer = vec![0; MAX_FRAME];
    loop {
        // Looked at before the read, so that what was heard by then is still counted.
        let is_last = ended.load(Ordering::Relaxed);
        match socket.read(&mut buffer) {
            Ok(len) => seen.add(buffer.get(..len).unwrap_or_default(), args),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && is_last => return Ok(seen),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot listen on the node's links"),
        }
    }
}

/// Lets frames through that bear the address as source or destination, by its last four bytes (classic BPF, `linux/filter.h`).
fn only(address: IpAddr) -> [SockFilter; 8] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ETHERNET: u32 = 14;
    let (kind, source, destination, end) = match address {
        IpAddr::V4(ip) => (0x0800, ETHERNET + 12, ETHERNET + 16, ip.to_bits()),
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            let end = u32::from_be_bytes([a, b, c, d]);
            (0x86dd, ETHERNET + 8 + 12, ETHERNET + 24 + 12, end)
        }
    };
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 5, kind),
        SockFilter::new(LOAD_WORD, 0, 0, source),
        SockFilter::new(JUMP_IF_EQUAL, 2, 0, end),
        SockFilter::new(LOAD_WORD, 0, 0, destination),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, end),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

// === impl Seen ===

impl Seen {
    fn add(&mut self, frame: &[u8], args: &Args) {
        let Some(segment) = Segment::of(frame) else {
            return;
        };
        if ![segment.source, segment.destination].contains(&args.address)
            || segment.contents.is_empty()
        {
            return;
        }
        let text = args.text.as_bytes();
        let mut parts = segment.contents.windows(text.len().max(1));
        self.segments += 1;
        self.encrypted += usize::from(segment.contents.starts_with(ENCRYPTED));
        self.readable += usize::from(parts.any(|part| part == text));
    }
}

// === impl Segment ===

impl<'a> Segment<'a> {
    /// The segment in an Ethernet frame; nothing where it is anything else, or has options of IPv6 that hide it.
    fn of(frame: &'a [u8]) -> Option<Self> {
        const TCP: u8 = 6;
        let kind = frame.get(12..14)?;
        let packet = frame.get(14..)?;
        let address = |from: usize, len: usize| -> Option<IpAddr> {
            let bytes = packet.get(from..from + len)?;
            match len {
                4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
                _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            }
        };
        let (source, destination, protocol, head) = match kind {
            [0x08, 0x00] => {
                let head = usize::from(packet.first()? & 0xf) * 4;
                (address(12, 4)?, address(16, 4)?, *packet.get(9)?, head)
            }
            [0x86, 0xdd] => (address(8, 16)?, address(24, 16)?, *packet.get(6)?, 40),
            _ => return None,
        };
        let segment = packet.get(head..).filter(|_| protocol == TCP)?;
        let head = usize::from(segment.get(12)? >> 4) * 4;
        Some(Self {
            source,
            destination,
            contents: segment.get(head..)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: [u8; 2], head: &[u8], contents: &[u8]) -> Vec<u8> {
        let mut tcp = [0; 20];
        tcp[12] = 5 << 4;
        [&[0; 12], &kind[..], head, &tcp, contents].concat()
    }

    fn over_ipv4(contents: &[u8]) -> Vec<u8> {
        let mut head = [0; 20];
        head[0] = 0x45;
        head[9] = 6;
        head[12..16].copy_from_slice(&[10, 0, 0, 1]);
        head[16..20].copy_from_slice(&[10, 0, 0, 2]);
        frame([0x08, 0x00], &head, contents)
    }

    fn over_ipv6(contents: &[u8]) -> Vec<u8> {
        let mut head = [0; 40];
        head[6] = 6;
        head[23] = 1;
        head[39] = 2;
        frame([0x86, 0xdd], &head, contents)
    }

    #[test]
    fn what_can_be_read_and_what_cannot_are_told_apart() {
        for (address, frame) in [
            ("10.0.0.2", over_ipv4 as fn(&[u8]) -> Vec<u8>),
            ("::1", over_ipv6),
        ] {
            let args = Args {
                address: address.parse().unwrap(),
                text: "secret".to_owned(),
            };
            let mut seen = Seen::default();
            for contents in [
                &b""[..],
                b"GET /secret",
                b"GET /other",
                b"\x17\x03\x03\x00\x01x",
            ] {
                seen.add(&frame(contents), &args);
            }
            let expected = Seen {
                segments: 3,
                encrypted: 1,
                readable: 1,
            };
            assert_eq!(seen, expected, "{address}");
        }
    }

    #[test]
    fn what_is_cut_short_or_of_others_counts_for_nothing() {
        let args = Args {
            address: "10.9.9.9".parse().unwrap(),
            text: "secret".to_owned(),
        };
        let whole = over_ipv4(b"secret");
        let mut seen = Seen::default();
        for len in 0..=whole.len() {
            seen.add(&whole[..len], &args);
        }
        assert_eq!(seen, Seen::default());
    }
}

//! What passes between two pods, as somebody in the network would see it.
//!
//! A [`Wire`] listens on a pod's link with a packet socket from the moment it is tapped; loopback, where the sidecar talks with its own
//! application, is left out.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Context;
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket},
};
use testkit::netns::Pod;

/// A listener on a pod's link.
pub(super) struct Wire {
    socket: OwnedFd,
    link: usize,
}

/// What was heard.
pub(super) struct Seen(Vec<Vec<u8>>);

/// How the demo's requests begin.
pub(super) const REQUEST_LINE: &[u8] = b"GET / HTTP/1.1";
/// How encrypted records of TLS begin (RFC 8446, section 5.2).
pub(super) const ENCRYPTED: &[u8] = b"\x17\x03\x03";
/// Largest frame: the kernel joins segments before it shows them.
const MAX_FRAME: usize = 128 * 1024;

// === impl Wire ===

impl Wire {
    pub(super) fn tap(pod: &Pod) -> anyhow::Result<Self> {
        pod.enter(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                flags,
                SockProtocol::EthAll,
            )
            .context("cannot listen on the link of a pod")?;
            Ok(Self {
                socket,
                link: usize::try_from(if_nametoindex("eth0")?)?,
            })
        })
    }

    /// Everything that has passed since it was tapped.
    pub(super) fn seen(self) -> anyhow::Result<Seen> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; MAX_FRAME];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((len, Some(from))) if from.ifindex() == self.link => {
                    frames.push(buffer.get(..len).unwrap_or_default().to_vec());
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Seen(frames)),
                Err(error) => return Err(error).context("cannot listen on the link of a pod"),
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whether some frame holds these bytes.
    pub(super) fn has(&self, bytes: &[u8]) -> bool {
        self.0
            .iter()
            .any(|frame| frame.windows(bytes.len()).any(|part| part == bytes))
    }
}

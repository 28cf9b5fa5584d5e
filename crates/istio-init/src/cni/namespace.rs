//! The pod's network namespace: going in, and finding it as it will be.
//!
//! Called by [`cni`](super). The process has one thread and ends after the request, so it never comes back out.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, path::Path};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::SockProtocol,
};

use super::error::CniError;
use crate::{
    apply::{ApplyError, Namespace},
    netlink::{NetlinkError, Packet, Socket, flags},
};

/// Kind of message that changes an interface (`linux/rtnetlink.h`).
const NEW_LINK: u16 = 16;
/// The loopback interface is the first of every namespace (`LOOPBACK_IFINDEX` in the kernel).
const LOOPBACK_INDEX: u32 = 1;
/// `IFF_UP` (`linux/if.h`).
const UP: u32 = 1;

/// Moves this process into the network namespace at `path`.
///
/// Brings its loopback interface up: containerd lets another plugin do that at the same time, and whether the namespace has IPv6 is seen there.
pub(super) fn enter(path: &Path) -> Result<(), CniError> {
    let shown = || path.to_string_lossy().into_owned();
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CniError::NoNamespace {
            path: shown(),
            source,
        },
        _ => CniError::Enter {
            path: shown(),
            source: errno(&source),
        },
    })?;
    if is_own(&file).map_err(|source| CniError::Enter {
        path: shown(),
        source: errno(&source),
    })? {
        return Err(CniError::OwnNamespace { path: shown() });
    }
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|source| CniError::Enter {
        path: shown(),
        source,
    })?;
    raise_loopback().map_err(|source| CniError::from(ApplyError::Loopback { source }))
}

/// Whether packet rules can be set on this node at all.
pub(super) fn usable() -> Result<(), CniError> {
    Namespace::probe().map_err(|source| CniError::Unusable { source })
}

fn is_own(namespace: &File) -> io::Result<bool> {
    let (own, other) = (
        std::fs::metadata("/proc/self/ns/net")?,
        namespace.metadata()?,
    );
    Ok((own.dev(), own.ino()) == (other.dev(), other.ino()))
}

fn raise_loopback() -> Result<(), NetlinkError> {
    let mut socket = Socket::open(SockProtocol::NetlinkRoute)?;
    let mut packet = Packet::default();
    // `struct ifinfomsg`: family, padding and type, then index, flags, and which of the flags to change.
    let mut header = [0; 16];
    for (place, value) in header.chunks_exact_mut(4).zip([0, LOOPBACK_INDEX, UP, UP]) {
        place.copy_from_slice(&u32::to_ne_bytes(value));
    }
    let request = packet.message(NEW_LINK, flags::ACKNOWLEDGE, &header, |_| {});
    socket.ask(&packet, request, |_| Ok(()))
}

fn errno(error: &io::Error) -> nix::errno::Errno {
    nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

//! Netlink: how requests are laid out, and a socket that sends them and reads what the kernel
//! answers.
//!
//! Used by [`nfnetlink`](crate::nfnetlink) for rules and by `rtnetlink` for addresses. The kernel
//! answers a request while it is being sent, so nothing here ever waits, and an answer is read up
//! to a limit.

mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendmsg,
        setsockopt, socket, sockopt,
    },
};

pub use decode::Malformed;
use decode::Outcome;
pub(crate) use decode::{Attribute, Message, messages};
pub(crate) use encode::{Packet, flags};

/// A netlink socket.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
}

/// What went wrong between the kernel and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Open {
        /// The kernel's reason.
        source: Errno,
    },
    /// The request could not be sent.
    #[error("cannot send a netlink request of {size} bytes")]
    Send {
        /// Length of the request.
        size: usize,
        /// The kernel's reason.
        source: Errno,
    },
    /// The answer could not be read.
    #[error("cannot read the kernel's answer to a netlink request")]
    Receive {
        /// The kernel's reason.
        source: Errno,
    },
    /// The kernel refused the request.
    #[error("the kernel refused a netlink request")]
    Refused {
        /// Sequence number of the message that was refused.
        sequence: u32,
        /// The kernel's reason.
        source: Errno,
    },
    /// The answer cannot be understood.
    #[error("the kernel's answer to a netlink request makes no sense")]
    Malformed {
        /// What is wrong with it.
        source: Malformed,
    },
    /// The answer has no end.
    #[error("the kernel's answer to a netlink request has more than {ANSWER_LIMIT} bytes")]
    TooLong,
    /// What was being listed changed in the meantime.
    #[error("the rules changed while they were being read")]
    Interrupted,
}

/// One datagram of an answer is at most this long: the kernel cuts lists into pieces of 8 KiB or of
/// what fits the reader's buffer. More would be zeroed for nothing, which is seen in the run time.
const DATAGRAM_LIMIT: usize = 16 * 1024;
/// More than this is no answer: a table with the longest possible lists has a few megabytes.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// A socket's send buffer holds this much without asking; Linux's default is 208 KiB, with
/// bookkeeping included.
const SEND_BUFFER: usize = 128 * 1024;

// === impl Socket ===

impl Socket {
    /// Opens a socket for one netlink family.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, NetlinkError> {
        let descriptor = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )
        .map_err(|source| NetlinkError::Open { source })?;
        Ok(Self {
            descriptor,
            buffer: vec![0; DATAGRAM_LIMIT],
        })
    }

    /// Sends a packet of requests with one system call and hands over each message of the answer.
    ///
    /// Ends at the acknowledgement, the refusal or the end of the list that belongs to the request
    /// `last`; the first refusal of any request in the packet is the outcome.
    pub(crate) fn ask(
        &mut self,
        packet: &Packet,
        last: u32,
        each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), NetlinkError> {
        self.send(packet.bytes())?;
        let outcome = self.answer(last, each);
        if outcome.is_err() {
            // What else there is to read belongs to the same packet, and the next answer must not
            // begin with it.
            while self.receive().is_ok() {}
        }
        outcome
    }

    fn answer(
        &mut self,
        last: u32,
        mut each: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), NetlinkError> {
        let mut total = 0;
        let mut is_interrupted = false;
        loop {
            let length = self.receive()?;
            total += length;
            if total > ANSWER_LIMIT {
                return Err(NetlinkError::TooLong);
            }
            let datagram = self.buffer.get(..length).unwrap_or(&self.buffer);
            for message in messages(datagram) {
                let message = message.map_err(|source| NetlinkError::Malformed { source })?;
                is_interrupted |= message.flags & flags::DUMP_INTERRUPTED != 0;
                match message
                    .outcome()
                    .map_err(|source| NetlinkError::Malformed { source })?
                {
                    Outcome::Data => {
                        each(&message).map_err(|source| NetlinkError::Malformed { source })?
                    }
                    Outcome::Refused(source) => {
                        let sequence = message.sequence;
                        return Err(NetlinkError::Refused { sequence, source });
                    }
                    Outcome::Done if message.sequence != last => {}
                    Outcome::Done if is_interrupted => return Err(NetlinkError::Interrupted),
                    Outcome::Done => return Ok(()),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        if bytes.len() > SEND_BUFFER {
            // Without NET_ADMIN this fails, and then so does everything else.
            let _ = setsockopt(
                &self.descriptor,
                sockopt::SndBufForce,
                &bytes.len().saturating_mul(2),
            );
        }
        let kernel = NetlinkAddr::new(0, 0);
        let io = [IoSlice::new(bytes)];
        let size = bytes.len();
        match sendmsg(
            self.descriptor.as_raw_fd(),
            &io,
            &[],
            MsgFlags::empty(),
            Some(&kernel),
        ) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Send { size, source }),
        }
    }

    fn receive(&mut self) -> Result<usize, NetlinkError> {
        recv(
            self.descriptor.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        )
        .map_err(|source| NetlinkError::Receive { source })
    }
}

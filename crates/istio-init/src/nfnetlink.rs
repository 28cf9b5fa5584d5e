//! nf_tables over netlink: the table that is in the kernel, and the transaction that makes it
//! another.
//!
//! Called by [`apply`](crate::apply); stands on [`netlink`](crate::netlink). What is read and what
//! is written have one form, a `Ruleset`, so that the two can be compared; a transaction names the
//! generation that was read and fails if anybody changed anything since.
//!
//! ```text
//! Plan ─► Ruleset ─► Transaction ─► kernel
//!            ▲ compare                 │
//!         Ruleset ◄──── read ──────────┘
//! ```

mod expression;
mod lower;
mod raise;
mod read;
mod ruleset;
mod strays;
#[cfg(test)]
mod tests;
mod transaction;
mod uapi;

use nix::{errno::Errno, sys::socket::SockProtocol};

use crate::{
    netlink::{Message, NetlinkError, Socket},
    restore::Whose,
};

pub(crate) use lower::lower;
pub(crate) use raise::raise;
pub(crate) use ruleset::Ruleset;
pub(crate) use strays::Strays;
pub use transaction::Part;
pub(crate) use transaction::Transaction;

/// The kernel's nf_tables, as seen from this process's network namespace.
#[derive(Debug)]
pub(crate) struct NfTables {
    socket: Socket,
}

/// A state of all rules of the namespace; the kernel counts one up with every transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

/// Why the rules could not be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The process may not even look.
    #[error(
        "the kernel does not let this process read or change packet rules; add the capability NET_ADMIN to the container"
    )]
    NotPermitted {
        /// The kernel's reason.
        source: NetlinkError,
    },
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables; load the module nf_tables on the node")]
    NoNfTables {
        /// The kernel's reason.
        source: NetlinkError,
    },
    /// The kernel lacks something.
    #[error("the kernel does not know how to do {part}; load the module {} on the node (kernel 5.2 or newer)", part.module())]
    Unknown {
        /// What it was asked to make.
        part: Part,
        /// The kernel's reason.
        source: NetlinkError,
    },
    /// The kernel refused something.
    #[error("the kernel refused {part}; nothing was changed")]
    Refused {
        /// What it was asked to make.
        part: Part,
        /// The kernel's reason.
        source: NetlinkError,
    },
    /// The rules changed since they were read.
    #[error("somebody else changed packet rules at the same moment")]
    Stale,
    /// Anything else.
    #[error("cannot talk to nf_tables")]
    Netlink {
        /// What went wrong.
        #[from]
        source: NetlinkError,
    },
}

// === impl NfTables ===

impl NfTables {
    /// Opens a socket.
    pub(crate) fn open() -> Result<Self, RulesError> {
        match Socket::open(SockProtocol::NetlinkNetFilter) {
            Ok(socket) => Ok(Self { socket }),
            Err(
                source @ NetlinkError::Open {
                    source: Errno::EPROTONOSUPPORT,
                },
            ) => Err(RulesError::NoNfTables { source }),
            Err(source) => Err(source.into()),
        }
    }

    /// Reads the current generation and our table, if it is there.
    pub(crate) fn read(&mut self) -> Result<(Generation, Option<Ruleset>), RulesError> {
        let outcome = read::generation(&mut self.socket).and_then(|generation| {
            let ruleset = read::ruleset(&mut self.socket, generation)?;
            Ok((generation, ruleset))
        });
        outcome.map_err(unreadable)
    }

    /// Names of all tables of our family.
    pub(crate) fn tables(&mut self) -> Result<Vec<String>, RulesError> {
        read::tables(&mut self.socket).map_err(unreadable)
    }

    /// Reads what iptables has of ours in this generation.
    pub(crate) fn strays(
        &mut self,
        generation: Generation,
        whose: Whose,
    ) -> Result<Strays, RulesError> {
        Strays::read(&mut self.socket, generation, whose).map_err(unreadable)
    }

    /// Carries out the transaction, as a whole or not at all.
    pub(crate) fn commit(&mut self, transaction: &Transaction) -> Result<(), RulesError> {
        let outcome = self
            .socket
            .ask(transaction.packet(), transaction.last(), |_| Ok(()));
        let Err(source) = outcome else {
            return Ok(());
        };
        let NetlinkError::Refused {
            sequence,
            source: reason,
        } = source
        else {
            return Err(source.into());
        };
        let part = transaction.part(sequence);
        Err(match reason {
            Errno::ERESTART => RulesError::Stale,
            Errno::EPERM | Errno::EACCES => RulesError::NotPermitted { source },
            Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => {
                RulesError::Unknown { part, source }
            }
            _ => RulesError::Refused { part, source },
        })
    }
}

/// How many of the readers of rules make sense of a message.
pub(crate) fn n_readers_of(message: &Message<'_>) -> usize {
    let readers = [
        read::decode_chain(message).is_ok(),
        read::decode_set(message).is_ok(),
        read::decode_elements(message, &mut Vec::new()).is_ok(),
        read::decode_rule(message).is_ok(),
    ];
    readers.into_iter().filter(|made_sense| *made_sense).count()
}

fn unreadable(source: NetlinkError) -> RulesError {
    match refusal(source) {
        Some(Errno::EPERM | Errno::EACCES) => RulesError::NotPermitted { source },
        Some(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EPROTONOSUPPORT) => {
            RulesError::NoNfTables { source }
        }
        Some(_) | None if source == NetlinkError::Interrupted => RulesError::Stale,
        Some(_) | None => source.into(),
    }
}

fn refusal(error: NetlinkError) -> Option<Errno> {
    match error {
        NetlinkError::Refused { source, .. } => Some(source),
        _ => None,
    }
}

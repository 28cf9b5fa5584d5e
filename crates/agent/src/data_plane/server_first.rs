//! Destinations whose server speaks first, such as a mail server's or a database's.
//!
//! A client's silence is waited for once; [`captured`](super::captured) asks here first, and dials such a destination again at once.
//! A worker remembers a bounded number of them, the latest.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    net::SocketAddr,
};

/// The destinations that a worker remembers.
#[derive(Debug, Default)]
pub(crate) struct ServerFirst {
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: HashSet<SocketAddr>,
    /// Oldest first; one that was forgotten may still be in it.
    order: VecDeque<SocketAddr>,
}

/// Most destinations; about 100 KiB.
const MAX_KNOWN: usize = 1024;

// === impl ServerFirst ===

impl ServerFirst {
    /// Whether a server there was seen to speak first.
    pub(crate) fn knows(&self, destination: SocketAddr) -> bool {
        self.known.borrow().addresses.contains(&destination)
    }

    /// A server spoke first.
    pub(crate) fn note(&self, destination: SocketAddr) {
        let known = &mut *self.known.borrow_mut();
        if !known.addresses.insert(destination) {
            return;
        }
        known.order.push_back(destination);
        while known.order.len() > MAX_KNOWN {
            if let Some(oldest) = known.order.pop_front() {
                known.addresses.remove(&oldest);
            }
        }
    }

    /// Something else serves there now.
    pub(crate) fn forget(&self, destination: SocketAddr) {
        self.known.borrow_mut().addresses.remove(&destination);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(port: usize) -> SocketAddr {
        ([192, 0, 2, 1], u16::try_from(port).unwrap()).into()
    }

    #[test]
    fn the_latest_destinations_are_remembered_and_no_more() {
        let servers = ServerFirst::default();
        for port in 0..=MAX_KNOWN {
            servers.note(destination(port));
            servers.note(destination(port));
        }
        assert!(!servers.knows(destination(0)));
        assert!(servers.knows(destination(1)));
        servers.forget(destination(1));
        assert!(!servers.knows(destination(1)));
        assert!(servers.known.borrow().order.len() <= MAX_KNOWN);
    }
}

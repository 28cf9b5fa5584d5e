//! Idle upstream connections of one worker, kept for the next request.
//!
//! HTTP takes from here before it dials and gives back what both sides agreed to keep. The most recently used connection is taken
//! first, so that what a quiet time leaves over grows old and is closed; nothing that has ended meanwhile is ever handed out.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::net::{Source, Stream};
use crate::peer::Party;

/// What makes connections interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) address: SocketAddr,
    pub(crate) source: Source,
    /// By mutual TLS.
    pub(crate) is_secured: bool,
}

/// A connection to an upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    pub(crate) key: Key,
    /// Who the other side is, in the words of metrics.
    pub(crate) party: Party,
    /// Our own address, where the access log wants it.
    pub(crate) local: Option<SocketAddr>,
    /// It has served a request before.
    pub(crate) reused: bool,
}

/// Bounds of a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Idle connections to one upstream.
    pub(crate) per_upstream: usize,
    /// Idle connections to all upstreams.
    pub(crate) total: usize,
    /// How long a connection may be idle.
    pub(crate) age: Duration,
}

/// The idle connections.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Limits,
    idle: RefCell<HashMap<Key, Vec<(Upstream, Instant)>>>,
    n_idle: Cell<usize>,
}

// === impl Key ===

impl Key {
    /// An upstream that is spoken to as the application speaks.
    pub(crate) fn plaintext(address: SocketAddr, source: Source) -> Self {
        Self {
            address,
            source,
            is_secured: false,
        }
    }
}

// === impl Upstream ===

impl Upstream {
    /// Whether its identity, if it had to prove one, is still one of those that it may have.
    fn is_one_of(&self, identities: &[Arc<str>]) -> bool {
        self.stream.peer().is_none_or(|peer| {
            let id = peer.spiffe_id().as_str();
            identities.iter().any(|identity| **identity == *id)
        })
    }
}

// === impl Pool ===

impl Pool {
    /// An empty pool.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            idle: RefCell::default(),
            n_idle: Cell::new(0),
        }
    }

    /// The most recently used connection that is still good; a secured one only if its peer is one of `identities`.
    pub(crate) fn take(&self, key: &Key, identities: &[Arc<str>]) -> Option<Upstream> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(key)?;
        while let Some((mut upstream, since)) = list.pop() {
            self.n_idle.set(self.n_idle.get() - 1);
            if since.elapsed() < self.limits.age
                && upstream.is_one_of(identities)
                && !upstream.stream.is_stale()
            {
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection that can serve another request; closes it where there are enough.
    pub(crate) fn give(&self, mut upstream: Upstream, now: Instant) {
        upstream.reused = true;
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(upstream.key).or_default();
        if list.len() < self.limits.per_upstream && self.n_idle.get() < self.limits.total {
            list.push((upstream, now));
            self.n_idle.set(self.n_idle.get() + 1);
        }
    }

    /// Closes what is too old or has ended; called about once a second.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut kept = 0;
        self.idle.borrow_mut().retain(|_, list| {
            list.retain_mut(|(upstream, since)| {
                now.saturating_duration_since(*since) < self.limits.age
                    && !upstream.stream.is_stale()
            });
            if list.len() < list.capacity() / 4 {
                list.shrink_to_fit();
            }
            kept += list.len();
            !list.is_empty()
        });
        self.n_idle.set(kept);
    }

    /// How many wait.
    pub(crate) fn n_idle(&self) -> usize {
        self.n_idle.get()
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.n_idle.set(0);
    }
}

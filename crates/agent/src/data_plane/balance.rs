//! Which endpoint of a service takes a request.
//!
//! Two are drawn at random and the one with fewer requests at hand is taken (power of two choices), Istio's `LEAST_REQUEST`. A [`Load`]
//! counts a request where its endpoint is, for as long as it is held.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crate::mesh::Endpoint;

/// A request at hand, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Load(Arc<AtomicU32>);

/// The endpoint for the next request; one other than `failed` where there is another.
pub(crate) fn pick(endpoints: &[Endpoint], failed: Option<SocketAddr>) -> Option<&Endpoint> {
    let n = endpoints.len();
    let draw = |except: Option<usize>| match except {
        None => fastrand::usize(..n),
        // Any other, with the same chance for each.
        Some(taken) => (taken + 1 + fastrand::usize(..n - 1)) % n,
    };
    match endpoints {
        [] => None,
        [only] => (failed != Some(only.address)).then_some(only),
        _ => {
            let first = draw(None);
            let (one, other) = (endpoints.get(first)?, endpoints.get(draw(Some(first)))?);
            let is_better = match failed {
                Some(address) if address == one.address => false,
                Some(address) if address == other.address => true,
                _ => one.load() <= other.load(),
            };
            Some(if is_better { one } else { other })
        }
    }
}

// === impl Load ===

impl Load {
    /// Counts a request at `endpoint`.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        endpoint.load.fetch_add(1, Relaxed);
        Self(Arc::clone(&endpoint.load))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

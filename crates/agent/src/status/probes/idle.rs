//! Connections to the application that wait for the next probe.
//!
//! Only where the pod asks for it: the kubelet makes a new connection for each probe, and so does the agent by default. There is one for
//! each port at most, and none is used that is old or was ended.

use std::{
    collections::HashMap,
    fmt::{self, Formatter},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::client::Kept;

/// A port of the application, and whether TLS is spoken there.
pub(super) type Way = (u16, bool);

/// Idle connections.
#[derive(Default)]
pub(super) struct Idle(Mutex<HashMap<Way, (Instant, Kept)>>);

/// As Go's default, by which Istio goes.
const LONGEST: Duration = Duration::from_secs(90);
/// More ports than anybody probes.
const MOST: usize = 64;

// === impl Idle ===

impl Idle {
    /// A connection that can be used at once.
    pub(super) async fn take(&self, way: Way) -> Option<Kept> {
        let (since, mut kept) = self.lock().remove(&way)?;
        let is_young = since.elapsed() < LONGEST;
        (is_young && kept.is_ready().await).then_some(kept)
    }

    /// Keeps a connection, if it is of any more use.
    pub(super) async fn put(&self, way: Way, mut kept: Kept) {
        if kept.is_ready().await {
            let mut idle = self.lock();
            idle.retain(|_, (since, _)| since.elapsed() < LONGEST);
            if idle.len() < MOST {
                idle.insert(way, (Instant::now(), kept));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Way, (Instant, Kept)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

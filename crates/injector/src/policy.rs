//! PeerAuthentication: who must come by mutual TLS.
//!
//! The user's objects are followed by [`follower`], judged one by one by [`check`], and what is in force is published as one immutable [`Policies`],
//! which discovery reads. The API server asks `webhook::validate` before it takes an object in, and [`status`] tells the user what became of it.
//! An object that cannot work is as if it were not there, for every replica alike, and concerns no other.
//!
//! ```text
//! API server ─── /validate ──► check ─► refusal or warnings
//!     └── watch ─► follower ─► check ─┬─► Policies ─► discovery
//!                                     └─► status ─► API server (the replica that leads)
//! ```

pub mod check;
pub mod follower;
pub mod ledger;
pub mod metrics;
pub mod object;
pub mod root;
pub mod snapshot;
pub mod status;

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use wire::{minimesh, peer_authentication::Policy};

pub use root::RootNamespace;
pub use snapshot::Policies;

/// A PeerAuthentication that can be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// Labels that a pod must have; empty for every pod of the policy's scope.
    pub selector: BTreeMap<String, String>,
    /// What it says.
    pub policy: Policy,
}

/// The policies in force, once they are known; before that nobody can say what a pod is to take. A change is a new value.
pub type Published = watch::Receiver<Option<Arc<Policies>>>;

// === impl PeerAuthentication ===

impl PeerAuthentication {
    /// Whether a pod of these labels is selected; the namespace is the caller's business.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// The resource as a sidecar is sent it.
impl From<&PeerAuthentication> for minimesh::PeerAuthentication {
    fn from(object: &PeerAuthentication) -> Self {
        Self::from(&object.policy)
    }
}

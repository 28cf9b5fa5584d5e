//! Keeps the policies in step with the API server.
//!
//! Run by `app` with the other parts of the cluster. It watches the objects and publishes, each in one piece, what discovery and the status need.
//! Nothing is published before the first list, because a mesh whose policies are not known must not be taken for one that has none; only where the
//! API server does not know the kind of object at all, there is none.

use std::sync::Arc;

use kube::Api;
use tokio::sync::watch;

use super::{
    Published, RootNamespace,
    ledger::{Ledger, Objects},
    metrics::Policies as Metrics,
    object::Object,
};
use crate::cluster::{
    Context,
    watch::{Selection, Watch},
};

/// Follows the objects.
pub struct Follower {
    context: Context,
    root: RootNamespace,
    ledger: Ledger,
    policies: watch::Sender<Option<Arc<super::Policies>>>,
    objects: watch::Sender<Arc<Objects>>,
    metrics: Metrics,
}

/// A follower, the policies in force, and all objects with their verdicts, for the control plane of `revision` in a mesh whose own policies are in
/// `root`.
#[must_use]
pub fn channel(
    context: Context,
    root: RootNamespace,
    revision: String,
    metrics: Metrics,
) -> (Follower, Published, watch::Receiver<Arc<Objects>>) {
    let (policies, published) = watch::channel(None);
    let (objects, judged) = watch::channel(Arc::default());
    let follower = Follower {
        context,
        ledger: Ledger::new(root.name(), revision),
        root,
        policies,
        objects,
        metrics,
    };
    (follower, published, judged)
}

// === impl Follower ===

impl Follower {
    /// Goes on for ever.
    pub async fn run(mut self) {
        let mut watch = Watch::<Object>::new(
            "the PeerAuthentications",
            Api::all(self.context.client.clone()),
            &Selection::all(),
            self.context.readiness.detail("peer authentications"),
            self.context.events.clone(),
        )
        .or_none();
        let mut is_known = false;
        loop {
            tokio::select! {
                event = watch.next() => {
                    if !self.ledger.observe(event) {
                        continue;
                    }
                    is_known = true;
                }
                () = self.root.changed() => self.ledger.move_root(self.root.name()),
            }
            if is_known {
                self.publish();
            }
        }
    }

    fn publish(&self) {
        let (n_objects, n_refused) = (self.ledger.objects().len(), self.ledger.n_refused());
        self.metrics.counted(n_objects - n_refused, n_refused);
        let policies = self.ledger.policies();
        // A status that was written, or a bad object among good ones, is nothing to sidecars.
        self.policies.send_if_modified(|published| {
            if published.as_deref() == Some(&policies) {
                return false;
            }
            *published = Some(Arc::new(policies));
            true
        });
        // After the policies, which the status of one object depends on as well.
        self.objects
            .send_replace(Arc::new(self.ledger.objects().clone()));
    }
}

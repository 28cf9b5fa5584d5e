//! The root namespace: the one whose policies are for the whole mesh.
//!
//! The mesh configuration names it, else it is the control plane's own. `app` runs the [`Keeper`], which looks at the live configuration; the follower and
//! the webhook hold a [`RootNamespace`], so they judge alike.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};
use tracing::info;

use crate::files::{INTERVAL, Live};

/// The root namespace as it is now; clones share it.
#[derive(Clone, Debug)]
pub struct RootNamespace(watch::Receiver<Arc<str>>);

/// Keeps it in step with the configuration.
#[derive(Debug)]
pub struct Keeper {
    own: Arc<str>,
    current: watch::Sender<Arc<str>>,
}

/// The root namespace of a control plane in the namespace `own`, before any configuration has been read.
#[must_use]
pub fn channel(own: &str) -> (Keeper, RootNamespace) {
    let own = Arc::<str>::from(own);
    let (current, root) = watch::channel(Arc::clone(&own));
    (Keeper { own, current }, RootNamespace(root))
}

// === impl RootNamespace ===

impl RootNamespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until it is another than at the last call; for ever where nobody keeps it any more. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

// === impl Keeper ===

impl Keeper {
    /// Takes over what `configuration` says.
    pub fn look(&self, configuration: &template::Config) {
        let named = configuration.root_namespace().unwrap_or(&self.own);
        let differs = self.current.send_if_modified(|current| {
            let differs = **current != *named;
            if differs {
                *current = named.into();
            }
            differs
        });
        if differs {
            info!(
                namespace = named,
                "policies of the whole mesh are in this namespace"
            );
        }
    }

    /// Looks at the configuration for ever.
    pub async fn run(self, configuration: Live<template::Config>) {
        let mut look = time::interval(INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.look(&configuration.load());
        }
    }
}

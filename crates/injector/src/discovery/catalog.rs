//! What all streams of the program read: objects, resources, and the number of the last change.
//!
//! The follower of the cluster writes, streams read, both on the thread of gRPC. The lock is held for a look-up or for the making of one burst of
//! changes, never across an await. Streams hear of a change by a number that all of them watch.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use tokio::sync::watch;

use super::{
    metrics::Counts,
    model::{Cluster, Model, Update},
    store::{Resource, Store},
};
use crate::policy::Policies;

/// The catalogue; clones share it.
#[derive(Clone)]
pub struct Catalog(Arc<Shared>);

struct Shared {
    state: RwLock<State>,
    changes: watch::Sender<u64>,
}

/// What is known at one moment.
pub struct State {
    /// The objects.
    pub model: Model,
    /// The resources.
    pub store: Store,
    /// The mesh's settings, as a resource.
    pub settings: Vec<Resource>,
    /// When the last change began to be told.
    pub changed_at: Instant,
    /// Whether everything has been listed once; nothing is told before that.
    pub is_complete: bool,
}

// === impl Catalog ===

impl Catalog {
    /// A catalogue of a cluster of which nothing is known yet.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        let state = State {
            model: Model::new(cluster),
            store: Store::default(),
            settings: Vec::new(),
            changed_at: Instant::now(),
            is_complete: false,
        };
        Self(Arc::new(Shared {
            state: RwLock::new(state),
            changes: watch::Sender::new(0),
        }))
    }

    /// What is known now. Not to be held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        let state = self.0.state.read();
        // Nothing that a writer does leaves half a state behind that a reader could mistake for a whole one.
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the model of objects; what becomes of them is told by [`Catalog::settle`].
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Model) -> T) -> T {
        edit(&mut self.write().model)
    }

    /// Makes resources of everything that has changed, and wakes the streams if there is anything to tell. Gives the number of changed resources.
    pub fn settle(&self) -> usize {
        let mut state = self.write();
        let updates = state.model.settle();
        let store = &mut state.store;
        let n_changes = updates
            .into_iter()
            .filter_map(|update| match update {
                Update::Put(resource) => store.put(resource).then_some(()),
                Update::Remove(name) => store.remove(&name).then_some(()),
            })
            .count();
        self.told(state, n_changes > 0);
        n_changes
    }

    /// Takes over what is the same for all resources, and the mesh's settings.
    pub fn configure(&self, cluster: &Cluster, settings: Vec<Resource>) {
        let mut state = self.write();
        let mut differs = state.settings != settings;
        state.settings = settings;
        if state.model.set_cluster(cluster) {
            differs = true;
            let everything = state.model.everything();
            let names: Vec<_> = state
                .store
                .iter()
                .map(|old| Arc::clone(&old.name))
                .collect();
            let kept: HashSet<_> = everything.iter().map(|new| Arc::clone(&new.name)).collect();
            for name in names.iter().filter(|name| !kept.contains(*name)) {
                state.store.remove(name);
            }
            for resource in everything {
                state.store.put(resource);
            }
        }
        self.told(state, differs);
    }

    /// Takes over the policies in force.
    pub fn set_policies(&self, policies: Arc<Policies>) {
        let mut state = self.write();
        state.model.set_policies(policies);
        // Which policies a stream is sent is no resource of the store.
        self.told(state, true);
    }

    /// Everything has been listed: from now on it is told.
    pub fn complete(&self) {
        let mut state = self.write();
        state.is_complete = true;
        self.told(state, true);
    }

    /// The number of the last change, to wait for the next.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn told(&self, mut state: RwLockWriteGuard<'_, State>, differs: bool) {
        if differs {
            state.changed_at = Instant::now();
            drop(state);
            self.0.changes.send_modify(|number| *number += 1);
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        let state = self.0.state.write();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            services: self.model.services().len(),
            pods: self.model.pods().len(),
            resources: self.store.len(),
        }
    }
}

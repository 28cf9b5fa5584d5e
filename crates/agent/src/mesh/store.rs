//! Where the current mesh is.
//!
//! The housekeeping thread puts a new one there as a whole, workers take the current one for each request or connection. Reading takes
//! no lock and waits for nobody; whoever holds an older mesh keeps it until it lets go.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Mesh;

/// The current mesh; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MeshStore(Arc<ArcSwap<Mesh>>);

// === impl MeshStore ===

impl MeshStore {
    /// A store that begins with `mesh`.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(mesh)))
    }

    /// The mesh at this moment, to keep: for as long as a connection lives, for example.
    #[must_use]
    pub fn current(&self) -> Arc<Mesh> {
        self.0.load_full()
    }

    /// The mesh at this moment, to look at; cheaper than [`Self::current`], and to be let go soon.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Mesh>> {
        self.0.load()
    }

    /// Puts `mesh` in place of the current one.
    pub fn replace(&self, mesh: Mesh) {
        self.0.store(Arc::new(mesh));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_an_older_mesh_keeps_it() {
        let store = MeshStore::default();
        let older = store.current();
        store.clone().replace(Mesh::default());
        assert!(!Arc::ptr_eq(&older, &store.current()));
        assert!(Arc::ptr_eq(&store.load(), &store.current()));
    }
}

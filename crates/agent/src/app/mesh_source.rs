//! Where the picture of the mesh comes from.
//!
//! `app` opens it before anything else, so that a bad file ends the start, hands its store to the data plane, and keeps it up to date
//! on the housekeeping thread. Without a source the mesh knows nothing but who this pod is.

use prometheus_client::registry::Registry;
use runtime::{readiness::Readiness, task::Group};

use crate::{
    config::Config,
    mesh::{
        Mesh, MeshStore, Model,
        local::{LoadError, LocalMesh, Voice},
    },
};

/// The source of the mesh.
pub(super) struct MeshSource {
    local: Option<LocalMesh>,
    store: MeshStore,
}

// === impl MeshSource ===

impl MeshSource {
    pub(super) fn open(config: &Config) -> Result<Self, LoadError> {
        let own = &config.own;
        let local = match &config.local_mesh {
            Some(path) => Some(LocalMesh::start(path.clone(), own.clone())?),
            None => None,
        };
        let store = match &local {
            Some(local) => local.store().clone(),
            // An empty model has nothing that could be wrong.
            None => {
                let mesh = Mesh::build(&Model::default(), own, None);
                MeshStore::new(mesh.unwrap_or_default())
            }
        };
        Ok(Self { local, store })
    }

    pub(super) fn store(&self) -> MeshStore {
        self.store.clone()
    }

    /// Follows the source's changes until `group` is cancelled.
    pub(super) fn follow(self, group: &Group, registry: &mut Registry, readiness: &Readiness) {
        if let Some(local) = self.local {
            let voice = Voice::register(registry, readiness);
            let token = group.token().clone();
            group.spawn_essential("local mesh", async move {
                let ended = token.run_until_cancelled(local.run(voice)).await;
                ended.unwrap_or(Ok(()))
            });
        }
    }
}

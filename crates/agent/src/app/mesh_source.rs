//! Where the picture of the mesh comes from.
//!
//! `app` opens it before anything else, so that a bad file ends the start, hands its store to the data plane, and keeps it up to date
//! on the housekeeping thread. Without a source the mesh knows nothing but who this pod is.

use runtime::task::Group;
use tracing::warn;

use crate::{
    config::{self, Config},
    data_plane::AccessLogControl,
    files::Voice,
    mesh::{
        AccessLog, Mesh, MeshStore, Model, Settings,
        local::{LoadError, LocalMesh},
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

    /// The access log that is to be written at the start: the mesh's word, else the flags'.
    pub(super) fn access_log(&self, config: &Config) -> Option<config::AccessLog> {
        effective(self.store.load().settings(), config.access_log.as_ref())
    }

    pub(super) fn store(&self) -> MeshStore {
        self.store.clone()
    }

    /// Follows the source's changes until `group` is cancelled, and switches the access log as they say.
    pub(super) fn follow(
        self,
        group: &Group,
        voice: Voice,
        (log, flags): (AccessLogControl, Option<config::AccessLog>),
    ) {
        let Some(local) = self.local else {
            return;
        };
        let token = group.token().clone();
        let mut current = effective(self.store.load().settings(), flags.as_ref());
        let changed = move |mesh: &Mesh| {
            let next = effective(mesh.settings(), flags.as_ref());
            // Only a change: somebody may have switched it by hand meanwhile.
            if next != current {
                let file =
                    |log: &Option<config::AccessLog>| log.as_ref().map(|log| log.file.clone());
                if next.is_some() && file(&next) != file(&current) {
                    warn!(
                        "lines of the access log go where they went before, another file takes a restart"
                    );
                }
                log.set(next.as_ref().map(|log| super::format(log.encoding)));
                current = next;
            }
        };
        group.spawn_essential("local mesh", async move {
            let ended = token.run_until_cancelled(local.run(voice, changed)).await;
            ended.unwrap_or(Ok(()))
        });
    }
}

fn effective(settings: &Settings, flags: Option<&config::AccessLog>) -> Option<config::AccessLog> {
    match &settings.access_log {
        None => flags.cloned(),
        Some(AccessLog::Off) => None,
        Some(AccessLog::File { path, encoding }) => Some(config::AccessLog {
            file: path.clone(),
            encoding: *encoding,
        }),
    }
}

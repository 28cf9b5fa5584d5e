//! Where the picture of the mesh comes from.
//!
//! `app` opens it before anything else, so that a bad file ends the start, hands its store to the data plane, and keeps it up to date
//! on the housekeeping thread. A file (`--local-mesh`) goes before
//! the control plane; without either the mesh knows nothing but who this pod is.

use std::convert::Infallible;

use runtime::{readiness::Readiness, task::Group};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    config::{self, Config},
    data_plane::AccessLogControl,
    discovery::{
        self, Demand, Discovery, Picture, Source,
        demand::{Questions, demand},
        node::node,
    },
    files::Voice,
    mesh::{
        AccessLog, Mesh, MeshStore, Model, Settings,
        local::{LoadError, LocalMesh},
    },
};

/// The source of the mesh.
pub(super) struct MeshSource {
    origin: Origin,
    store: MeshStore,
    status: discovery::Status,
}

/// Who describes the mesh.
enum Origin {
    Nobody,
    File(Box<LocalMesh>),
    ControlPlane(Box<ControlPlane>),
}

struct ControlPlane {
    picture: Picture,
    questions: Questions,
    demand: Demand,
    source: Source,
}

/// File of the cache of discovery.
const CACHE: &str = "discovery-cache";
/// Largest response where a sidecar asks for what it needs: Istio's limit.
const LARGEST_RESPONSE: usize = 4 << 20;
/// The same where it asks for everything, which a control plane may send as one.
const LARGEST_WILDCARD_RESPONSE: usize = 64 << 20;

// === impl MeshSource ===

impl MeshSource {
    pub(super) fn open(config: &Config) -> Result<Self, LoadError> {
        let own = &config.own;
        let status = discovery::Status::default();
        if let Some(path) = &config.local_mesh {
            let local = LocalMesh::start(path.clone(), own.clone())?;
            return Ok(Self {
                store: local.store().clone(),
                origin: Origin::File(Box::new(local)),
                status,
            });
        }
        // An empty model has nothing that could be wrong.
        let mesh = Mesh::build(&Model::default(), own, None);
        let store = MeshStore::new(mesh.unwrap_or_default());
        let origin = match ControlPlane::open(config, &store, &status) {
            Some(control_plane) => Origin::ControlPlane(Box::new(control_plane)),
            None => Origin::Nobody,
        };
        Ok(Self {
            origin,
            store,
            status,
        })
    }

    /// The access log that is to be written at the start: the mesh's word, else the flags'.
    pub(super) fn access_log(&self, config: &Config) -> Option<config::AccessLog> {
        effective(self.store.load().settings(), config.access_log.as_ref())
    }

    pub(super) fn store(&self) -> MeshStore {
        self.store.clone()
    }

    /// Where the data plane asks about addresses, if anybody answers.
    pub(super) fn demand(&self) -> Option<Demand> {
        match &self.origin {
            Origin::ControlPlane(control_plane) => Some(control_plane.demand.clone()),
            Origin::Nobody | Origin::File(_) => None,
        }
    }

    /// Where discovery stands.
    pub(super) fn status(&self) -> discovery::Status {
        self.status.clone()
    }

    /// Follows the source's changes until `group` is cancelled, and switches the access log as they say.
    pub(super) fn follow(
        self,
        (group, readiness): (&Group, &Readiness),
        voice: Voice,
        (log, flags): (AccessLogControl, Option<config::AccessLog>),
    ) {
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
        match self.origin {
            Origin::Nobody => {}
            Origin::File(local) => group.spawn_essential("local mesh", async move {
                let ended = token.run_until_cancelled(local.run(voice, changed)).await;
                ended.unwrap_or(Ok(()))
            }),
            Origin::ControlPlane(control_plane) => {
                let ControlPlane {
                    picture,
                    questions,
                    source,
                    demand: _,
                } = *control_plane;
                let parts = (picture, questions);
                let discovery =
                    Discovery::new(parts, source, self.status, readiness, group, changed);
                group.spawn_essential("discovery", async move {
                    token.run_until_cancelled(discovery.run()).await;
                    Ok::<(), Infallible>(())
                });
            }
        }
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts with what the cache says, if there is a control plane at all.
    fn open(config: &Config, store: &MeshStore, status: &discovery::Status) -> Option<Self> {
        let endpoint = config.control_plane.discovery.clone()?;
        let config::discovery::Discovery {
            wildcard,
            wait,
            allows_unanswered,
            ref network,
            ref labels,
        } = config.discovery;
        let (mut demand, questions, publisher) = demand(wait);
        if allows_unanswered {
            demand = demand.allowing_unanswered();
        }
        let settings = discovery::Settings {
            wildcard,
            wait,
            cache: Some(config.control_plane.state_dir.join(CACHE)),
            network: network.clone(),
            own: config.own.clone(),
            node: node(&config.workload, &config.own, labels, network),
        };
        let now = Instant::now().into_std();
        let picture = Picture::new(settings, store.clone(), publisher, status.clone(), now);
        let source = Source {
            endpoint,
            token: Some(config.control_plane.token.clone()),
            largest_response: if wildcard {
                LARGEST_WILDCARD_RESPONSE
            } else {
                LARGEST_RESPONSE
            },
        };
        Some(Self {
            picture,
            questions,
            demand,
            source,
        })
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

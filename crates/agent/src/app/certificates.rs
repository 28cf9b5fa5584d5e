//! Where the credentials of mutual TLS come from.
//!
//! `app` opens them before anything else, so that bad files end the start, hands their store to the data plane, and keeps it up to date on
//! the housekeeping thread. Which source it is, is decided once: files go before the node's SPIFFE implementation, and that before the
//! certificate authority. Whom they trust follows the mesh.

use std::{
    convert::Infallible,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use contract::paths;
use prometheus_client::registry::Registry;
use runtime::{readiness::Readiness, task::Group};
use tracing::{info, warn};

use crate::{
    ca,
    config::Config,
    files::Voice,
    mesh::MeshStore,
    spiffe,
    tls::{
        Store,
        credentials::Settings,
        holder::{Cache, Holder, Output},
        reload::{Ask, LoadError, Reloader},
        revoked::RevokedFile,
    },
};

/// The credentials and what keeps them up to date.
pub(super) enum Certificates {
    Files(Box<Reloader>),
    Socket(Box<spiffe::Source>),
    Authority(Box<ca::Source>),
}

const FILES: [&str; 3] = [
    paths::CERT_CHAIN_FILE,
    paths::KEY_FILE,
    paths::ROOT_CERT_FILE,
];

// === impl Certificates ===

impl Certificates {
    pub(super) fn open(
        config: &Config,
        mesh: MeshStore,
        (group, readiness): (&Group, &Readiness),
    ) -> Result<Self, LoadError> {
        let ask = settings(config, mesh);
        if let Some((folder, is_required)) = folder(config) {
            info!(folder = %folder.display(), "certificates come from files");
            return Self::files(folder, is_required, ask);
        }
        if let Some(socket) = socket(config) {
            info!(socket = %socket.display(), "certificates come from the SPIFFE Workload API");
            let holder = Holder::new(ask, None);
            let source = spiffe::Source::new(socket.to_owned(), holder, group.clone(), readiness);
            return Ok(Self::Socket(Box::new(source)));
        }
        match client(config, group) {
            Some(client) => {
                info!(authority = %client.endpoint, identity = %client.id, "certificates come from the authority");
                let source = authority(config, client, ask, readiness);
                Ok(Self::Authority(Box::new(source)))
            }
            None => Self::files(&config.tls.folder, false, ask),
        }
    }

    fn files(folder: &Path, is_required: bool, ask: Ask) -> Result<Self, LoadError> {
        let reloader = Reloader::start(folder.to_owned(), is_required, ask)?;
        Ok(Self::Files(Box::new(reloader)))
    }

    pub(super) fn store(&self) -> Store {
        match self {
            Self::Files(files) => files.store().clone(),
            Self::Socket(source) => source.store().clone(),
            Self::Authority(source) => source.store().clone(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.store()));
        if let Self::Authority(source) = self {
            registry.register_collector(Box::new(source.metrics().clone()));
        }
    }

    /// Keeps them up to date until `group` is cancelled.
    pub(super) fn follow(self, group: &Group, voice: Voice) {
        let token = group.token().clone();
        match self {
            Self::Files(files) => group.spawn_essential("certificates", async move {
                let ended = token.run_until_cancelled(files.run(voice)).await;
                ended.unwrap_or(Ok(()))
            }),
            Self::Socket(source) => group.spawn_essential("certificates", async move {
                token.run_until_cancelled(source.run()).await;
                Ok::<(), Infallible>(())
            }),
            Self::Authority(source) => group.spawn_essential("certificates", async move {
                token.run_until_cancelled(source.run()).await;
                Ok::<(), Infallible>(())
            }),
        }
    }
}

/// The folder that certificates are in, and whether they have to be there; nothing if they are to come from elsewhere.
fn folder(config: &Config) -> Option<(&Path, bool)> {
    let (tls, certificates) = (&config.tls, &config.certificates);
    let folder = tls.folder.as_path();
    // What we write ourselves would never be renewed if it were read, too.
    let is_output = certificates.output.as_deref() == Some(folder);
    let provided = Path::new(paths::WORKLOAD_CREDENTIALS_DIR);
    match () {
        () if tls.is_required => Some((folder, true)),
        () if n_files(provided) == FILES.len() => Some((provided, true)),
        () if certificates.files_only => Some((folder, true)),
        () if n_files(folder) > 0 && !is_output => Some((folder, true)),
        () => None,
    }
}

/// The socket of the node's SPIFFE implementation, if it is there or has to be.
fn socket(config: &Config) -> Option<&Path> {
    let certificates = &config.certificates;
    let socket = certificates.socket.as_path();
    let is_there = || {
        let metadata = socket.metadata();
        metadata.is_ok_and(|metadata| metadata.file_type().is_socket())
    };
    (certificates.socket_is_required || is_there()).then_some(socket)
}

fn n_files(folder: &Path) -> usize {
    let there = |name: &&&str| folder.join(name).exists();
    FILES.iter().filter(there).count()
}

/// Nothing if there is no authority, or nobody to certify; `config` refuses the latter.
fn client(config: &Config, group: &Group) -> Option<ca::Client> {
    let certificates = &config.certificates;
    Some(ca::Client {
        endpoint: config.control_plane.authority.clone()?,
        token: config.control_plane.token.clone(),
        id: certificates.id.clone()?,
        key: certificates.key,
        lifetime: certificates.lifetime,
        limit: ca::LIMIT,
        group: group.clone(),
    })
}

fn authority(config: &Config, client: ca::Client, ask: Ask, readiness: &Readiness) -> ca::Source {
    let (control_plane, certificates) = (&config.control_plane, &config.certificates);
    // An authority that is verified by other roots may be one that the mesh's own file knows nothing of.
    let is_optional = client.endpoint.roots() != control_plane.roots;
    let holder =
        Holder::new(ask, Some(client.id.clone())).within(control_plane.roots.clone(), is_optional);
    let cache = Cache::in_memory(&control_plane.state_dir);
    if cache.is_none() {
        warn!(
            folder = %control_plane.state_dir.display(),
            "no folder in memory (--state-dir), so a restarted sidecar starts only when the authority answers"
        );
    }
    let keep = ca::Keep {
        cache,
        output: certificates.output.clone().map(Output::new),
    };
    ca::Source::new(client, holder, certificates.renewal, keep, readiness)
}

/// What is asked at each look: the settings with the mesh's trust domains and revoked certificates as they are then.
fn settings(config: &Config, mesh: MeshStore) -> Ask {
    let given = config.tls.settings.clone();
    let revoked = Mutex::new(RevokedFile::start(PathBuf::from(paths::CRL)));
    Box::new(move || {
        let mut settings = with_trust_domains(&given, &mesh);
        // Nothing that panics is done under the lock.
        let mut revoked = revoked.lock().unwrap_or_else(PoisonError::into_inner);
        settings.revoked = revoked.look();
        settings
    })
}

/// The settings with the trust domain of the mesh and its aliases. A name that no SPIFFE ID can have is nobody's.
fn with_trust_domains(given: &Settings, mesh: &MeshStore) -> Settings {
    let mesh = mesh.load();
    let mesh = mesh.settings();
    let names = std::iter::once(&mesh.trust_domain).chain(mesh.trust_domain_aliases.iter());
    let mut settings = given.clone();
    settings
        .trust_domains
        .extend(names.filter_map(|name| name.parse().ok()));
    settings
}

//! Where the credentials of mutual TLS come from.
//!
//! `app` opens them before anything else, so that bad files end the start, hands their store to the data plane, and keeps it up to date on
//! the housekeeping thread. Whom they trust follows the mesh.

use runtime::task::Group;

use crate::{
    config::Config,
    files::Voice,
    mesh::MeshStore,
    tls::{
        Store,
        credentials::Settings,
        reload::{LoadError, Reloader},
    },
};

/// The credentials and what keeps them up to date.
pub(super) struct Certificates(Reloader);

// === impl Certificates ===

impl Certificates {
    pub(super) fn open(config: &Config, mesh: MeshStore) -> Result<Self, LoadError> {
        let given = config.tls.settings.clone();
        let settings = move || with_trust_domains(&given, &mesh);
        let folder = config.tls.folder.clone();
        Reloader::start(folder, config.tls.is_required, Box::new(settings)).map(Self)
    }

    pub(super) fn store(&self) -> Store {
        self.0.store().clone()
    }

    /// Follows the files' changes until `group` is cancelled.
    pub(super) fn follow(self, group: &Group, voice: Voice) {
        let token = group.token().clone();
        group.spawn_essential("certificates", async move {
            let ended = token.run_until_cancelled(self.0.run(voice)).await;
            ended.unwrap_or(Ok(()))
        });
    }
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

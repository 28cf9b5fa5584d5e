//! Credentials that somebody hands out while the proxy runs, checked and kept in use.
//!
//! [`crate::ca`] and [`crate::spiffe`] bring the [`Material`]; a [`Holder`] judges it as peers will, puts it into the [`Store`], and makes the
//! credentials anew when the mesh's roots or trust domains change. What is refused leaves the last good credentials in place: a `Holder` never
//! takes credentials away.

mod keep;
mod report;

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use contract::paths;
use identity::{BundleError, SpiffeId, TrustBundle, validity::Stamp, verify::PeerError};
use runtime::{
    error::chain,
    files::{Change, Contents, ReadError, Source, Watched},
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    Credentials, CredentialsError, Refusal, Store,
    credentials::{Pem, Settings},
    reload::Ask,
};

pub use keep::{Cache, CacheError, Output, WriteError};
pub use report::Report;

/// A certificate with its key, and the roots that whoever gave it trusts.
#[derive(Clone)]
pub struct Material {
    /// The certificate, then intermediate ones, PEM.
    pub chain: String,
    /// Its private key, PEM.
    pub key: Zeroizing<String>,
    /// Roots, PEM.
    pub roots: String,
}

/// Keeps a [`Store`] in step with what was handed out.
pub struct Holder {
    store: Store,
    settings: Ask,
    made_with: Settings,
    bundle: Option<Bundle>,
    expected: Option<SpiffeId>,
    material: Option<Material>,
}

/// The mesh's own roots, from a file.
struct Bundle {
    files: Watched,
    /// The last good ones, or why there never were any.
    roots: Result<TrustBundle, Arc<RootsError>>,
    optional: bool,
}

/// The mesh's roots are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The file cannot be read.
    #[error("the mesh's roots are not known")]
    Read(#[source] ReadError),
    /// The file holds no roots.
    #[error("{} holds no roots of the mesh", file.display())]
    Bundle {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: BundleError,
    },
}

/// Why material is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// It is no good by itself.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It is for somebody else.
    #[error(
        "the certificate is for {actual}, and this pod is {expected}; do trust domain, namespace and service account agree with the authority's?"
    )]
    Stranger {
        /// Whom it is for.
        actual: SpiffeId,
        /// Who we are.
        expected: SpiffeId,
    },
    /// Peers that trust the mesh's roots would refuse it.
    #[error("the certificate does not lead to a root in {}, so peers would refuse it; does that bundle lag behind the authority?", roots.display())]
    Foreign {
        /// The file with the mesh's roots.
        roots: PathBuf,
        /// Why they would.
        source: Box<PeerError>,
    },
    /// What peers would say cannot be told.
    #[error(transparent)]
    Roots(Arc<RootsError>),
}

/// For messages about the file of the mesh's roots.
const FLAG: &str = "--root-cert-file";

// === impl Holder ===

impl Holder {
    /// Holds nothing yet. `expected` is who we have to be, if that is known.
    #[must_use]
    pub fn new(settings: Ask, expected: Option<SpiffeId>) -> Self {
        let made_with = settings();
        let store = Store::default();
        // Until there are credentials, what should be secured has to wait.
        store.await_credentials();
        Self {
            store,
            settings,
            made_with,
            bundle: None,
            expected,
            material: None,
        }
    }

    /// The same, where certificates have to lead to the mesh's own roots in `file` as well, and peers by those are believed. An `optional`
    /// file may be absent.
    #[must_use]
    pub fn within(mut self, file: PathBuf, optional: bool) -> Self {
        let source = Source {
            flag: FLAG,
            path: file,
        };
        let (files, contents) = Watched::start(vec![source]);
        let roots = read(&files, contents).map_err(Arc::new);
        self.bundle = Some(Bundle {
            files,
            roots,
            optional,
        });
        self
    }

    /// Where the credentials are, now and after each change.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is in use, with all roots that are trusted.
    #[must_use]
    pub fn material(&self) -> Option<Material> {
        let held = self.material.as_ref()?;
        let current = self.store.current()?;
        Some(Material {
            roots: current.roots().pem().to_owned(),
            ..held.clone()
        })
    }

    /// Puts `material` to use; gives the end of its time.
    ///
    /// # Errors
    /// Says why it is not used; what was in use before still is.
    pub fn take(&mut self, material: Material, now: SystemTime) -> Result<SystemTime, HoldError> {
        let credentials = self.make(&material, now)?;
        let end = credentials.validity().not_after;
        self.store.replace(credentials);
        self.material = Some(material);
        Ok(end.into())
    }

    /// Notes that something better was refused.
    pub fn refuse(&self, reason: String, at: SystemTime) {
        self.store.refuse(Refusal { at, reason });
    }

    /// Looks at the mesh's roots and trust domains once, and makes the credentials anew if they have changed. Blocks for as long as that takes.
    ///
    /// # Errors
    /// What is wrong with the roots, or with our certificate by them: it has to be replaced. It stays in use until then.
    pub fn look(&mut self, now: SystemTime) -> Result<Change, HoldError> {
        let settings = (self.settings)();
        let mut is_changed = settings != self.made_with;
        self.made_with = settings;
        if let Some(bundle) = &mut self.bundle
            && let Some(contents) = bundle.files.look()
        {
            match read(&bundle.files, contents) {
                Ok(roots) => {
                    is_changed |= bundle.roots.as_ref().ok() != Some(&roots);
                    bundle.roots = Ok(roots);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    if bundle.roots.is_err() {
                        bundle.roots = Err(Arc::clone(&error));
                    }
                    return Err(HoldError::Roots(error));
                }
            }
        }
        let Some(material) = self.material.as_ref().filter(|_| is_changed) else {
            return Ok(if is_changed {
                Change::Accepted
            } else {
                Change::None
            });
        };
        let credentials = self.make(material, now)?;
        self.store.replace(credentials);
        Ok(Change::Accepted)
    }

    fn make(&self, material: &Material, now: SystemTime) -> Result<Credentials, HoldError> {
        let now = OffsetDateTime::from(now);
        let mesh = self.mesh_roots()?;
        let mut roots = material.roots.clone();
        if let Some(mesh) = mesh {
            roots.push('\n');
            roots.push_str(mesh.pem());
        }
        let pem = Pem {
            folder: "".as_ref(),
            chain: material.chain.as_bytes(),
            key: material.key.as_bytes(),
            roots: roots.as_bytes(),
        };
        let generation = self.store.next_generation();
        let credentials = Credentials::new(pem, &self.made_with, generation, now)?;
        if let Some(expected) = &self.expected
            && credentials.id() != expected
        {
            return Err(HoldError::Stranger {
                actual: credentials.id().clone(),
                expected: expected.clone(),
            });
        }
        if let Some(mesh) = mesh {
            credentials
                .lead_to(mesh, now)
                .map_err(|source| HoldError::Foreign {
                    roots: self.roots_file(),
                    source: Box::new(source),
                })?;
        }
        Ok(credentials)
    }

    fn mesh_roots(&self) -> Result<Option<&TrustBundle>, HoldError> {
        match &self.bundle {
            None => Ok(None),
            Some(bundle) => match &bundle.roots {
                Ok(roots) => Ok(Some(roots)),
                Err(_) if bundle.optional => Ok(None),
                Err(error) => Err(HoldError::Roots(Arc::clone(error))),
            },
        }
    }

    fn roots_file(&self) -> PathBuf {
        let sources = self.bundle.as_ref().map(|bundle| bundle.files.sources());
        let source = sources.and_then(<[Source]>::first);
        source.map_or_else(
            || PathBuf::from(paths::ROOT_CERT),
            |source| source.path.clone(),
        )
    }

    /// Who we are and until when, for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(current) = self.store.current() else {
            return "no certificate".to_owned();
        };
        let until = Stamp(current.validity().not_after);
        format!("{}, valid until {until}", current.id())
    }

    /// What the last look or attempt has to say, for whoever asks later.
    pub fn note(&self, error: &(dyn std::error::Error + 'static), now: SystemTime) -> String {
        let reason = chain(error).to_string();
        self.refuse(reason.clone(), now);
        reason
    }
}

fn read(files: &Watched, contents: Contents) -> Result<TrustBundle, RootsError> {
    let contents = contents.map_err(RootsError::Read)?;
    let pem = contents.first().map(Vec::as_slice).unwrap_or_default();
    TrustBundle::from_pem(pem).map_err(|source| RootsError::Bundle {
        file: files
            .sources()
            .first()
            .map(|source| source.path.clone())
            .unwrap_or_default(),
        source,
    })
}

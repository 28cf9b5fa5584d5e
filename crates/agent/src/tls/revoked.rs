//! Certificates of the mesh that do not count any more.
//!
//! The injector publishes lists beside the roots, and the kubelet brings them. They are part of the [`Settings`](super::credentials::Settings),
//! so whoever makes credentials asks here each second and makes them anew when the lists have changed; handshakes from then on refuse who is on one.

use std::{
    fmt::{self, Formatter},
    path::PathBuf,
    sync::Arc,
};

use identity::Revocations;
use runtime::{
    error::chain,
    files::{Contents, ReadError, Source, Watched},
};
use tracing::{error, info};

/// Lists of revoked certificates; equal if their texts are.
#[derive(Clone, Default)]
pub struct Revoked {
    pem: Arc<[u8]>,
    lists: Revocations,
}

/// A file with lists, which may be absent.
#[derive(Debug)]
pub struct RevokedFile {
    files: Watched,
    current: Revoked,
}

/// For messages about the file.
const FLAG: &str = "revoked certificates";

// === impl Revoked ===

impl Revoked {
    pub(super) fn lists(&self) -> &Revocations {
        &self.lists
    }
}

impl PartialEq for Revoked {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for Revoked {}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked")
            .field("n_lists", &self.lists.n_lists())
            .finish_non_exhaustive()
    }
}

// === impl RevokedFile ===

impl RevokedFile {
    /// Reads the file for the first time.
    #[must_use]
    pub fn start(path: PathBuf) -> Self {
        let (files, contents) = Watched::start(vec![Source { flag: FLAG, path }]);
        let mut this = Self {
            files,
            current: Revoked::default(),
        };
        this.take(contents);
        this
    }

    /// The lists at this moment. Broken ones leave the last good ones in force, loudly; a file that is gone or empty, as Istio's is by default, revokes nothing. Blocks for as long as reading
    /// takes.
    pub fn look(&mut self) -> Revoked {
        if let Some(contents) = self.files.look() {
            self.take(contents);
        }
        self.current.clone()
    }

    fn take(&mut self, contents: Contents) {
        let pem = match contents {
            Ok(files) => files.into_iter().next().unwrap_or_default(),
            Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                self.current = Revoked::default();
                return;
            }
            Err(error) => {
                error!(error = %chain(&error), "the lists of revoked certificates cannot be read, the last ones stay in force");
                return;
            }
        };
        if pem.trim_ascii().is_empty() {
            self.current = Revoked::default();
            return;
        }
        match Revocations::from_pem(&pem) {
            Ok(lists) => {
                info!(lists = lists.n_lists(), "revoked certificates are refused");
                self.current = Revoked {
                    pem: pem.into(),
                    lists,
                };
            }
            Err(error) => {
                error!(error = %chain(&error), "the lists of revoked certificates are refused, the last good ones stay in force");
            }
        }
    }
}

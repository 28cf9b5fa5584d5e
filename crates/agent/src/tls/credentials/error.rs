//! Why files are no credentials, each time with the file at fault.

use std::path::PathBuf;

use identity::{BundleError, PairError, Untimely, spiffe::IdError, verify::PeerError};

/// Why files are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The chain or the key cannot be read.
    #[error("{} cannot be used", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: PairError,
    },
    /// Key and certificate are of different pairs.
    #[error(
        "the key {} does not belong to the first certificate of {}, write both files anew",
        key.display(),
        chain.display()
    )]
    Mismatch {
        /// The file of the chain.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The bundle cannot be read.
    #[error("{} holds no roots to trust", file.display())]
    Roots {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: BundleError,
    },
    /// The certificate is no workload's.
    #[error("{} is not a workload's", file.display())]
    Id {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: IdError,
    },
    /// The certificate's time is over or has not come.
    #[error("{} does not count now", file.display())]
    Untimely {
        /// The file.
        file: PathBuf,
        /// Which of the two.
        source: Untimely,
    },
    /// Peers with the same bundle would refuse it.
    #[error(
        "the chain {} does not lead to a root of {}, or may not be used on both ends of a connection",
        chain.display(),
        roots.display()
    )]
    Untrusted {
        /// The file of the chain.
        chain: PathBuf,
        /// The file of the bundle.
        roots: PathBuf,
        /// Why they would refuse it.
        source: Box<PeerError>,
    },
    /// The settings leave nothing to speak.
    #[error("TLS cannot be set up with these settings")]
    Settings(#[source] rustls::Error),
}

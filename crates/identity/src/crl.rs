//! Certificates that do not count any more before their time.
//!
//! A [`Revocations`] is read from the user's `ca-crl.pem`, which the injector publishes beside the roots once [`check`] has found it sound, and goes into
//! [`verify::peer_unless_revoked`](crate::verify::peer_unless_revoked). Each list speaks for the authority that signed it, which is verified with the chain; a
//! certificate whose authority has no list here counts.

mod check;

use std::sync::Arc;

use rustls::pki_types::{
    CertificateRevocationListDer,
    pem::{self, PemObject},
};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};

pub use check::{Checked, UnfitError, check};

/// The most bytes of lists, in PEM: some ten thousand revoked certificates, and what a ConfigMap holds.
pub const MAX_CRL_BYTES: usize = 1 << 20;
/// The most lists: one for each authority.
const MAX_LISTS: usize = 64;

/// Lists of revoked certificates; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<[CertRevocationList<'static>]>);

/// Why a text holds no lists.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// More than anybody could mean.
    #[error("larger than {} KiB", MAX_CRL_BYTES >> 10)]
    TooLarge,
    /// A PEM section that is broken.
    #[error("cannot be read as PEM")]
    Pem(#[source] pem::Error),
    /// There is no list, or far too many.
    #[error("holds {n_lists} PEM sections X509 CRL where 1 to {MAX_LISTS} are expected")]
    Number {
        /// How many there are.
        n_lists: usize,
    },
    /// One list is none.
    #[error("list {number} is no certificate revocation list of version 2 (RFC 5280, section 5)")]
    List {
        /// Which, from 1.
        number: usize,
        /// Why not.
        source: webpki::Error,
    },
}

// === impl Revocations ===

impl Revocations {
    /// Reads one or more PEM sections `X509 CRL`. Who signed them shows when a chain is verified, and that their time is over changes nothing:
    /// what was revoked stays so.
    ///
    /// # Errors
    /// When there is none, or one of them is broken.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CrlError> {
        if pem.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLarge);
        }
        let read = CertificateRevocationListDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(CrlError::Pem)?;
        let n_lists = read.len();
        if !(1..=MAX_LISTS).contains(&n_lists) {
            return Err(CrlError::Number { n_lists });
        }
        let lists = read.iter().enumerate().map(|(idx, der)| {
            let list = OwnedCertRevocationList::from_der(der);
            list.map(CertRevocationList::Owned)
                .map_err(|source| CrlError::List {
                    number: idx + 1,
                    source,
                })
        });
        Ok(Self(lists.collect::<Result<_, _>>()?))
    }

    /// How many lists there are.
    #[must_use]
    pub fn n_lists(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn references(&self) -> Vec<&CertRevocationList<'static>> {
        self.0.iter().collect()
    }
}

/// How `lists` are looked at, if there are any: for every certificate of a chain.
pub(crate) fn options<'a>(
    lists: &'a [&'a CertRevocationList<'static>],
) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        builder
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build(),
    )
}

//! The roots that the mesh trusts.
//!
//! The injector publishes a [`TrustBundle`] as `caBundle` and in every namespace; [`verify`](crate::verify) builds chains to it.
//! A bundle is never empty, holds authorities only, and each of them once.

use rustls::pki_types::{CertificateDer, TrustAnchor};
use time::OffsetDateTime;

use crate::{
    authority::Authority,
    certificate::{self, CertificateError},
    validity::Validity,
};

/// The most roots of one bundle: a mesh has one, two while it moves, and a bundle is copied into every namespace.
const MAX_ROOTS: usize = 64;

/// One or more root certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    roots: Vec<Root>,
    pem: String,
}

/// Why a text is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The text holds no certificates.
    #[error(transparent)]
    Unreadable(CertificateError),
    /// One certificate is broken.
    #[error("certificate {number} cannot be read")]
    Certificate {
        /// Which, from 1.
        number: usize,
        /// Why not.
        source: CertificateError,
    },
    /// One certificate is no authority's.
    #[error("certificate {number} is no certificate of an authority, only roots can be trusted")]
    NotAuthority {
        /// Which, from 1.
        number: usize,
    },
    /// One certificate cannot be a trust anchor.
    #[error("certificate {number} cannot be a root")]
    Anchor {
        /// Which, from 1.
        number: usize,
        /// Why not.
        source: webpki::Error,
    },
    /// More than anybody could mean.
    #[error("holds {n_roots} certificates, at most {MAX_ROOTS} are accepted")]
    TooMany {
        /// How many.
        n_roots: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Root {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

// === impl TrustBundle ===

impl TrustBundle {
    /// Reads one or more certificates in PEM; what is there twice counts once, and text around them is left out.
    ///
    /// # Errors
    /// When there is none, or one of them is no certificate of an authority.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        Self::from_der(certificate::read_all(pem).map_err(BundleError::Unreadable)?)
    }

    /// This bundle with the certificate of `authority` at its head, in place of earlier ones of the same key and name.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn led_by(&self, authority: &Authority) -> Result<Self, BundleError> {
        let head = &authority.roots().roots;
        let others = self
            .roots
            .iter()
            .filter(|root| !head.iter().any(|leader| leader.is_followed_by(root)));
        let all = head.iter().chain(others);
        Self::from_der(all.map(|root| root.der.clone()).collect())
    }

    /// The roots of this bundle, and behind them those of `other` that it does not hold.
    ///
    /// # Errors
    /// When they are too many.
    pub fn and(&self, other: &Self) -> Result<Self, BundleError> {
        let all = self.roots.iter().chain(&other.roots);
        Self::from_der(all.map(|root| root.der.clone()).collect())
    }

    /// The roots of this bundle without those of `leaving`, but for those of `staying`, which are there in any case.
    ///
    /// # Errors
    /// When they are too many.
    pub fn without(&self, leaving: &Self, staying: &Self) -> Result<Self, BundleError> {
        let others = self
            .roots
            .iter()
            .filter(|root| !leaving.contains(&root.der));
        let all = staying.roots.iter().chain(others);
        Self::from_der(all.map(|root| root.der.clone()).collect())
    }

    /// Whether every root of `other` is one of this bundle.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        other.roots.iter().all(|root| self.contains(&root.der))
    }

    /// All roots in PEM, each once, without text around them.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// How many roots there are, at least one.
    #[must_use]
    pub fn n_roots(&self) -> usize {
        self.roots.len()
    }

    /// The certificates of the roots, and when they count.
    pub fn certificates(&self) -> impl Iterator<Item = (&CertificateDer<'static>, Validity)> {
        self.roots.iter().map(|root| (&root.der, root.validity))
    }

    /// Whether exactly this certificate is one of the roots.
    #[must_use]
    pub fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.roots.iter().any(|root| root.der == *certificate)
    }

    /// The roots that count at `now`; RFC 5280 leaves a root's dates to who trusts it, and most verifiers hold to them.
    pub(crate) fn anchors_at(&self, now: OffsetDateTime) -> Vec<TrustAnchor<'static>> {
        self.roots
            .iter()
            .filter(|root| root.validity.check(now).is_ok())
            .map(|root| root.anchor.clone())
            .collect()
    }

    pub(crate) fn from_der(
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        if certificates.len() > MAX_ROOTS {
            return Err(BundleError::TooMany {
                n_roots: certificates.len(),
            });
        }
        let mut roots: Vec<Root> = Vec::new();
        for (idx, der) in certificates.into_iter().enumerate() {
            let root = Root::read(der, idx + 1)?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let pem = roots
            .iter()
            .map(|root| certificate::to_pem(&root.der))
            .collect();
        Ok(Self { roots, pem })
    }
}

// === impl Root ===

impl Root {
    fn is_followed_by(&self, other: &Self) -> bool {
        self.anchor.subject == other.anchor.subject
            && self.anchor.subject_public_key_info == other.anchor.subject_public_key_info
    }

    fn read(der: CertificateDer<'static>, number: usize) -> Result<Self, BundleError> {
        let parsed = certificate::parse(&der)
            .map_err(|source| BundleError::Certificate { number, source })?;
        if !parsed.is_ca() {
            return Err(BundleError::NotAuthority { number });
        }
        let validity = Validity::from(parsed.validity());
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|source| BundleError::Anchor { number, source })?
            .to_owned();
        Ok(Self {
            der,
            anchor,
            validity,
        })
    }
}

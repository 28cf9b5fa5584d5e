//! The mesh's certificate authority: one root certificate and its key.
//!
//! The injector makes an [`Authority`] once, keeps it in a Secret, reads it back at each start and renews it long before its end.
//! An `Authority` that exists can sign: certificate and key belong together, and the certificate is self-signed and says that it may.
//! Dates are the caller's to look at, because a root that has expired can still be renewed.

mod check;
mod issue;

use std::{
    fmt::{self, Formatter},
    sync::Arc,
};

use rcgen::{DistinguishedName, KeyPair};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    bundle::{BundleError, TrustBundle},
    certificate::{self, CertificateError, MAX_PEM_BYTES},
    validity::Validity,
    verify::VerifyError,
};

/// How long a root lives: ten years, as Istio's self-signed one.
pub const ROOT_LIFETIME: Duration = Duration::days(3650);
/// How long a server's certificate lives at most.
pub const SERVER_LIFETIME: Duration = Duration::days(90);
/// A root is renewed when this part of its life has passed, in per cent: two years before its end, as Istio does.
const RENEW_ROOT_AT: u8 = 80;

/// A root certificate and its private key; clones share them.
#[derive(Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: Arc<Zeroizing<KeyPair>>,
    key_pem: Zeroizing<String>,
    subject: DistinguishedName,
    key_id: Option<Vec<u8>>,
    validity: Validity,
    roots: TrustBundle,
}

/// Why two texts are no authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The first text holds no certificate.
    #[error("the authority's certificate cannot be used")]
    Certificate(#[source] CertificateError),
    /// The first text holds a chain, or roots.
    #[error("{n_certificates} certificates where one self-signed root is expected")]
    Several {
        /// How many.
        n_certificates: usize,
    },
    /// The certificate is a server's or a client's.
    #[error(
        "the certificate is no authority's: its basic constraints do not say CA (RFC 5280, 4.2.1.9)"
    )]
    NotAuthority,
    /// The certificate's key may not sign certificates.
    #[error("the certificate's key usage does not allow signing certificates (RFC 5280, 4.2.1.3)")]
    MayNotSign,
    /// Somebody else signed it.
    #[error("the certificate is not self-signed: issuer and subject differ")]
    NotSelfSigned,
    /// It says that it is self-signed and is not.
    #[error("the certificate's signature is not its own key's")]
    Signature(#[source] webpki::Error),
    /// Its name cannot be put into what it issues.
    #[error("the certificate's subject has parts that cannot be written again unchanged")]
    Subject,
    /// Nobody could trust it.
    #[error("the certificate cannot be a trust anchor")]
    Anchor(#[source] BundleError),
    /// The second text is no text, or more than anybody could mean.
    #[error("the authority's key is not a text of at most {} KiB", MAX_PEM_BYTES >> 10)]
    NotText,
    /// The second text holds no key.
    #[error("the authority's key cannot be read as a PEM section PRIVATE KEY")]
    Key(#[source] pem::Error),
    /// The key is of a kind that cannot sign here.
    #[error("the authority's key is damaged or neither ECDSA, Ed25519 nor RSA")]
    KeyKind(#[source] rcgen::Error),
    /// The key is not the certificate's.
    #[error("the authority's key does not belong to its certificate")]
    Mismatch,
}

/// Why something could not be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The clock is nowhere near the present.
    #[error("the clock says {}, set it right", crate::validity::Stamp(*.now))]
    Clock {
        /// What the clock says.
        now: OffsetDateTime,
    },
    /// The authority's certificate does not count now.
    #[error("the authority's certificate is not valid now")]
    Untimely(#[source] crate::validity::Untimely),
    /// The trust domain cannot be a part of a name.
    #[error("a trust domain has 1 to 255 characters, this one {n_characters}")]
    TrustDomain {
        /// How many it has.
        n_characters: usize,
    },
    /// There is nothing to certify.
    #[error("a server's certificate needs a DNS name")]
    NoNames,
    /// No randomness, or a name that cannot be written.
    #[error("the certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// The system gives no random numbers.
    #[error("no random numbers for a serial number")]
    Random,
    /// What was made cannot be read: never handed out.
    #[error("the certificate that was made cannot be used")]
    Root(#[source] AuthorityError),
    /// What was made cannot be read: never handed out.
    #[error("the pair that was made cannot be used")]
    Pair(#[source] crate::server::PairError),
    /// What was made does not verify: never handed out.
    #[error("the certificate that was made does not verify against its root")]
    Verify(#[source] VerifyError),
}

// === impl Authority ===

impl Authority {
    /// Reads a self-signed root and its key (PKCS #8, SEC1 or PKCS #1), each in PEM, and checks that it can sign.
    ///
    /// # Errors
    /// When either cannot be read, or the two are no authority; dates are not looked at, see [`validity`](Self::validity).
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let mut certificates =
            certificate::read_all(certificate).map_err(AuthorityError::Certificate)?;
        let (n_certificates, last) = (certificates.len(), certificates.pop());
        let (1, Some(certificate)) = (n_certificates, last) else {
            return Err(AuthorityError::Several { n_certificates });
        };
        if key.len() > MAX_PEM_BYTES {
            return Err(AuthorityError::NotText);
        }
        let key_pem = std::str::from_utf8(key).map_err(|_| AuthorityError::NotText)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(AuthorityError::Key)?;
        let key = KeyPair::try_from(&key).map_err(AuthorityError::KeyKind)?;
        Self::assemble(certificate, Arc::new(Zeroizing::new(key)), key_pem)
    }

    /// The root certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The root certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key in PEM, as it was read: the mesh's greatest secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The dates of the root certificate.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The root certificate as what to trust.
    #[must_use]
    pub fn roots(&self) -> &TrustBundle {
        &self.roots
    }

    /// When to renew the root: long before its end, because every pod that trusts it has to hear of the new one.
    #[must_use]
    pub fn renew_at(&self) -> OffsetDateTime {
        self.validity.passed(RENEW_ROOT_AT)
    }

    /// Whether `other` has the same key and name, so that each verifies what the other has issued.
    #[must_use]
    pub fn continues(&self, other: &Self) -> bool {
        use rcgen::PublicKeyData;
        self.subject == other.subject
            && self.key.subject_public_key_info() == other.key.subject_public_key_info()
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        key: Arc<Zeroizing<KeyPair>>,
        key_pem: &str,
    ) -> Result<Self, AuthorityError> {
        let parsed = certificate::parse(&certificate).map_err(AuthorityError::Certificate)?;
        let checked = check::root(&certificate, &parsed, &key)?;
        let validity = Validity::from(parsed.validity());
        Ok(Self {
            certificate_pem: certificate::to_pem(&certificate),
            key,
            key_pem: Zeroizing::new(key_pem.to_owned()),
            subject: checked.subject,
            key_id: checked.key_id,
            validity,
            roots: TrustBundle::from_der(vec![certificate.clone()])
                .map_err(AuthorityError::Anchor)?,
            certificate,
        })
    }
}

/// The key stays out of it.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("subject", &self.subject)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// Equal when the certificates are: a key that belongs to one certificate is the only one.
impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for Authority {}

//! The mesh's certificate authority: a certificate that may sign others, and its key.
//!
//! The injector makes an [`Authority`] once, keeps it in a Secret, reads it back at each start and renews it long before its end; or its
//! owner brings one that a root of his own signs for. An `Authority` that exists can sign: certificate and key belong together, and the
//! certificate says that it may. Dates are the caller's to look at, because a root that has expired can still be renewed.

mod check;
mod issue;
mod workload;

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
    crl::Revocations,
    spiffe::SpiffeId,
    validity::Validity,
    verify::{PeerError, VerifyError},
};

/// How long a root lives: ten years, as Istio's self-signed one.
pub const ROOT_LIFETIME: Duration = Duration::days(3650);
/// How long a server's certificate lives at most.
pub const SERVER_LIFETIME: Duration = Duration::days(90);
/// The most certificates between an authority and its root.
const MAX_CHAIN: usize = 8;
/// A root is renewed when this part of its life has passed, in per cent: two years before its end, as Istio does.
const RENEW_ROOT_AT: u8 = 80;

pub use workload::{LEAF_LIFETIME, Leaf, Lifetimes, MIN_LEAF_LIFETIME};

/// An authority's certificate and its private key; clones share them.
#[derive(Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    /// What follows a certificate that is issued, up to but not including a root: empty for a root.
    chain: Vec<CertificateDer<'static>>,
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
    /// Its roots cannot be read.
    #[error("the authority's roots cannot be used")]
    Roots(#[source] BundleError),
    /// The certificates between it and a root cannot be read.
    #[error("the certificates between the authority and its root cannot be used")]
    Chain(#[source] CertificateError),
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
    /// Only a root can make its own successor.
    #[error("the authority's certificate is signed by another one, who has to renew it")]
    NotRoot,
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
    /// What was made does not verify: never handed out.
    #[error(
        "the workload's certificate that was made does not verify against the authority's roots"
    )]
    Leaf(#[source] Box<PeerError>),
}

/// How an authority stands to its root.
enum Standing {
    /// It is one.
    Root,
    /// A root signs for it, by way of these.
    Below {
        others: Vec<CertificateDer<'static>>,
        roots: TrustBundle,
    },
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
        let (key, key_pem) = read_key(key)?;
        Self::assemble(certificate, key, key_pem, Standing::Root)
    }

    /// Reads an authority that one of `roots` signs for, directly or by way of `others`, each in PEM.
    ///
    /// The first section of `certificate` is the authority's own; what follows it counts as `others`, which may be empty, hold the
    /// authority itself, or hold roots too. Whether the whole leads to a root shows in [`prove`](Self::prove).
    ///
    /// # Errors
    /// When any of them cannot be read, or certificate and key are no authority; dates are not looked at.
    pub fn from_chain(
        certificate: &[u8],
        key: &[u8],
        others: &[u8],
        roots: &[u8],
    ) -> Result<Self, AuthorityError> {
        let mut own = certificate::read_all(certificate)
            .map_err(AuthorityError::Certificate)?
            .into_iter();
        let certificate = own
            .next()
            .ok_or(AuthorityError::Certificate(CertificateError::None))?;
        let mut others = if others.trim_ascii().is_empty() {
            Vec::new()
        } else {
            certificate::read_all(others).map_err(AuthorityError::Chain)?
        };
        others.splice(0..0, own);
        let roots = TrustBundle::from_pem(roots).map_err(AuthorityError::Roots)?;
        let (key, key_pem) = read_key(key)?;
        if others.len() > MAX_CHAIN {
            let n_certificates = others.len() + 1;
            return Err(AuthorityError::Several { n_certificates });
        }
        Self::assemble(certificate, key, key_pem, Standing::Below { others, roots })
    }

    /// Issues a certificate for `id`, which nobody gets, and verifies it: an authority that passes can serve such workloads at `now`.
    ///
    /// # Errors
    /// When its dates do not hold, or the way to its roots is broken, or the constraints of one of the certificates do not allow it.
    pub fn prove(&self, id: &SpiffeId, now: OffsetDateTime) -> Result<(), IssueError> {
        self.prove_unless_revoked(id, &Revocations::default(), now)
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key in PEM, as it was read: the mesh's greatest secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What leads from a certificate that is issued to a root, neither included: this authority's certificate first; empty for a root.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The [`chain`](Self::chain) in PEM, a certificate each.
    pub fn chain_pem(&self) -> impl Iterator<Item = String> + '_ {
        self.chain.iter().map(certificate::to_pem)
    }

    /// The dates of the certificate.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// What to trust: the root itself, or the roots that were given with it.
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
        standing: Standing,
    ) -> Result<Self, AuthorityError> {
        let parsed = certificate::parse(&certificate).map_err(AuthorityError::Certificate)?;
        let is_root = matches!(standing, Standing::Root);
        let checked = check::authority(&certificate, &parsed, &key, is_root)?;
        let validity = Validity::from(parsed.validity());
        Ok(Self {
            certificate_pem: certificate::to_pem(&certificate),
            key,
            key_pem: Zeroizing::new(key_pem.to_owned()),
            subject: checked.subject,
            key_id: checked.key_id,
            validity,
            chain: standing.chain(&certificate),
            roots: match standing {
                Standing::Root => TrustBundle::from_der(vec![certificate.clone()])
                    .map_err(AuthorityError::Anchor)?,
                Standing::Below { roots, .. } => roots,
            },
            certificate,
        })
    }
}

// === impl Standing ===

impl Standing {
    /// What follows what `own` issues, each once.
    fn chain(&self, own: &CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        let Self::Below { others, roots } = self else {
            return Vec::new();
        };
        let mut chain = Vec::new();
        for certificate in std::iter::once(own).chain(others) {
            if !roots.contains(certificate) && !chain.contains(certificate) {
                chain.push(certificate.clone());
            }
        }
        chain
    }
}

fn read_key(key: &[u8]) -> Result<(Arc<Zeroizing<KeyPair>>, &str), AuthorityError> {
    if key.len() > MAX_PEM_BYTES {
        return Err(AuthorityError::NotText);
    }
    let key_pem = std::str::from_utf8(key).map_err(|_| AuthorityError::NotText)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(AuthorityError::Key)?;
    let key = KeyPair::try_from(&key).map_err(AuthorityError::KeyKind)?;
    Ok((Arc::new(Zeroizing::new(key)), key_pem))
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

//! What a server of the mesh shows: a chain and its key.
//!
//! [`Authority::issue_server`](crate::Authority::issue_server) makes a [`ServerPair`], a Secret keeps it as two texts, and
//! [`ServerPair::from_pem`] reads it back. Chain and key of a pair belong together; whom it convinces is for
//! [`ServerPair::verify`] to say.

use std::{
    fmt::{self, Formatter},
    sync::Arc,
};

use rustls::{
    InconsistentKeys,
    crypto::aws_lc_rs,
    pki_types::{
        DnsName, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use time::OffsetDateTime;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use crate::{
    bundle::TrustBundle,
    certificate::{self, CertificateError, MAX_PEM_BYTES},
    validity::Validity,
    verify::{self, VerifyError},
};

/// A server's chain, its own certificate first, and its private key.
#[derive(Clone)]
pub struct ServerPair {
    chain_pem: String,
    key_pem: Zeroizing<String>,
    certified: Arc<CertifiedKey>,
    serial: String,
    validity: Validity,
    names: Vec<DnsName<'static>>,
}

/// Why two texts are no pair.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The first text holds no chain.
    #[error("the certificate cannot be used")]
    Certificate(#[source] CertificateError),
    /// The certificate is not one that TLS can use.
    #[error("the certificate is not fit for a server")]
    Unfit(#[source] webpki::Error),
    /// The second text holds no key.
    #[error("the key cannot be read as a PEM section PRIVATE KEY")]
    Key(#[source] pem::Error),
    /// The second text is no text, or more than anybody could mean.
    #[error("the key is not a text of at most {} KiB", MAX_PEM_BYTES >> 10)]
    NotText,
    /// The key is not the certificate's.
    #[error("the key does not belong to the certificate")]
    Mismatch,
    /// The pair does not work.
    #[error("the certificate cannot be served with the key")]
    Unusable(#[source] rustls::Error),
}

// === impl ServerPair ===

impl ServerPair {
    /// Reads a chain and a key, each in PEM.
    ///
    /// # Errors
    /// When either is not there, or they do not belong together; dates, names and roots are not looked at.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let certificates = certificate::read_all(chain).map_err(PairError::Certificate)?;
        if key.len() > MAX_PEM_BYTES {
            return Err(PairError::NotText);
        }
        let key_pem = std::str::from_utf8(key).map_err(|_| PairError::NotText)?;
        let private = PrivateKeyDer::from_pem_slice(key).map_err(PairError::Key)?;

        let own = certificates
            .first()
            .ok_or(PairError::Certificate(CertificateError::None))?;
        let parsed = certificate::parse(own).map_err(PairError::Certificate)?;
        let validity = Validity::from(parsed.validity());
        let serial = parsed.raw_serial_as_string().replace(':', "");
        let names = EndEntityCert::try_from(own)
            .map_err(PairError::Unfit)?
            .valid_dns_names()
            .filter_map(|name| DnsName::try_from(name.to_owned()).ok())
            .collect();
        let chain_pem = certificates.iter().map(certificate::to_pem).collect();
        let certified = CertifiedKey::from_der(
            certificates,
            private,
            &aws_lc_rs::default_provider(),
        )
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => PairError::Mismatch,
            error => PairError::Unusable(error),
        })?;
        Ok(Self {
            chain_pem,
            key_pem: Zeroizing::new(key_pem.to_owned()),
            certified: Arc::new(certified),
            serial,
            validity,
            names,
        })
    }

    /// The chain in PEM, the server's own certificate first.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key in PEM: a secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The pair as a TLS server takes it.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// The serial number of the server's own certificate, in lower-case hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The dates of the server's own certificate.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The names that the certificate is for.
    #[must_use]
    pub fn names(&self) -> &[DnsName<'static>] {
        &self.names
    }

    /// Whether the pair convinces a client that trusts `roots` and connects to `name` at `now`.
    ///
    /// # Errors
    /// Says why it does not.
    pub fn verify(
        &self,
        roots: &TrustBundle,
        name: &DnsName<'_>,
        now: OffsetDateTime,
    ) -> Result<(), VerifyError> {
        verify::server(&self.certified.cert, roots, name, now)
    }
}

/// The key stays out of it.
impl fmt::Debug for ServerPair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPair")
            .field("names", &self.names)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// Equal when the certificates are: a key that belongs to one certificate is the only one.
impl PartialEq for ServerPair {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl Eq for ServerPair {}

//! Who is at the other end of a secured connection.
//!
//! Made once at the end of a handshake, from the certificate that the handshake has verified; shared by whatever reports or forwards it.

use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

use identity::{SpiffeId, spiffe};
use rustls::crypto::{aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256, hash::Hash};

use super::TlsError;

/// A peer whose certificate was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    id: SpiffeId,
    certificate_sha256: Box<str>,
}

/// SHA-256 of the crypto provider.
static SHA_256: LazyLock<Option<&'static dyn Hash>> = LazyLock::new(|| {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    Some(suite.common.hash_provider)
});

// === impl PeerIdentity ===

impl PeerIdentity {
    pub(crate) fn of(certificate: &[u8]) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            id: spiffe::of(certificate).map_err(TlsError::Identity)?,
            certificate_sha256: fingerprint(certificate),
        }))
    }

    /// The SPIFFE ID, `spiffe://cluster.local/ns/default/sa/web`.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }

    /// SHA-256 of the certificate in 64 lower-case hexadecimal digits, as `x-forwarded-client-cert` gives it under `Hash`.
    #[must_use]
    pub fn certificate_sha256(&self) -> &str {
        &self.certificate_sha256
    }
}

/// SHA-256 of a certificate in hexadecimal digits.
pub(crate) fn fingerprint(certificate: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(64);
    if let Some(sha_256) = *SHA_256 {
        for byte in sha_256.hash(certificate).as_ref() {
            // Writing to memory does not fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text.into()
}

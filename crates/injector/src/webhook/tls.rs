//! The webhook's side of TLS.
//!
//! [`acceptor`] makes what the listener performs handshakes with; the certificate is taken from a [`Live`] key at each handshake, so
//! a renewed pair is served without a restart. Only what [`parse`] accepted is ever served: a chain whose first certificate belongs
//! to the private key.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::Config,
    files::{Live, LoadError, Reloader},
    metrics::Files as Metrics,
};
use runtime::readiness::Readiness;

/// The flag of the certificate file.
pub const CERT_FLAG: &str = "--tls-cert-file";
/// The flag of the private key file.
pub const KEY_FLAG: &str = "--tls-key-file";

/// Why a certificate and a key cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate file is not PEM.
    #[error("{CERT_FLAG} cannot be read as PEM")]
    CertificatePem(#[source] pem::Error),
    /// The certificate file holds no certificate.
    #[error(
        "{CERT_FLAG} holds no certificate, give a PEM file with the chain, the webhook's own certificate first"
    )]
    NoCertificate,
    /// The key file holds no key that can be read.
    #[error("{KEY_FLAG} holds no private key, give a PEM file with a PKCS #8, PKCS #1 or SEC1 key")]
    NoKey(#[source] pem::Error),
    /// The pair does not work.
    #[error("the certificate of {CERT_FLAG} cannot be served with the key of {KEY_FLAG}")]
    Unusable(#[source] rustls::Error),
    /// The provider does not speak what is asked of it.
    #[error("TLS cannot be set up")]
    Protocol(#[source] rustls::Error),
}

struct LiveCertificate(Live<CertifiedKey>);

/// The one crypto provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads the serving pair, and keeps it in step with its files.
///
/// # Errors
/// When a file cannot be read, or the two do not belong together.
pub fn reloader(
    config: &Config,
    readiness: &Readiness,
    metrics: Metrics,
) -> Result<Reloader<CertifiedKey, TlsError>, LoadError<TlsError>> {
    let provider = provider();
    Reloader::start(
        "certificate",
        vec![config.certificate.clone(), config.key.clone()],
        Box::new(move |contents| match contents {
            [certificates, key] => parse(certificates, key, &provider),
            _ => Err(TlsError::NoCertificate),
        }),
        readiness.detail("certificate"),
        metrics,
    )
}

/// Makes a serving pair of two PEM files: a chain with the webhook's own certificate first, and its private key.
///
/// # Errors
/// When either is not there, or they do not belong together.
pub fn parse(
    certificates: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(TlsError::CertificatePem)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::NoKey)?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Unusable)
}

/// Performs handshakes with `key` as it is at each of them: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
///
/// # Errors
/// When the provider cannot speak these versions.
pub fn acceptor(
    key: Live<CertifiedKey>,
    provider: Arc<CryptoProvider>,
) -> Result<TlsAcceptor, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Protocol)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(LiveCertificate(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

// === impl LiveCertificate ===

impl ResolvesServerCert for LiveCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load()))
    }
}

/// The key stays out of logs.
impl fmt::Debug for LiveCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveCertificate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn refusal(certificates: &str, key: &str) -> String {
        parse(certificates.as_bytes(), key.as_bytes(), &provider())
            .expect_err("the pair must be refused")
            .to_string()
    }

    #[test]
    fn a_matching_pair_is_accepted() {
        let (certificate, key) = pair();
        let parsed = parse(certificate.as_bytes(), key.as_bytes(), &provider()).unwrap();
        assert_eq!(parsed.cert.len(), 1);
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_flag() {
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        let table = [
            ("", key.as_str(), "--tls-cert-file holds no certificate"),
            (&key, &key, "--tls-cert-file holds no certificate"),
            (&certificate, "", "--tls-key-file holds no private key"),
            (
                &certificate,
                &certificate,
                "--tls-key-file holds no private key",
            ),
            (&certificate, &other_key, "cannot be served with the key"),
            (&certificate[..80], &key, "--tls-cert-file"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &key,
                "cannot be served with the key",
            ),
        ];
        for (certificates, key, expected) in table {
            let refusal = refusal(certificates, key);
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}

//! The webhook's side of TLS.
//!
//! [`acceptor`] makes what the listener performs handshakes with; the certificate is taken from its [`Certificate`] at each handshake, so
//! a renewed pair is served without a restart. Of files only what [`parse`] accepted is ever served: a chain whose first certificate
//! belongs to the private key.

use std::{fmt, sync::Arc};

use rustls::{
    InconsistentKeys, ServerConfig,
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
    cluster::ServingCertificate,
    config::Pair,
    files::{Live, LoadError, Reloader, Source, Voice},
    server::Versions,
};

/// The flag of the certificate file.
pub const CERT_FLAG: &str = "--tls-cert-file";
/// The flag of the private key file.
pub const KEY_FLAG: &str = "--tls-key-file";

/// What a PEM file holds, and which it is.
#[derive(Clone, Copy, Debug)]
pub struct Pem<'a> {
    /// The file.
    pub source: &'a Source,
    /// Its contents.
    pub bytes: &'a [u8],
}

/// Why a certificate and a key cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate file is not PEM.
    #[error("{certificate} cannot be read as PEM")]
    CertificatePem {
        /// The file.
        certificate: Source,
        /// Why not.
        source: pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error(
        "{certificate} holds no certificate, give a PEM file with the chain, the webhook's own certificate first"
    )]
    NoCertificate {
        /// The file.
        certificate: Source,
    },
    /// The key file holds no key that can be read.
    #[error("{key} holds no private key, give a PEM file with a PKCS #8, PKCS #1 or SEC1 key")]
    NoKey {
        /// The file.
        key: Source,
        /// What was met instead.
        source: pem::Error,
    },
    /// The key is not the certificate's.
    #[error("the key {key} does not belong to the first certificate of {certificate}")]
    Mismatch {
        /// The file of the certificate.
        certificate: Source,
        /// The file of the key.
        key: Source,
    },
    /// The pair does not work.
    #[error("the certificate {certificate} cannot be served with the key {key}")]
    Unusable {
        /// The file of the certificate.
        certificate: Source,
        /// The file of the key.
        key: Source,
        /// Why not.
        source: Box<rustls::Error>,
    },
    /// The provider does not speak what is asked of it.
    #[error("TLS cannot be set up")]
    Protocol(#[source] rustls::Error),
}

/// What handshakes show, as it is at each of them.
#[derive(Clone)]
pub enum Certificate {
    /// What was read from files.
    Files(Live<CertifiedKey>),
    /// What the mesh's authority issued, once it has.
    Authority(ServingCertificate),
}

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
    pair: &Pair,
    voice: Voice,
) -> Result<Reloader<CertifiedKey, TlsError>, LoadError<TlsError>> {
    let provider = provider();
    let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
    Reloader::start(
        vec![certificate.clone(), key.clone()],
        Box::new(move |contents| {
            let file = |idx: usize| contents.get(idx).map_or(&[][..], Vec::as_slice);
            let certificates = Pem {
                source: &certificate,
                bytes: file(0),
            };
            let key = Pem {
                source: &key,
                bytes: file(1),
            };
            parse(certificates, key, &provider)
        }),
        voice,
    )
}

/// Makes a serving pair of two PEM files: a chain with the webhook's own certificate first, and its private key.
///
/// # Errors
/// When either is not there, or they do not belong together.
pub fn parse(
    certificates: Pem<'_>,
    key: Pem<'_>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let certificate_source = || certificates.source.clone();
    let key_source = || key.source.clone();
    let chain = CertificateDer::pem_slice_iter(certificates.bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::CertificatePem {
            certificate: certificate_source(),
            source,
        })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            certificate: certificate_source(),
        });
    }
    let private_key =
        PrivateKeyDer::from_pem_slice(key.bytes).map_err(|source| TlsError::NoKey {
            key: key_source(),
            source,
        })?;
    CertifiedKey::from_der(chain, private_key, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
            certificate: certificate_source(),
            key: key_source(),
        },
        source => TlsError::Unusable {
            certificate: certificate_source(),
            key: key_source(),
            source: Box::new(source),
        },
    })
}

/// Performs handshakes with `certificate` as it is at each of them: TLS 1.2 and 1.3, and these `versions` of HTTP.
///
/// # Errors
/// When the provider cannot speak these versions.
pub fn acceptor(
    certificate: Certificate,
    provider: Arc<CryptoProvider>,
    versions: Versions,
) -> Result<TlsAcceptor, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Protocol)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = match versions {
        Versions::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Versions::Http2 => vec![b"h2".to_vec()],
    };
    Ok(TlsAcceptor::from(Arc::new(config)))
}

// === impl Certificate ===

impl Certificate {
    /// Ends when there is something to show; never if nothing will be.
    pub async fn available(&self) {
        if let Self::Authority(issued) = self
            && issued.clone().wait_for(Option::is_some).await.is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self {
            Self::Files(live) => Some(Arc::clone(&live.load())),
            Self::Authority(issued) => issued.borrow().clone(),
        }
    }
}

/// The key stays out of logs.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn parse_pair(certificates: &str, key: &str) -> Result<CertifiedKey, TlsError> {
        let file = |flag, path: &str| Source {
            flag,
            path: path.into(),
        };
        parse(
            Pem {
                source: &file(CERT_FLAG, "/x/tls.crt"),
                bytes: certificates.as_bytes(),
            },
            Pem {
                source: &file(KEY_FLAG, "/x/tls.key"),
                bytes: key.as_bytes(),
            },
            &provider(),
        )
    }

    #[test]
    fn a_matching_pair_is_accepted() {
        let (certificate, key) = pair();
        assert_eq!(parse_pair(&certificate, &key).unwrap().cert.len(), 1);
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_file_and_flag() {
        let (certificate, key) = pair();
        let (_, other_key) = pair();
        let no_certificate = "/x/tls.crt (--tls-cert-file) holds no certificate";
        let no_key = "/x/tls.key (--tls-key-file) holds no private key";
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let table = [
            ("", key.as_str(), no_certificate),
            (&key, &key, no_certificate),
            (&certificate, "", no_key),
            (&certificate, &certificate, no_key),
            (
                &certificate,
                &other_key,
                "the key /x/tls.key (--tls-key-file) does not belong to the first certificate of /x/tls.crt (--tls-cert-file)",
            ),
            (&certificate[..80], &key, "/x/tls.crt (--tls-cert-file)"),
            (
                nonsense,
                &key,
                "the certificate /x/tls.crt (--tls-cert-file) cannot be served",
            ),
        ];
        for (certificates, key, expected) in table {
            let refusal = parse_pair(certificates, key)
                .expect_err("the pair must be refused")
                .to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}

//! How the control plane proves who it is.
//!
//! The agent shows no certificate here, its token says who it is; the server's has to lead to a root of the mesh and to be for its name.
//! The roots are read at each connection, so a bundle that has changed counts from the next one on.

use std::{path::PathBuf, sync::Arc};

use identity::{BundleError, TrustBundle};
use runtime::files::{self, ReadError, Source};
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::aws_lc_rs,
};
use time::OffsetDateTime;

use super::Endpoint;

/// Why there is nothing to verify the control plane against.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The file cannot be read.
    #[error(
        "no roots to verify the control plane against, has the ConfigMap istio-ca-root-cert of the namespace been written?"
    )]
    Read(#[source] ReadError),
    /// The file holds none.
    #[error("{} holds no roots", file.display())]
    Bundle {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: BundleError,
    },
    /// All of them are over, or none has begun.
    #[error("no root in {} is valid at this time, is the clock right?", file.display())]
    Untimely {
        /// The file.
        file: PathBuf,
    },
    /// They cannot be put to use.
    #[error("TLS towards the control plane cannot be set up")]
    Settings(#[source] rustls::Error),
}

/// HTTP/2 (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";
/// For messages about the file with the roots.
const FLAG: &str = "--root-cert-file, CA_ROOT_CA, XDS_ROOT_CA";

/// The client's side of TLS towards `endpoint`.
pub(super) fn client(endpoint: &Endpoint) -> Result<ClientConfig, RootsError> {
    let file = || endpoint.roots.clone();
    let source = Source {
        flag: FLAG,
        path: file(),
    };
    let pem = files::read(&source).map_err(RootsError::Read)?;
    let bundle = TrustBundle::from_pem(&pem).map_err(|source| RootsError::Bundle {
        file: file(),
        source,
    })?;
    let now = OffsetDateTime::now_utc();
    let mut roots = RootCertStore::empty();
    let timely = bundle
        .certificates()
        .filter(|(_, validity)| validity.check(now).is_ok());
    roots.add_parsable_certificates(timely.map(|(certificate, _)| certificate.clone()));
    if roots.is_empty() {
        return Err(RootsError::Untimely { file: file() });
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            // The only other fault is an empty store.
            .map_err(|_| RootsError::Untimely { file: file() })?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RootsError::Settings)?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    client.alpn_protocols = vec![H2.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

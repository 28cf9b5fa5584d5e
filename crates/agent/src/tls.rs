//! Mutual TLS between workloads: who we are, who the other one is, and what a connection begins with.
//!
//! [`Credentials`] are made of three files and hold everything that a handshake needs; the data plane hands them to
//! [`Stream`](crate::data_plane::net::stream::Stream), and [`hello`] tells it which connections are TLS of the mesh. There is no
//! resumption and no ticket: every connection proves both identities anew, against the certificates and roots of that moment.
//!
//! ```text
//! cert-chain.pem ┐                         ┌─ accept_tls ─► Session ─► PeerIdentity, ALPN name
//! key.pem        ├─► Credentials ─ Store ──┤
//! root-cert.pem  ┘                         └─ connect_tls ─► Session ─► …
//! ```

pub mod credentials;
pub mod hello;
pub mod holder;
mod peer;
pub mod reload;
pub mod revoked;
pub(crate) mod session;
mod store;
mod verifier;

use std::{error::Error, io, sync::Arc};

use rustls::{CertificateError, OtherError};

pub use credentials::{Credentials, CredentialsError};
pub use peer::PeerIdentity;
pub use store::{Refusal, Store};

/// Names that a connection's protocol is agreed on by (ALPN, RFC 7301), as Istio spells them.
pub mod alpn {
    /// HTTP/1.1 between sidecars.
    pub const ISTIO_HTTP_11: &[u8] = b"istio-http/1.1";
    /// Anything between sidecars, nothing said about the bytes inside.
    pub const ISTIO: &[u8] = b"istio";
    /// HTTP/1.1 (RFC 7301).
    pub const HTTP_11: &[u8] = b"http/1.1";
    /// What we speak as a server, the preferred name first. Neither `istio-peer-exchange` nor HTTP/2, which a client offers next to these.
    pub(crate) const SPOKEN: [&[u8]; 3] = [ISTIO_HTTP_11, HTTP_11, ISTIO];
    /// What the names of every sidecar begin with; applications never use it.
    pub const MESH_PREFIX: &[u8] = b"istio";
}

/// What a client of the mesh says it will speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offer {
    /// HTTP/1.1: `istio-http/1.1`, `istio`, `http/1.1`.
    Http,
    /// Opaque bytes: `istio`. Not `istio-peer-exchange`, which would promise a prefix that tells about the peer.
    Tcp,
}

/// Why a connection could not be secured. The connection is of no more use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The connection broke.
    #[error("the connection broke during the TLS handshake")]
    Io(#[source] io::Error),
    /// The peer ended the connection, as one does that has no TLS there.
    #[error("the peer ended the connection during the TLS handshake")]
    Closed,
    /// The first bytes are no client hello.
    #[error("the peer does not begin a TLS handshake")]
    NotTls,
    /// The peer's certificate is not enough; the source is mostly an [`identity::verify::PeerError`].
    #[error("the peer is not who it should be")]
    Peer(#[source] Arc<dyn Error + Send + Sync>),
    /// One side refuses the other; where it is the peer that refuses, the source is the alert that it has sent.
    #[error("the TLS handshake failed")]
    Refused(#[source] rustls::Error),
    /// The peer was verified, and its certificate cannot be read again.
    #[error("the peer's certificate gives no identity")]
    Identity(#[source] identity::spiffe::IdError),
}

// === impl TlsError ===

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            // Printed by rustls, it would be code.
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
                Self::Peer(reason)
            }
            error => Self::Refused(error),
        }
    }
}

// === impl Offer ===

impl Offer {
    /// The names to offer, the preferred one first.
    pub(crate) fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http => &[alpn::ISTIO_HTTP_11, alpn::ISTIO, alpn::HTTP_11],
            Self::Tcp => &[alpn::ISTIO],
        }
    }
}

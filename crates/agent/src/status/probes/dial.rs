//! Connections from the agent to its own application.
//!
//! Used by every kind of probe. They come from 127.0.0.6 or ::6, which `istio-init`'s rules let pass uncaptured, so a probe meets the
//! application and not the sidecar.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use contract::net::{INBOUND_SOURCE_V4, INBOUND_SOURCE_V6};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::idle::Idle;

/// Connects to one address, and to no port of the sidecar itself.
#[derive(Debug)]
pub struct Dialer {
    destination: IpAddr,
    reserved: Vec<u16>,
    tls: OnceLock<Arc<ClientConfig>>,
    kept: Option<Idle>,
}

/// Why the application could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// A port of the sidecar: it would ask itself, perhaps for ever.
    #[error("port {port} belongs to the sidecar, not to the application")]
    Reserved {
        /// The port.
        port: u16,
    },
    /// The kernel or the application refused.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The handshake failed.
    #[error("no TLS with {address}")]
    Tls {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The cryptography library refused its own defaults.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// Takes any certificate: a probe asks whether the application answers, not who it is.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

// === impl Dialer ===

impl Dialer {
    /// A dialer for the application at `destination`; `reserved` are the sidecar's own ports.
    #[must_use]
    pub fn new(destination: IpAddr, reserved: Vec<u16>) -> Self {
        Self {
            destination: destination.to_canonical(),
            reserved,
            tls: OnceLock::new(),
            kept: None,
        }
    }

    /// The same; connections of HTTP are kept for the next probe, if `keeps`.
    #[must_use]
    pub fn keeping(mut self, keeps: bool) -> Self {
        self.kept = keeps.then(Idle::default);
        self
    }

    /// Where idle connections are, if they are kept.
    pub(super) fn kept(&self) -> Option<&Idle> {
        self.kept.as_ref()
    }

    /// The address that is dialled.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// Connects to `port` of the application. Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`DialError::Reserved`], [`DialError::Connect`].
    pub async fn connect(&self, port: u16) -> Result<TcpStream, DialError> {
        if self.reserved.contains(&port) {
            return Err(DialError::Reserved { port });
        }
        let address = SocketAddr::new(self.destination, port);
        let connect = async {
            let stream = from_inbound_source(self.destination)?
                .connect(address)
                .await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        connect
            .await
            .map_err(|source| DialError::Connect { address, source })
    }

    /// Connects to `port` and speaks TLS, offering HTTP/2 and HTTP/1.1. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Any [`DialError`].
    pub async fn connect_tls(&self, port: u16) -> Result<TlsStream<TcpStream>, DialError> {
        let config = match self.tls.get() {
            Some(config) => Arc::clone(config),
            None => {
                let config = Arc::new(unverified().map_err(DialError::Setup)?);
                Arc::clone(self.tls.get_or_init(|| config))
            }
        };
        let stream = self.connect(port).await?;
        let address = SocketAddr::new(self.destination, port);
        // An address as the name means that no name is sent, as with the kubelet.
        TlsConnector::from(config)
            .connect(ServerName::IpAddress(self.destination.into()), stream)
            .await
            .map_err(|source| DialError::Tls { address, source })
    }
}

// === impl Unverified ===

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A socket bound to the address that the rules let pass. Where that address does not exist, as `::6` outside a pod, the kernel
/// chooses one.
fn from_inbound_source(destination: IpAddr) -> io::Result<TcpSocket> {
    let (socket, source) = match destination {
        IpAddr::V4(_) => (TcpSocket::new_v4()?, IpAddr::from(INBOUND_SOURCE_V4)),
        IpAddr::V6(_) => (TcpSocket::new_v6()?, IpAddr::from(INBOUND_SOURCE_V6)),
    };
    match socket.bind(SocketAddr::new(source, 0)) {
        Err(error) if error.kind() != io::ErrorKind::AddrNotAvailable => Err(error),
        _ => Ok(socket),
    }
}

fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Unverified {
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

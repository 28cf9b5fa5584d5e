//! How rustls asks whether a peer is to be believed.
//!
//! [`identity::verify::peer`] decides; this module carries the question in and the answer out, with the alert that fits it. A client asks
//! before any of its own bytes are sent, because the answer is given inside the handshake.

use std::{
    fmt::{self, Formatter},
    sync::Arc,
};

use identity::{
    Revocations, TrustBundle, TrustDomain,
    verify::{self, End, Expected},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        WebPkiSupportedAlgorithms, verify_tls12_signature as tls12_signature,
        verify_tls13_signature as tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use time::OffsetDateTime;

/// Verifies peers against one bundle.
#[derive(Clone)]
pub(super) struct Verifier {
    pub(super) roots: Arc<TrustBundle>,
    pub(super) welcome: Welcome,
    pub(super) revoked: Revocations,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Whose identities are welcome.
#[derive(Clone, Debug)]
pub(super) enum Welcome {
    /// Anybody of these trust domains.
    Of(Arc<[TrustDomain]>),
    /// Exactly these.
    OneOf(Arc<[Arc<str>]>),
}

// === impl Verifier ===

impl Verifier {
    fn check(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        end: End,
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(own)
            .chain(others)
            .map(|certificate| CertificateDer::from(certificate.as_ref()))
            .collect();
        let expected = match &self.welcome {
            Welcome::Of(domains) => Expected::Of(domains),
            Welcome::OneOf(ids) => Expected::OneOf(ids),
        };
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|_| Error::FailedToGetCurrentTime)?;
        match verify::peer_unless_revoked(&chain, &self.roots, &self.revoked, end, expected, now) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is for routing inside the peer; who the peer is says its URI name alone.
        self.check(end_entity, intermediates, End::Server, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A workload has one certificate, there is nothing to choose by hints.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, End::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("welcome", &self.welcome)
            .finish_non_exhaustive()
    }
}

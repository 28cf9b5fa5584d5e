//! Whether a chain proves a name, or an identity.
//!
//! [`server`] is used on what the authority issues before it is handed out, on what a Secret holds before it is served, and by whoever
//! connects to the control plane; [`peer`] is what workloads verify each other by. The building of the path is webpki's; what it
//! leaves open, the dates of the root, is settled here.

use std::sync::Arc;

use rustls::{
    CertificateError, OtherError,
    pki_types::{CertificateDer, DnsName, ServerName, UnixTime},
};
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use crate::{
    bundle::TrustBundle,
    crl::{self, Revocations},
    spiffe::{self, IdError, SpiffeId, TrustDomain},
};

/// Why a chain does not prove a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is nothing to verify.
    #[error("the chain holds no certificate")]
    Empty,
    /// The clock is before 1970.
    #[error("the clock is before 1970, set it right")]
    Clock,
    /// No root's dates hold now.
    #[error("no trusted root is valid at this time")]
    NoRoot,
    /// The chain does not lead to a root, or is not valid now, or is no server's.
    #[error("the chain does not verify against the trusted roots")]
    Chain(#[source] webpki::Error),
    /// The certificate is another server's.
    #[error("the certificate is not for {name}")]
    Name {
        /// The name that was asked for.
        name: String,
        /// What it is for.
        source: webpki::Error,
    },
}

/// Which end of a connection a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It connects.
    Client,
    /// It accepts.
    Server,
}

/// Whose identities are welcome.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// Anybody of these trust domains.
    Of(&'a [TrustDomain]),
    /// Exactly these; nobody if there are none.
    OneOf(&'a [Arc<str>]),
}

/// Why a peer is not believed, or not welcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Its chain proves nothing.
    #[error(transparent)]
    Chain(#[from] VerifyError),
    /// Its certificate gives no identity.
    #[error(transparent)]
    Id(#[from] IdError),
    /// It belongs to another mesh.
    #[error("the peer {id} is of another trust domain, name it as an alias if it is to be trusted")]
    TrustDomain {
        /// Who it is.
        id: SpiffeId,
    },
    /// It is somebody else than was asked for.
    #[error("the peer is {id}, which is none of the {n_expected} identities of the service")]
    Unexpected {
        /// Who it is.
        id: SpiffeId,
        /// How many would have been welcome.
        n_expected: usize,
    },
}

// === impl PeerError ===

/// The refusal in the terms of TLS, with the alert that says most to the peer: whose clock, which root, or that it is somebody else.
impl From<PeerError> for rustls::Error {
    fn from(error: PeerError) -> Self {
        let alert = match &error {
            PeerError::Chain(VerifyError::Chain(cause)) => match cause {
                webpki::Error::CertExpired { .. } => Some(CertificateError::Expired),
                webpki::Error::CertNotValidYet { .. } => Some(CertificateError::NotValidYet),
                webpki::Error::UnknownIssuer => Some(CertificateError::UnknownIssuer),
                webpki::Error::CertRevoked => Some(CertificateError::Revoked),
                _ => None,
            },
            _ => None,
        };
        let alert = alert.unwrap_or_else(|| CertificateError::Other(OtherError(Arc::new(error))));
        Self::InvalidCertificate(alert)
    }
}

/// Verifies that `chain`, the server's own certificate first, leads to one of `roots` at `now`, is a server's, and is for `name`.
///
/// # Errors
/// Says which of these does not hold.
pub fn server(
    chain: &[CertificateDer<'_>],
    roots: &TrustBundle,
    name: &DnsName<'_>,
    now: OffsetDateTime,
) -> Result<(), VerifyError> {
    let certificate = verified(chain, roots, &Revocations::default(), End::Server, now)?;
    certificate
        .verify_is_valid_for_subject_name(&ServerName::DnsName(name.borrow()))
        .map_err(|source| VerifyError::Name {
            name: name.as_ref().to_owned(),
            source,
        })
}

/// Verifies that `chain`, the peer's own certificate first, leads to one of `roots` at `now`, may be used at its end of the connection,
/// and gives exactly one identity, which is expected.
///
/// # Errors
/// Says which of these does not hold.
pub fn peer(
    chain: &[CertificateDer<'_>],
    roots: &TrustBundle,
    end: End,
    expected: Expected<'_>,
    now: OffsetDateTime,
) -> Result<SpiffeId, PeerError> {
    let none = Revocations::default();
    peer_unless_revoked(chain, roots, &none, end, expected, now)
}

/// As [`peer`], and no certificate of the chain is among `revoked`.
///
/// # Errors
/// Says which of these does not hold.
pub fn peer_unless_revoked(
    chain: &[CertificateDer<'_>],
    roots: &TrustBundle,
    revoked: &Revocations,
    end: End,
    expected: Expected<'_>,
    now: OffsetDateTime,
) -> Result<SpiffeId, PeerError> {
    verified(chain, roots, revoked, end, now)?;
    let own = chain.first().ok_or(VerifyError::Empty)?;
    let id = spiffe::of(own)?;
    match expected {
        Expected::Of(domains) => {
            let known = domains
                .iter()
                .any(|domain| domain.as_str() == id.trust_domain());
            known
                .then_some(())
                .ok_or_else(|| PeerError::TrustDomain { id: id.clone() })?;
        }
        Expected::OneOf(ids) if ids.iter().any(|welcome| **welcome == *id.as_str()) => {}
        Expected::OneOf(ids) => {
            return Err(PeerError::Unexpected {
                id,
                n_expected: ids.len(),
            });
        }
    }
    Ok(id)
}

/// The first certificate of `chain`, once the chain leads to a root and says that it may be used so.
fn verified<'a>(
    chain: &'a [CertificateDer<'_>],
    roots: &TrustBundle,
    revoked: &Revocations,
    end: End,
    now: OffsetDateTime,
) -> Result<EndEntityCert<'a>, VerifyError> {
    let (own, others) = chain.split_first().ok_or(VerifyError::Empty)?;
    let seconds = u64::try_from(now.unix_timestamp()).map_err(|_| VerifyError::Clock)?;
    let anchors = roots.anchors_at(now);
    if anchors.is_empty() {
        return Err(VerifyError::NoRoot);
    }
    let usage = match end {
        End::Client => KeyUsage::client_auth(),
        End::Server => KeyUsage::server_auth(),
    };
    let certificate = EndEntityCert::try_from(own).map_err(VerifyError::Chain)?;
    certificate
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            others,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            usage,
            crl::options(&revoked.references()),
            None,
        )
        .map_err(VerifyError::Chain)?;
    Ok(certificate)
}

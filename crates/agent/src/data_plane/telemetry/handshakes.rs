//! How handshakes end, counted by side and reason.
//!
//! Whoever secures a connection tells [`Handshakes`] what came of it; a scrape reads the counts of all workers. There are only as many
//! reasons as [`Outcome`] has, so peers cannot make series.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use identity::verify::PeerError;
use rustls::CertificateError;

use super::histogram::add;
use crate::tls::TlsError;

/// Counts of one worker.
#[derive(Debug, Default)]
pub struct Handshakes([[AtomicU64; Outcome::ALL.len()]; Side::ALL.len()]);

/// Which side of the handshake this proxy was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Outbound: it connects.
    Client,
    /// Inbound: it accepts.
    Server,
}

/// What came of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides have proven who they are.
    Ok,
    /// It took too long.
    Timeout,
    /// The connection broke.
    Broken,
    /// The peer ended the connection, as one does that has no TLS there.
    Closed,
    /// The peer's bytes are no TLS.
    NotTls,
    /// The peer has shown no certificate.
    NoCertificate,
    /// The peer's certificate is not valid any more, or not yet.
    Expired,
    /// The peer's certificate leads to no root that is trusted here.
    UnknownIssuer,
    /// The peer is of a trust domain that is not trusted here.
    WrongTrustDomain,
    /// The peer is somebody else than was asked for.
    WrongIdentity,
    /// Anything else about the peer's certificate.
    BadCertificate,
    /// The peer has sent an alert: mostly, it does not believe us.
    RefusedByPeer,
    /// The two sides do not understand each other.
    Protocol,
}

// === impl Handshakes ===

impl Handshakes {
    /// A handshake has ended. Only the owning worker may call it.
    pub fn count(&self, side: Side, outcome: Outcome) {
        let counter = self.0.get(side as usize);
        if let Some(counter) = counter.and_then(|side| side.get(outcome as usize)) {
            add(counter, 1);
        }
    }

    /// How many handshakes have ended like this.
    pub(super) fn read(&self, side: Side, outcome: Outcome) -> u64 {
        let counter = self.0.get(side as usize);
        counter
            .and_then(|side| side.get(outcome as usize))
            .map_or(0, |counter| counter.load(Relaxed))
    }
}

// === impl Side ===

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Client, Self::Server];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) const ALL: [Self; 13] = [
        Self::Ok,
        Self::Timeout,
        Self::Broken,
        Self::Closed,
        Self::NotTls,
        Self::NoCertificate,
        Self::Expired,
        Self::UnknownIssuer,
        Self::WrongTrustDomain,
        Self::WrongIdentity,
        Self::BadCertificate,
        Self::RefusedByPeer,
        Self::Protocol,
    ];

    /// In one word, as metrics and the access log show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongTrustDomain => "wrong_trust_domain",
            Self::WrongIdentity => "wrong_identity",
            Self::BadCertificate => "bad_certificate",
            Self::RefusedByPeer => "refused_by_peer",
            Self::Protocol => "protocol",
        }
    }
}

impl<T> From<&Result<T, TlsError>> for Outcome {
    fn from(result: &Result<T, TlsError>) -> Self {
        result.as_ref().map_or_else(Self::from, |_| Self::Ok)
    }
}

impl From<&TlsError> for Outcome {
    fn from(error: &TlsError) -> Self {
        match error {
            TlsError::Io(_) => Self::Broken,
            TlsError::Closed => Self::Closed,
            TlsError::NotTls => Self::NotTls,
            TlsError::Peer(reason) => of_peer(&**reason),
            TlsError::Identity(_) => Self::BadCertificate,
            TlsError::Refused(error) => of_rustls(error),
        }
    }
}

fn of_peer(reason: &(dyn Error + Send + Sync + 'static)) -> Outcome {
    match reason.downcast_ref() {
        Some(PeerError::TrustDomain { .. }) => Outcome::WrongTrustDomain,
        Some(PeerError::Unexpected { .. }) => Outcome::WrongIdentity,
        _ => Outcome::BadCertificate,
    }
}

fn of_rustls(error: &rustls::Error) -> Outcome {
    match error {
        rustls::Error::NoCertificatesPresented => Outcome::NoCertificate,
        rustls::Error::AlertReceived(_) => Outcome::RefusedByPeer,
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Outcome::Expired,
            CertificateError::UnknownIssuer => Outcome::UnknownIssuer,
            _ => Outcome::BadCertificate,
        },
        _ => Outcome::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use rustls::{AlertDescription, OtherError};

    use super::*;

    #[test]
    fn every_error_has_its_outcome() {
        let refused = |error| TlsError::Refused(error);
        let certificate = |reason| refused(rustls::Error::InvalidCertificate(reason));
        let id = "spiffe://other/ns/a/sa/b"
            .parse::<identity::SpiffeId>()
            .unwrap();
        let peer = |error: PeerError| TlsError::from(rustls::Error::from(error));
        let table = [
            (
                TlsError::Io(io::ErrorKind::BrokenPipe.into()),
                Outcome::Broken,
            ),
            (TlsError::Closed, Outcome::Closed),
            (TlsError::NotTls, Outcome::NotTls),
            (
                refused(rustls::Error::NoCertificatesPresented),
                Outcome::NoCertificate,
            ),
            (
                refused(rustls::Error::AlertReceived(
                    AlertDescription::BadCertificate,
                )),
                Outcome::RefusedByPeer,
            ),
            (refused(rustls::Error::DecryptError), Outcome::Protocol),
            (certificate(CertificateError::Expired), Outcome::Expired),
            (certificate(CertificateError::NotValidYet), Outcome::Expired),
            (
                certificate(CertificateError::UnknownIssuer),
                Outcome::UnknownIssuer,
            ),
            (
                certificate(CertificateError::BadSignature),
                Outcome::BadCertificate,
            ),
            (
                certificate(CertificateError::Other(OtherError(Arc::new(
                    io::Error::other("x"),
                )))),
                Outcome::BadCertificate,
            ),
            (
                peer(PeerError::TrustDomain { id: id.clone() }),
                Outcome::WrongTrustDomain,
            ),
            (
                peer(PeerError::Unexpected { id, n_expected: 1 }),
                Outcome::WrongIdentity,
            ),
        ];
        for (error, outcome) in table {
            assert_eq!(Outcome::from(&error), outcome, "{error:?}");
            assert_eq!(Outcome::from(&Err::<(), _>(error)), outcome);
        }
        assert_eq!(Outcome::from(&Ok::<_, TlsError>(())), Outcome::Ok);
    }

    #[test]
    fn each_outcome_is_counted_apart() {
        let handshakes = Handshakes::default();
        for side in Side::ALL {
            for outcome in Outcome::ALL {
                handshakes.count(side, outcome);
            }
        }
        handshakes.count(Side::Server, Outcome::Protocol);
        for side in Side::ALL {
            for outcome in Outcome::ALL {
                let is_twice = (side, outcome) == (Side::Server, Outcome::Protocol);
                assert_eq!(
                    handshakes.read(side, outcome),
                    1 + u64::from(is_twice),
                    "{outcome:?}"
                );
            }
        }
        let names: std::collections::BTreeSet<_> = Outcome::ALL.map(Outcome::as_str).into();
        assert_eq!(names.len(), Outcome::ALL.len());
    }
}

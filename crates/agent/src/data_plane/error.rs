//! What goes wrong on the data plane, and how each audience is told.
//!
//! [`StartError`] is for whoever starts the data plane. [`Failure`] is the one classification of everything that can happen to a
//! request or a connection; status, response flag, code and text all follow from it, so log, metrics and answer cannot disagree.

use std::{fmt, io, net::SocketAddr};

use runtime::error::chain;

use super::{
    http1::{BodyError, HeadError},
    telemetry::Outcome,
};
use crate::tls::TlsError;

/// Why the data plane could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened, most often because something else has the port.
    #[error("could not listen on {address} for {purpose}; is another program using this port?")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the listener is for, `outbound capture`.
        purpose: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A worker's thread or its event loop could not be made.
    #[error("could not start data plane worker {index}")]
    Worker {
        /// Counted from 0.
        index: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// A worker's thread ended while it was starting.
    #[error("data plane worker {index} ended while it was starting")]
    WorkerLost {
        /// Counted from 0.
        index: usize,
    },
}

/// Envoy's response flags, as far as this proxy raises them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Flag {
    /// Nothing went wrong here.
    #[default]
    None,
    /// The upstream could not be reached.
    UpstreamConnect,
    /// The upstream ended the connection before its answer was complete.
    UpstreamClosed,
    /// The upstream broke the protocol.
    UpstreamProtocol,
    /// There is nowhere to send it.
    NoUpstream,
    /// It is not known where that leads.
    NoCluster,
    /// The client broke the protocol.
    DownstreamProtocol,
    /// The client went away.
    DownstreamClosed,
    /// Nothing moved for too long.
    Idle,
    /// It was sent again as often as it may be, and nobody could take it.
    RetryLimit,
    /// The same, and the last upstream could not be reached.
    UpstreamConnectRetryLimit,
    /// The same, and the last upstream ended the connection before its answer was complete.
    UpstreamClosedRetryLimit,
}

/// What went wrong with a request or a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The upstream refused the connection or is not there.
    Connect(io::Error),
    /// The upstream did not take the connection in time.
    ConnectTimeout,
    /// The upstream closed or reset before it answered.
    UpstreamClosed,
    /// The upstream's answer ended in the middle.
    UpstreamTruncated,
    /// The upstream's answer cannot be passed on safely.
    UpstreamHead(HeadError),
    /// The framing of the upstream's body is broken.
    UpstreamBody(BodyError),
    /// The upstream switched protocols though nobody asked.
    UnaskedUpgrade,
    /// The request cannot be passed on safely.
    RequestHead(HeadError),
    /// The framing of the request's body is broken.
    RequestBody(BodyError),
    /// The client went away before it was served.
    ClientClosed,
    /// The head of the request did not arrive in time.
    HeadTimeout,
    /// Nothing moved in either direction for too long.
    IdleTimeout,
    /// Policy has no place for this destination.
    NoRoute,
    /// The service has nobody who could take it.
    NoEndpoint,
    /// The control plane has not said who is there.
    Undiscovered,
    /// Mutual TLS with the upstream failed.
    UpstreamTls(TlsError),
    /// Mutual TLS with the client failed.
    ClientTls(TlsError),
    /// The client spoke without mutual TLS, which the mesh demands here.
    PlaintextRefused,
    /// Mutual TLS is demanded, and the proxy has no certificate.
    NoCertificate,
    /// The path is not served here.
    NotFound,
    /// The proxy is stopping and the deadline has passed, or its task was dropped.
    Cancelled,
}

// === impl Flag ===

impl Flag {
    /// Envoy's abbreviation; `-` for none.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::UpstreamConnect => "UF",
            Self::UpstreamClosed => "UC",
            Self::UpstreamProtocol => "UPE",
            Self::NoUpstream => "UH",
            Self::NoCluster => "NC",
            Self::DownstreamProtocol => "DPE",
            Self::DownstreamClosed => "DC",
            Self::Idle => "SI",
            Self::RetryLimit => "URX",
            Self::UpstreamConnectRetryLimit => "UF,URX",
            Self::UpstreamClosedRetryLimit => "UC,URX",
        }
    }

    /// The flag of a request that was sent more than once.
    pub(crate) fn after_retries(self) -> Self {
        match self {
            Self::UpstreamConnect => Self::UpstreamConnectRetryLimit,
            Self::UpstreamClosed => Self::UpstreamClosedRetryLimit,
            other => other,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// The response flag of log and metrics.
    pub(crate) fn flag(&self) -> Flag {
        match self {
            Self::Connect(_)
            | Self::ConnectTimeout
            | Self::UpstreamTls(_)
            | Self::NoCertificate => Flag::UpstreamConnect,
            Self::UpstreamClosed | Self::UpstreamTruncated => Flag::UpstreamClosed,
            Self::UpstreamHead(_) | Self::UpstreamBody(_) | Self::UnaskedUpgrade => {
                Flag::UpstreamProtocol
            }
            Self::RequestHead(_)
            | Self::RequestBody(_)
            | Self::ClientTls(_)
            | Self::PlaintextRefused => Flag::DownstreamProtocol,
            Self::ClientClosed | Self::Cancelled => Flag::DownstreamClosed,
            Self::HeadTimeout | Self::IdleTimeout => Flag::Idle,
            Self::NoRoute | Self::NoEndpoint => Flag::NoUpstream,
            Self::Undiscovered => Flag::NoCluster,
            Self::NotFound => Flag::None,
        }
    }

    /// The machine-readable reason, sent as `x-mesh-error` and logged as response code details.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::UpstreamHead(_) => "upstream_bad_head",
            Self::UpstreamBody(_) => "upstream_bad_body",
            Self::UnaskedUpgrade => "upstream_unasked_upgrade",
            Self::RequestHead(HeadError::TooLarge | HeadError::TooManyFields) => {
                "request_head_too_large"
            }
            Self::RequestHead(_) => "request_bad_head",
            Self::RequestBody(_) => "request_bad_body",
            Self::ClientClosed => "client_closed",
            Self::HeadTimeout => "request_head_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_healthy_upstream",
            Self::Undiscovered => "destination_undiscovered",
            Self::UpstreamTls(TlsError::Peer(_)) => "upstream_wrong_identity",
            Self::UpstreamTls(_) => "upstream_tls_failed",
            Self::ClientTls(TlsError::Peer(_)) => "client_wrong_identity",
            Self::ClientTls(_) => "client_tls_failed",
            Self::PlaintextRefused => "plaintext_refused",
            Self::NoCertificate => "no_certificate",
            Self::NotFound => "not_found",
            Self::Cancelled => "proxy_stopped",
        }
    }

    /// Whether the upstream was not even reached, so that nobody can have acted on anything.
    pub(crate) fn was_not_reached(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::ConnectTimeout | Self::UpstreamTls(_)
        )
    }

    /// How the handshake with the upstream failed, in one word, for the log.
    pub(crate) fn transport_failure(&self) -> Option<&'static str> {
        match self {
            Self::UpstreamTls(error) => Some(Outcome::from(error).as_str()),
            _ => None,
        }
    }

    /// How the handshake with the client failed, in one word, for the log.
    pub(crate) fn termination(&self) -> Option<&'static str> {
        match self {
            Self::ClientTls(error) => Some(Outcome::from(error).as_str()),
            _ => None,
        }
    }

    /// The HTTP status of the proxy's own answer.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::RequestHead(HeadError::TooLarge | HeadError::TooManyFields) => 431,
            Self::RequestHead(HeadError::Version) => 505,
            // Nobody is answered who could not be verified; what a status would be is for the log.
            Self::RequestHead(_)
            | Self::RequestBody(_)
            | Self::ClientClosed
            | Self::ClientTls(_)
            | Self::PlaintextRefused => 400,
            Self::NotFound => 404,
            Self::HeadTimeout => 408,
            Self::UpstreamHead(_)
            | Self::UpstreamBody(_)
            | Self::UnaskedUpgrade
            | Self::NoRoute
            | Self::UpstreamTruncated => 502,
            Self::Connect(_)
            | Self::ConnectTimeout
            | Self::NoEndpoint
            | Self::Undiscovered
            | Self::UpstreamTls(_)
            | Self::NoCertificate
            | Self::UpstreamClosed
            | Self::Cancelled => 503,
            Self::IdleTimeout => 504,
        }
    }
}

impl fmt::Display for Failure {
    /// One sentence for whoever reads the body of the proxy's own answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "could not connect to the upstream: {error}"),
            Self::ConnectTimeout => f.write_str("the upstream did not take the connection in time"),
            Self::UpstreamClosed => {
                f.write_str("the upstream closed the connection before it answered")
            }
            Self::UpstreamTruncated => f.write_str("the upstream's answer ended in the middle"),
            Self::UpstreamHead(error) => write!(f, "the upstream's answer is malformed: {error}"),
            Self::UpstreamBody(error) => {
                write!(f, "the body of the upstream's answer is malformed: {error}")
            }
            Self::UnaskedUpgrade => {
                f.write_str("the upstream switched protocols without being asked")
            }
            Self::RequestHead(error) => write!(f, "the request is malformed: {error}"),
            Self::RequestBody(error) => write!(f, "the request's body is malformed: {error}"),
            Self::ClientClosed => f.write_str("the client went away"),
            Self::HeadTimeout => f.write_str("the head of the request did not arrive in time"),
            Self::IdleTimeout => f.write_str("nothing moved on the connection for too long"),
            Self::NoRoute => {
                f.write_str("the mesh's outbound policy does not allow this destination")
            }
            Self::NoEndpoint => f.write_str("no pod behind the service is ready"),
            Self::Undiscovered => f.write_str(
                "the control plane has not said who is at this address, which may want mutual TLS",
            ),
            Self::UpstreamTls(error) => {
                write!(f, "no mutual TLS with the upstream: {}", chain(error))
            }
            Self::ClientTls(error) => write!(f, "no mutual TLS with the client: {}", chain(error)),
            Self::PlaintextRefused => {
                f.write_str("the client does not speak mutual TLS, which is STRICT here")
            }
            Self::NoCertificate => f.write_str("the sidecar has no certificate yet"),
            Self::NotFound => f.write_str("this path is not served here"),
            Self::Cancelled => f.write_str("the proxy stopped"),
        }
    }
}

#[cfg(test)]
mod tests;

//! Why there is no connection to the control plane, each time with its address.

use std::{io, net::SocketAddr, path::PathBuf};

use super::{Endpoint, ResolveError, RootsError};

/// Why there is no connection to the control plane.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Its name has no address.
    #[error("cannot find the control plane {endpoint}")]
    Resolve {
        /// Who was to be reached.
        endpoint: Box<str>,
        /// Why not.
        source: ResolveError,
    },
    /// Nobody answers at any of its addresses.
    #[error(
        "cannot connect to the control plane {endpoint} at {last}, the last of {n_addresses} addresses; is it running?"
    )]
    Tcp {
        /// Who was to be reached.
        endpoint: Box<str>,
        /// How many addresses were tried.
        n_addresses: usize,
        /// The address that was tried last.
        last: SocketAddr,
        /// What the kernel says of it.
        source: io::Error,
    },
    /// There is nothing to verify it against.
    #[error("cannot verify the control plane {endpoint}")]
    Roots {
        /// Who was to be reached.
        endpoint: Box<str>,
        /// What is missing.
        source: RootsError,
    },
    /// It is not who it should be, or speaks no TLS.
    #[error("the control plane {endpoint} does not prove to be {name} by the roots in {}", roots.display())]
    Handshake {
        /// Who was to be reached.
        endpoint: Box<str>,
        /// The name that its certificate was to be for.
        name: Box<str>,
        /// The file with the roots.
        roots: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// It speaks something else.
    #[error("the control plane {endpoint} does not agree on HTTP/2, is it the right port?")]
    NotHttp2 {
        /// Who was to be reached.
        endpoint: Box<str>,
    },
    /// HTTP/2 cannot begin.
    #[error("the control plane {endpoint} does not begin HTTP/2")]
    Http2 {
        /// Who was to be reached.
        endpoint: Box<str>,
        /// Why not.
        source: hyper::Error,
    },
    /// It accepts connections and says nothing.
    #[error("the control plane {endpoint} accepts connections and does not say anything on them")]
    Silent {
        /// Who was to be reached.
        endpoint: Box<str>,
    },
}

/// The endpoint for a message.
pub(super) fn shown(endpoint: &Endpoint) -> Box<str> {
    endpoint.to_string().into()
}

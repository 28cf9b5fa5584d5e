//! Why the program ends otherwise than it was asked to.
//!
//! Everything that [`App`](super::App) can fail by, at the start or later; `main` prints the chain.

use std::io;

use runtime::task::Failure;

use crate::{
    configuration::ConfigurationError, files::LoadError, grpc, server::BindError,
    webhook::tls::TlsError,
};

/// Why the program cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The injection configuration cannot be used.
    #[error("the injection configuration cannot be used{fix}")]
    Configuration {
        /// What to do, where that is not in front of whoever reads it.
        fix: String,
        /// Which file, and why.
        source: Box<LoadError<ConfigurationError>>,
    },
    /// There is no way to the API server.
    #[error("the cluster cannot be used")]
    Cluster(#[source] ::cluster::ConnectError),
    /// The serving certificate cannot be used.
    #[error("the webhook's certificate cannot be used")]
    Certificate(#[source] LoadError<TlsError>),
    /// TLS cannot be set up.
    #[error("the webhook cannot speak TLS")]
    Tls(#[source] TlsError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(BindError),
    /// A listener cannot be waited for.
    #[error("the webhook cannot be served")]
    Listen(#[source] io::Error),
    /// Sidecars cannot be served.
    #[error(transparent)]
    Grpc(grpc::ServerError),
    /// A part of the program failed.
    #[error(transparent)]
    Run(Failure),
}

//! What can go wrong on the way to a cluster, and what became of a request.
//!
//! [`ConnectError`] comes from finding the cluster, [`RequestError`] is made of what the client says about a request.
//! Both are for a person: they say which file, context or server, and what to do.

use std::{io, path::PathBuf};

/// No client can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is nothing that says where a cluster is.
    #[error("there is no cluster to ask: {} does not exist and this is no pod; give a kubeconfig (--kubeconfig, KUBECONFIG)", tried.display())]
    NoCluster {
        /// Where a kubeconfig would be; several files as in `KUBECONFIG`.
        tried: PathBuf,
    },
    /// A kubeconfig cannot be read.
    #[error("cannot read kubeconfig {}", path.display())]
    ReadKubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kubeconfig is no kubeconfig, or does not fit to the others of the list.
    #[error("kubeconfig {} cannot be used", path.display())]
    Kubeconfig {
        /// The file, or several as in `KUBECONFIG`.
        path: PathBuf,
        /// Why.
        source: Told,
    },
    /// No context is chosen.
    #[error("kubeconfig {} has no current context, choose one by --context: {known}", path.display())]
    NoContext {
        /// The file, or several as in `KUBECONFIG`.
        path: PathBuf,
        /// The contexts that are there.
        known: String,
    },
    /// The context that was asked for is not there.
    #[error("kubeconfig {} has no context {context:?}, there is {known}", path.display())]
    UnknownContext {
        /// The file, or several as in `KUBECONFIG`.
        path: PathBuf,
        /// Its name.
        context: String,
        /// The contexts that are there.
        known: String,
    },
    /// This is a pod, and its service account cannot be used.
    #[error("the pod's service account cannot be used, is automountServiceAccountToken off?")]
    ServiceAccount {
        /// Why.
        source: Told,
    },
    /// The address of the API server is none.
    #[error("{origin}: server {server:?} is no http:// or https:// address with a host")]
    Server {
        /// Where it stands.
        origin: String,
        /// What stands there.
        server: String,
    },
    /// The proxy to use is of a kind that is not supported.
    #[error("{origin}: proxy {proxy} cannot be used, give one with http://")]
    Proxy {
        /// Where it stands.
        origin: String,
        /// Its address, without credentials.
        proxy: String,
    },
    /// Certificates, key, token or plugin of the kubeconfig's user cannot be used.
    #[error("{origin}: certificate authority or credentials cannot be used")]
    Credentials {
        /// Whose.
        origin: String,
        /// Why.
        source: Told,
    },
}

/// A request to the API server that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not there.
    #[error("the API server does not have it: {message}")]
    NotFound {
        /// What the server says.
        message: String,
    },
    /// The server knows who asks, and does not let them.
    #[error("a right is missing: {message}")]
    Forbidden {
        /// What the server says: who may not do what.
        message: String,
    },
    /// The server does not know who asks.
    #[error("the API server does not accept the credentials: {message}")]
    Unauthorized {
        /// What the server says.
        message: String,
    },
    /// Any other answer that is an error.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// What the server says.
        message: String,
    },
    /// There was no answer.
    #[error("the API server cannot be reached")]
    Unreachable {
        /// Why: the name, the connection, its encryption, or the time.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is none that a Kubernetes API server gives.
    #[error("the answer cannot be understood, is this a Kubernetes API server?")]
    Answer {
        /// Why.
        source: Told,
    },
}

/// An error of the client library, whose sentence holds those of its causes; so it stands at the end of the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Told(String);

// === impl RequestError ===

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let message = if status.message.is_empty() {
                    status.reason
                } else {
                    status.message
                };
                match status.code {
                    401 => Self::Unauthorized { message },
                    403 => Self::Forbidden { message },
                    404 => Self::NotFound { message },
                    code => Self::Refused { code, message },
                }
            }
            kube::Error::Service(source) => Self::Unreachable { source },
            kube::Error::HyperError(error) => Self::Unreachable {
                source: Box::new(error),
            },
            kube::Error::ReadEvents(error) => Self::Unreachable {
                source: Box::new(error),
            },
            other => Self::Answer {
                source: Told::by(&other),
            },
        }
    }
}

// === impl Told ===

impl Told {
    pub(crate) fn by(error: &dyn std::error::Error) -> Self {
        Self(error.to_string())
    }
}

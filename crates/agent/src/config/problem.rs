//! What can be wrong with the settings, and where each of them was given.
//!
//! `config` collects all problems before it gives up, so that one run tells everything that must be put right.

use std::fmt::{self, Display, Formatter};

use runtime::error::lines;

/// Everything that is wrong with the settings; shown as one line for each problem.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A value that makes no sense.
    #[error("{origin}: `{value}` is not {expected}")]
    Value {
        /// Where it was given.
        origin: Origin,
        /// What was given.
        value: String,
        /// What would make sense.
        expected: &'static str,
    },
    /// Two listeners on one port.
    #[error(
        "the {first} port and the {second} port are both {port}, give one of them another number"
    )]
    SamePort {
        /// What one listener is for.
        first: &'static str,
        /// What the other listener is for.
        second: &'static str,
        /// The port.
        port: u16,
    },
    /// A text that is not the JSON that it should be.
    #[error("{origin}: {reason}")]
    Json {
        /// Where it was given.
        origin: Origin,
        /// What is wrong with it, with line and column.
        reason: String,
    },
    /// There is an authority, and nobody to be certified.
    #[error(
        "a certificate authority is given, but not whom it should certify: set {namespace} and {service_account}"
    )]
    Nobody {
        /// The variable with the pod's namespace.
        namespace: &'static str,
        /// The variable with the pod's service account.
        service_account: &'static str,
    },
    /// A role of the proxy that does not exist, or not yet.
    #[error("`proxy {role}` is not possible: {reason}")]
    Role {
        /// What was asked for.
        role: String,
        /// What to do instead.
        reason: &'static str,
    },
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag or its environment variable.
    Flag {
        /// The flag, without the dashes.
        flag: &'static str,
        /// The variable.
        env: &'static str,
    },
    /// A field of PROXY_CONFIG.
    ProxyConfig(&'static str),
    /// An annotation of the pod.
    Annotation(&'static str),
}

// === impl Problems ===

impl Display for Problems {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        lines(&self.0, f)
    }
}

// === impl Origin ===

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { flag, env } => write!(f, "--{flag} (env {env})"),
            Self::ProxyConfig(field) => write!(f, "PROXY_CONFIG, field {field}"),
            Self::Annotation(key) => write!(f, "annotation {key}"),
        }
    }
}

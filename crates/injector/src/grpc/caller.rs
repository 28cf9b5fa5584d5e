//! Who calls, or why that is not known.
//!
//! A [`Review`](super::Review) ends in one of the two; the [`Authenticator`](super::Authenticator) hands a [`Caller`] to the services and
//! answers a [`Refusal`] as a gRPC status. Neither ever holds any part of a token.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use tonic::Status;

use super::TOKEN_AUDIENCE;

/// A service account, proven by its token; clones share the texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The service account's namespace.
    pub namespace: Arc<str>,
    /// The service account's name.
    pub service_account: Arc<str>,
    /// The pod that the token was made for; tokens of other origin have none.
    pub pod: Option<Pod>,
}

/// The pod that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its name, in the namespace of the service account.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
}

/// Why a call is not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no token.
    #[error(
        "the call has no token, send `authorization: Bearer TOKEN` with a projected token of audience {TOKEN_AUDIENCE}"
    )]
    Missing,
    /// What is sent as a token cannot be one.
    #[error("what the call sends as `authorization` is no bearer token of a service account")]
    Malformed,
    /// The API server does not take it.
    #[error("the API server does not accept the token: {reason}")]
    Invalid {
        /// What it says about it.
        reason: Arc<str>,
    },
    /// It is meant for somebody else.
    #[error("the token is not for audience {TOKEN_AUDIENCE}, mount a projected token that is")]
    Audience,
    /// It is somebody's who is no service account.
    #[error("the token belongs to {user:?}, which is no service account")]
    NotServiceAccount {
        /// Whose it is.
        user: Arc<str>,
    },
    /// The API server cannot be asked.
    #[error("the token cannot be reviewed at the moment, try again: {reason}")]
    Unavailable {
        /// Why not.
        reason: Arc<str>,
    },
    /// Too many ask at once.
    #[error("too many tokens wait for their review, try again")]
    Busy,
}

// === impl Caller ===

/// `shop/web` or, if it is known, `shop/web (pod web-0)`.
impl Display for Caller {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service_account)?;
        match &self.pod {
            Some(pod) => write!(f, " (pod {})", pod.name),
            None => Ok(()),
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// Whether it says something about the token rather than about the moment.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Missing
            | Self::Malformed
            | Self::Invalid { .. }
            | Self::Audience
            | Self::NotServiceAccount { .. } => true,
            Self::Unavailable { .. } | Self::Busy => false,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        if refusal.is_final() {
            Self::unauthenticated(text)
        } else {
            Self::unavailable(text)
        }
    }
}

//! The authority that the user brings: Secret `cacerts`.
//!
//! The keeper follows it by name only, with a [`Bringer`]. [`Given::read`] believes in it once it has signed something that verifies against its own
//! roots; what does not pass is told by key and reason, and whatever signed before goes on signing.

use contract::control_plane::{
    CA_CERT_KEY, CA_CHAIN_KEY, CA_PRIVATE_KEY, GIVEN_ROOT_KEY, ROOT_CERT_KEY, TLS_CERT_KEY,
    TLS_PRIVATE_KEY,
};
use identity::{Authority, AuthorityError, IssueError, SpiffeId};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::Event;
use runtime::error::chain;
use time::OffsetDateTime;

use crate::cluster::watch::Watch;

/// What is known of the user's authority.
#[derive(Debug)]
pub(super) enum Given {
    /// The API server has not said yet.
    Unknown,
    /// There is none.
    Absent,
    /// There is one that cannot be used, and why.
    Unusable(String),
    /// There is one.
    Usable(Box<Authority>),
}

/// Follows the Secret.
pub(super) struct Bringer {
    watch: Watch<Secret>,
    /// What is being listed.
    listed: Option<Secret>,
    /// What there is, once it is known.
    seen: Option<Option<Secret>>,
    /// The trust domain that it was last read for; nothing if it has changed since.
    read_for: Option<String>,
    given: Given,
}

/// Why the Secret holds no authority that could be used.
#[derive(Debug, thiserror::Error)]
enum GivenError {
    #[error("the key {key} is missing")]
    Missing { key: &'static str },
    #[error(
        "{CA_CERT_KEY} and {CA_PRIVATE_KEY} (or {TLS_CERT_KEY} and {TLS_PRIVATE_KEY}) are no authority"
    )]
    Authority(#[source] AuthorityError),
    #[error("a certificate that it signs is not verified by its own root")]
    Proof(#[source] IssueError),
}

// === impl Bringer ===

impl Bringer {
    pub(super) fn new(watch: Watch<Secret>) -> Self {
        Self {
            watch,
            listed: None,
            seen: None,
            read_for: None,
            given: Given::Unknown,
        }
    }

    /// Ends when the Secret may be another one. Dropping the future loses nothing.
    pub(super) async fn changed(&mut self) {
        self.seen = match self.watch.next().await {
            Event::Init => {
                self.listed = None;
                return;
            }
            Event::InitApply(secret) => {
                self.listed = Some(secret);
                return;
            }
            Event::InitDone => Some(self.listed.take()),
            Event::Apply(secret) => Some(Some(secret)),
            Event::Delete(_) => Some(None),
        };
        self.read_for = None;
    }

    /// Reads the Secret if it, or the mesh's trust domain, is another one than before. Gives the Secret then.
    pub(super) fn read(
        &mut self,
        trust_domain: &str,
        now: OffsetDateTime,
    ) -> Option<Option<&Secret>> {
        let seen = self.seen.as_ref()?.as_ref();
        if self.read_for.as_deref() == Some(trust_domain) {
            return None;
        }
        self.given = match trial_id(trust_domain) {
            Some(trial) => Given::read(seen, &trial, now),
            None if seen.is_none() => Given::Absent,
            None => Given::Unusable(format!(
                "the trust domain {trust_domain:?} of the mesh configuration can be no part of an identity"
            )),
        };
        self.read_for = Some(trust_domain.to_owned());
        Some(seen)
    }

    /// What was read last.
    pub(super) fn given(&self) -> &Given {
        &self.given
    }
}

/// Whom a trial certificate is for: nobody, in the mesh's trust domain.
pub(super) fn trial_id(trust_domain: &str) -> Option<SpiffeId> {
    let id = format!("spiffe://{trust_domain}/ns/none/sa/none");
    id.parse().ok()
}

// === impl Given ===

impl Given {
    /// Reads a Secret as Istio documents it, or as cert-manager writes it; `trial` is the identity of a certificate that it is tried with.
    pub(super) fn read(secret: Option<&Secret>, trial: &SpiffeId, now: OffsetDateTime) -> Self {
        let Some(secret) = secret else {
            return Self::Absent;
        };
        match authority(secret).and_then(|authority| {
            let proven = authority.prove(trial, now).map_err(GivenError::Proof);
            proven.map(|()| authority)
        }) {
            Ok(authority) => Self::Usable(Box::new(authority)),
            Err(error) => Self::Unusable(chain(&error).to_string()),
        }
    }

    /// The authority, if it can be used.
    pub(super) fn usable(&self) -> Option<&Authority> {
        match self {
            Self::Usable(authority) => Some(authority),
            Self::Unknown | Self::Absent | Self::Unusable(_) => None,
        }
    }
}

fn authority(secret: &Secret) -> Result<Authority, GivenError> {
    let text = |key| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value
            .map(|value| value.0.as_slice())
            .ok_or(GivenError::Missing { key })
    };
    let is_istios = text(CA_CERT_KEY).is_ok() || text(TLS_CERT_KEY).is_err();
    let [certificate, key, root] = if is_istios {
        [CA_CERT_KEY, CA_PRIVATE_KEY, ROOT_CERT_KEY]
    } else {
        [TLS_CERT_KEY, TLS_PRIVATE_KEY, GIVEN_ROOT_KEY]
    };
    let others = text(CA_CHAIN_KEY).unwrap_or_default();
    Authority::from_chain(text(certificate)?, text(key)?, others, text(root)?)
        .map_err(GivenError::Authority)
}

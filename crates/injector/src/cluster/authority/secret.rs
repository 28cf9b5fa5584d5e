//! The Secret's contents, read and written.
//!
//! [`Stored`] is what a Secret of the cluster says, however damaged; [`State`] is what a replica serves, and writes so that the others
//! serve it too. Reading never fails as a whole for a part that can be made anew.

use std::collections::BTreeMap;

use contract::control_plane::{
    CA_CERT_KEY, CA_PRIVATE_KEY, CA_SECRET, CA_SECRET_TYPE, ROOT_CERT_KEY, TLS_CERT_KEY,
    TLS_PRIVATE_KEY,
};
use identity::{Authority, AuthorityError, BundleError, PairError, ServerPair, TrustBundle};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

/// What the Secret holds.
#[derive(Debug)]
pub(super) enum Stored {
    /// There is none.
    Absent,
    /// There is one without an authority that could be used.
    Unreadable(SecretError),
    /// There is one with an authority.
    Held(Box<Held>),
}

/// A Secret with an authority.
#[derive(Debug)]
pub(super) struct Held {
    /// The authority.
    pub(super) authority: Authority,
    /// The roots to trust.
    pub(super) roots: Result<TrustBundle, SecretError>,
    /// What the webhook serves.
    pub(super) pair: Result<ServerPair, SecretError>,
}

/// A good state: what a replica serves and what the Secret should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The authority.
    pub(super) authority: Authority,
    /// The roots to trust, the authority's first.
    pub(super) roots: TrustBundle,
    /// What the webhook serves.
    pub(super) pair: ServerPair,
}

/// Why a part of the Secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// A key is missing.
    #[error("the key {key} is missing")]
    Missing {
        /// Its name.
        key: &'static str,
    },
    /// The authority.
    #[error("{CA_CERT_KEY} and {CA_PRIVATE_KEY} are no authority")]
    Authority(#[source] AuthorityError),
    /// The roots.
    #[error("{ROOT_CERT_KEY} is no trust bundle")]
    Roots(#[source] BundleError),
    /// The roots leave out the authority itself.
    #[error("{ROOT_CERT_KEY} does not hold the certificate of {CA_CERT_KEY}")]
    RootMissing,
    /// The serving pair.
    #[error("{TLS_CERT_KEY} and {TLS_PRIVATE_KEY} are no serving pair")]
    Pair(#[source] PairError),
}

// === impl Stored ===

impl Stored {
    /// Reads a Secret.
    pub(super) fn read(secret: Option<&Secret>) -> Self {
        match secret.map(Held::read) {
            None => Self::Absent,
            Some(Ok(held)) => Self::Held(Box::new(held)),
            Some(Err(error)) => Self::Unreadable(error),
        }
    }

    /// Whether it holds just this.
    pub(super) fn holds(&self, state: &State) -> bool {
        let Self::Held(held) = self else {
            return false;
        };
        held.authority == state.authority
            && matches!(&held.roots, Ok(roots) if *roots == state.roots)
            && matches!(&held.pair, Ok(pair) if *pair == state.pair)
    }
}

// === impl Held ===

impl Held {
    fn read(secret: &Secret) -> Result<Self, SecretError> {
        let empty = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&empty);
        let text = |key| {
            data.get(key)
                .map(|value| value.0.as_slice())
                .ok_or(SecretError::Missing { key })
        };
        let authority = Authority::from_pem(text(CA_CERT_KEY)?, text(CA_PRIVATE_KEY)?)
            .map_err(SecretError::Authority)?;
        let roots = text(ROOT_CERT_KEY)
            .and_then(|pem| TrustBundle::from_pem(pem).map_err(SecretError::Roots))
            .and_then(|roots| {
                if roots.contains(authority.certificate()) {
                    Ok(roots)
                } else {
                    Err(SecretError::RootMissing)
                }
            });
        let pair = text(TLS_CERT_KEY)
            .and_then(|chain| Ok((chain, text(TLS_PRIVATE_KEY)?)))
            .and_then(|(chain, key)| ServerPair::from_pem(chain, key).map_err(SecretError::Pair));
        Ok(Self {
            authority,
            roots,
            pair,
        })
    }
}

// === impl State ===

impl State {
    /// All of what a Secret holds, if all of it can be used.
    pub(super) fn of(held: &Held) -> Option<Self> {
        Some(Self {
            authority: held.authority.clone(),
            roots: held.roots.as_ref().ok()?.clone(),
            pair: held.pair.as_ref().ok()?.clone(),
        })
    }

    /// A new Secret.
    pub(super) fn secret(&self, namespace: &str, owner: Option<OwnerReference>) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(CA_SECRET.to_owned()),
                namespace: Some(namespace.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some(CA_SECRET_TYPE.to_owned()),
            data: Some(self.data().collect()),
            ..Secret::default()
        }
    }

    /// `secret` with this in it; what else it holds stays, its version included, by which the API server tells a stale copy.
    pub(super) fn put_into(&self, secret: &Secret) -> Secret {
        let mut fresh = secret.clone();
        fresh.metadata.managed_fields = None;
        fresh.data.get_or_insert_default().extend(self.data());
        fresh
    }

    fn data(&self) -> impl Iterator<Item = (String, ByteString)> {
        [
            (CA_CERT_KEY, self.authority.certificate_pem()),
            (CA_PRIVATE_KEY, self.authority.key_pem()),
            (ROOT_CERT_KEY, self.roots.pem()),
            (TLS_CERT_KEY, self.pair.chain_pem()),
            (TLS_PRIVATE_KEY, self.pair.key_pem()),
        ]
        .map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())))
        .into_iter()
    }
}

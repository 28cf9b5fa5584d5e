//! The Secret's contents, read and written.
//!
//! [`Stored`] is what a Secret of the cluster says, however damaged; [`State`] is what a replica serves, and writes so that the others
//! serve it too. Reading never fails as a whole for a part that can be made anew.

use std::collections::BTreeMap;

use contract::control_plane::{
    CA_CERT_KEY, CA_CHAIN_KEY, CA_PRIVATE_KEY, CA_ROOTS_KEY, CA_SECRET, CA_SECRET_TYPE,
    ROOT_CERT_KEY, TLS_CERT_KEY, TLS_PRIVATE_KEY,
};
use identity::{Authority, AuthorityError, BundleError, PairError, ServerPair, TrustBundle};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::rotation::{Origin, Rotation};

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
    /// What is to follow, or has followed.
    pub(super) rotation: Rotation,
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
    /// What is to follow, or has followed.
    pub(super) rotation: Rotation,
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
            && held.rotation == state.rotation
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
        let (certificate, key) = (text(CA_CERT_KEY)?, text(CA_PRIVATE_KEY)?);
        let authority = match text(CA_ROOTS_KEY) {
            Ok(roots) => {
                let chain = text(CA_CHAIN_KEY).unwrap_or_default();
                Authority::from_chain(certificate, key, chain, roots)
            }
            Err(_) => Authority::from_pem(certificate, key),
        };
        let authority = authority.map_err(SecretError::Authority)?;
        let roots = text(ROOT_CERT_KEY)
            .and_then(|pem| TrustBundle::from_pem(pem).map_err(SecretError::Roots))
            .and_then(|roots| {
                if roots.holds(authority.roots()) {
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
            rotation: Rotation::read(secret),
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
            rotation: held.rotation.clone(),
        })
    }

    /// A new Secret.
    pub(super) fn secret(&self, namespace: &str, owner: Option<OwnerReference>) -> Secret {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(CA_SECRET.to_owned()),
                namespace: Some(namespace.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some(CA_SECRET_TYPE.to_owned()),
            ..Secret::default()
        };
        self.put_into(&secret)
    }

    /// `secret` with this in it; what else it holds stays, its version included, by which the API server tells a stale copy.
    pub(super) fn put_into(&self, secret: &Secret) -> Secret {
        let mut fresh = secret.clone();
        fresh.metadata.managed_fields = None;
        let data = fresh.data.get_or_insert_default();
        for (key, text) in self.data().into_iter().chain(self.rotation.data()) {
            match text {
                Some(text) => data.insert(key.to_owned(), ByteString(text.into_bytes())),
                None => data.remove(key),
            };
        }
        self.rotation.annotate(&mut fresh.metadata);
        fresh
    }

    /// Every key that an authority may have, and what it is to hold.
    fn data(&self) -> [(&'static str, Option<String>); 7] {
        let is_given = self.rotation.origin == Origin::Given;
        let given = |text: String| is_given.then_some(text);
        [
            (
                CA_CERT_KEY,
                Some(self.authority.certificate_pem().to_owned()),
            ),
            (CA_PRIVATE_KEY, Some(self.authority.key_pem().to_owned())),
            (CA_CHAIN_KEY, given(self.authority.chain_pem().collect())),
            (CA_ROOTS_KEY, given(self.authority.roots().pem().to_owned())),
            (ROOT_CERT_KEY, Some(self.roots.pem().to_owned())),
            (TLS_CERT_KEY, Some(self.pair.chain_pem().to_owned())),
            (TLS_PRIVATE_KEY, Some(self.pair.key_pem().to_owned())),
        ]
    }
}

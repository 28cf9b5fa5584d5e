//! The Secret `istio.ACCOUNT`: what it holds, whose it is, and what is known of it afterwards.
//!
//! Read by the part's watch and written by its tasks. What is kept in memory of a Secret is when it is to be renewed and what it was made with, never
//! a key. A Secret is ours if its type and its annotation say so; anybody else's of the same name is left alone.

use std::collections::BTreeMap;

use contract::{
    control_plane::{ACCOUNT_SECRET_PREFIX, ACCOUNT_SECRET_TYPE, SERVICE_ACCOUNT_NAME},
    paths::{CERT_CHAIN_FILE, KEY_FILE, ROOT_CERT_FILE},
};
use identity::{Authority, IssueError, SpiffeId, spiffe, validity::Validity};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource as _;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use time::{Duration, OffsetDateTime};

/// The longest name of an object of this kind.
const MAX_NAME: usize = 253;

/// A service account: `NAMESPACE/NAME`, and the id of this very one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
    pub(super) uid: Box<str>,
}

/// What is known of a Secret that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The id of the account that owns it.
    pub(super) owner: Box<str>,
    /// Whom its certificate names.
    pub(super) id: Box<str>,
    /// Its roots.
    pub(super) roots: u64,
    /// When it is to be renewed.
    pub(super) renew_at: OffsetDateTime,
}

/// What is to be signed for an account, and by what.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) id: SpiffeId,
    pub(super) lifetime: Duration,
}

// === impl Account ===

impl Account {
    /// What it is known by here.
    pub(super) fn key(&self) -> Box<str> {
        format!("{}/{}", self.namespace, self.name).into()
    }

    /// The name of its Secret, if there can be one.
    pub(super) fn secret(&self) -> Option<String> {
        let name = format!("{ACCOUNT_SECRET_PREFIX}{}", self.name);
        (name.len() <= MAX_NAME).then_some(name)
    }

    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default().into();
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
        }
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: ServiceAccount::api_version(&()).into_owned(),
            kind: ServiceAccount::kind(&()).into_owned(),
            name: self.name.clone().into(),
            uid: self.uid.clone().into(),
            ..OwnerReference::default()
        }
    }
}

// === impl Held ===

impl Held {
    /// What is known of a Secret that holds nothing.
    pub(super) fn nothing() -> Self {
        Self {
            owner: Box::default(),
            id: Box::default(),
            roots: 0,
            renew_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    /// What is known of `secret`, and the key of its account; nothing if it is not ours. One of ours that holds nonsense is to be renewed at once.
    pub(super) fn of(secret: &Secret) -> Option<(Box<str>, Self)> {
        let account = account_of(secret)?;
        let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
        let text = |key| Some(secret.data.as_ref()?.get(key)?.0.as_slice());
        let leaf = text(CERT_CHAIN_FILE).and_then(|pem| CertificateDer::from_pem_slice(pem).ok());
        let id = leaf.as_ref().and_then(|leaf| spiffe::of(leaf).ok());
        let validity = leaf.as_ref().and_then(|leaf| Validity::of(leaf).ok());
        let has_key = text(KEY_FILE).is_some_and(|key| !key.is_empty());
        let owners = secret.metadata.owner_references.iter().flatten();
        let mut owners = owners.filter(|owner| owner.kind == ServiceAccount::kind(&()));
        let held = Self {
            owner: owners
                .next()
                .map(|owner| owner.uid.clone())
                .unwrap_or_default()
                .into(),
            id: id.map(|id| id.as_str().into()).unwrap_or_default(),
            roots: text(ROOT_CERT_FILE).map(super::hash).unwrap_or_default(),
            renew_at: validity
                .filter(|_| has_key)
                .map_or(OffsetDateTime::UNIX_EPOCH, |validity| validity.half_life()),
        };
        Some((format!("{namespace}/{account}").into(), held))
    }
}

/// The service account whose Secret this is, if it is one of ours.
pub(super) fn account_of(secret: &Secret) -> Option<&str> {
    if secret.type_.as_deref() != Some(ACCOUNT_SECRET_TYPE) {
        return None;
    }
    let account = secret
        .metadata
        .annotations
        .as_ref()?
        .get(SERVICE_ACCOUNT_NAME)?;
    let name = secret.metadata.name.as_deref()?;
    (name.strip_prefix(ACCOUNT_SECRET_PREFIX) == Some(account.as_str())).then_some(account)
}

// === impl Wanted ===

impl Wanted {
    /// Signs a new certificate for a new key, and puts both and the `roots` into `secret`.
    pub(super) fn put_into(
        &self,
        secret: &mut Secret,
        account: &Account,
        (authority, roots): (&Authority, &str),
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        let (leaf, key) = authority.issue_pair(&self.id, self.lifetime, now)?;
        let mut chain = leaf.pem();
        chain.extend(authority.chain_pem());
        let data = secret.data.get_or_insert_default();
        for (name, text) in [
            (CERT_CHAIN_FILE, chain.as_bytes()),
            (KEY_FILE, key.as_bytes()),
            (ROOT_CERT_FILE, roots.as_bytes()),
        ] {
            data.insert(name.to_owned(), ByteString(text.to_vec()));
        }
        secret.metadata.managed_fields = None;
        // An owner of the same name that is gone would have the Secret collected.
        let owners = secret.metadata.owner_references.get_or_insert_default();
        crate::cluster::owner::adopt(owners, &account.owner());
        Ok(())
    }
}

/// A Secret for `account` without anything in it.
pub(super) fn fresh(account: &Account, name: String) -> Secret {
    let annotation = (SERVICE_ACCOUNT_NAME.to_owned(), account.name.clone().into());
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some(BTreeMap::from([annotation])),
            ..ObjectMeta::default()
        },
        type_: Some(ACCOUNT_SECRET_TYPE.to_owned()),
        ..Secret::default()
    }
}

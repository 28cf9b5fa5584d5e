//! Who owns what the injector creates: the chart's ClusterRole.
//!
//! Asked before every write. With the owner gone the garbage collector removes everything in every namespace, so uninstalling needs no
//! hook. Other owners are left in place: two revisions may share an object, which then lives until the last of them is uninstalled.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::rbac::v1::ClusterRole, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client, Resource as _};
use tokio::{sync::Mutex, time::Instant};

use super::api::{ApiError, call};

/// For how long an answer is believed. A ClusterRole that was deleted and made again has another uid, and objects that name the old
/// one are collected; asking again before long ends that, and a burst of writes still asks only once.
const FRESH: Duration = Duration::from_secs(5);

/// The owner; clones share what is known of it.
#[derive(Clone)]
pub struct Owner(Option<Arc<Known>>);

struct Known {
    name: String,
    roles: Api<ClusterRole>,
    seen: Mutex<Option<(Instant, OwnerReference)>>,
}

/// Adds `wanted` to `owners`, in place of an entry for the same object under an older uid; says whether that changed anything.
pub fn adopt(owners: &mut Vec<OwnerReference>, wanted: &OwnerReference) -> bool {
    if owners.contains(wanted) {
        return false;
    }
    owners.retain(|owner| {
        (&owner.api_version, &owner.kind, &owner.name)
            != (&wanted.api_version, &wanted.kind, &wanted.name)
    });
    owners.push(wanted.clone());
    true
}

// === impl Owner ===

impl Owner {
    /// The ClusterRole `name`; without a name what is created has no owner.
    #[must_use]
    pub fn new(client: &Client, name: Option<String>) -> Self {
        Self(name.map(|name| {
            Arc::new(Known {
                name,
                roles: Api::all(client.clone()),
                seen: Mutex::default(),
            })
        }))
    }

    /// The reference to write; `None` if there is to be none.
    ///
    /// # Errors
    /// When the ClusterRole is not there or cannot be read. Dropping the future loses nothing.
    pub async fn reference(&self) -> Result<Option<OwnerReference>, ApiError> {
        let Some(known) = &self.0 else {
            return Ok(None);
        };
        let mut seen = known.seen.lock().await;
        if let Some((at, reference)) = &*seen
            && at.elapsed() < FRESH
        {
            return Ok(Some(reference.clone()));
        }
        let role = call(
            format!("get ClusterRole {} (--owner-cluster-role)", known.name),
            known.roles.get_metadata(&known.name),
        )
        .await?;
        let reference = OwnerReference {
            api_version: ClusterRole::api_version(&()).into_owned(),
            kind: ClusterRole::kind(&()).into_owned(),
            name: known.name.clone(),
            uid: role.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        };
        *seen = Some((Instant::now(), reference.clone()));
        Ok(Some(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn an_owner_is_added_once_and_replaces_its_former_self_only() {
        let mut owners = vec![owner("other", "1")];
        assert!(adopt(&mut owners, &owner("ours", "2")));
        assert!(!adopt(&mut owners, &owner("ours", "2")));
        assert!(adopt(&mut owners, &owner("ours", "3")));
        assert_eq!(owners, [owner("other", "1"), owner("ours", "3")]);
    }
}

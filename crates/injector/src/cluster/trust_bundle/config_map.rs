//! Writing the trust bundle into one namespace.
//!
//! Started by the publisher for each namespace that needs it; [`amend`] decides what a ConfigMap that is there lacks. A write that races with
//! another replica's is refused by the API server and looked at again, so neither undoes the other's.

use std::{collections::BTreeMap, sync::Arc};

use contract::{control_plane::ROOT_CERT_KEY, pod::ROOT_CERT_CONFIG_MAP};
use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, api::PostParams};

use super::ledger::Print;
use crate::cluster::{
    Context,
    api::{ApiError, Kind, call},
    owner::adopt,
};

/// Istio's mark on the ConfigMaps of its control plane.
const MARK: (&str, &str) = ("istio.io/config", "true");

/// What became of a namespace.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) name: Box<str>,
    pub(super) outcome: Outcome,
    /// It failed before the namespace was asked for.
    pub(super) owner_unknown: bool,
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The namespace has this now.
    Written(Print),
    /// There is no such namespace, or not for long.
    Gone,
    /// Somebody else wrote at the same time.
    Again,
    /// It is not written.
    Failed(ApiError),
}

/// Gives the namespace `name` the bundle; `absent` says that it has no ConfigMap as far as known.
pub(super) async fn write(
    context: Context,
    name: Box<str>,
    bundle: Arc<str>,
    absent: bool,
) -> Write {
    let (outcome, owner_unknown) = match context.owner.reference().await {
        Ok(owner) => {
            let api = Api::namespaced(context.client.clone(), &name);
            (
                put(&api, &name, &bundle, owner.as_ref(), absent).await,
                false,
            )
        }
        Err(error) => (Outcome::Failed(error), true),
    };
    Write {
        name,
        outcome,
        owner_unknown,
    }
}

async fn put(
    api: &Api<ConfigMap>,
    name: &str,
    bundle: &str,
    owner: Option<&OwnerReference>,
    absent: bool,
) -> Outcome {
    let object = format!("ConfigMap {name}/{ROOT_CERT_CONFIG_MAP}");
    let params = PostParams::default();
    let print = Print::wanted(bundle, owner);
    let written = if absent {
        let new = fresh(bundle, owner);
        call(format!("create {object}"), api.create(&params, &new)).await
    } else {
        let doing = format!("get {object}");
        match call(doing, api.get_opt(ROOT_CERT_CONFIG_MAP)).await {
            Ok(Some(mut found)) => {
                if !amend(&mut found, bundle, owner) {
                    return Outcome::Written(print);
                }
                let request = api.replace(ROOT_CERT_CONFIG_MAP, &params, &found);
                call(format!("update {object}"), request).await
            }
            Ok(None) => {
                let new = fresh(bundle, owner);
                call(format!("create {object}"), api.create(&params, &new)).await
            }
            Err(error) => Err(error),
        }
    };
    match written {
        Ok(_) => Outcome::Written(print),
        Err(error) if error.is_terminating() => Outcome::Gone,
        Err(error) => match error.kind() {
            // Creating: the namespace is gone; replacing: the ConfigMap is. The watches tell.
            Kind::NotFound => Outcome::Gone,
            Kind::Conflict => Outcome::Again,
            _ => Outcome::Failed(error),
        },
    }
}

fn fresh(bundle: &str, owner: Option<&OwnerReference>) -> ConfigMap {
    let mut object = ConfigMap {
        metadata: ObjectMeta {
            name: Some(ROOT_CERT_CONFIG_MAP.to_owned()),
            labels: Some(BTreeMap::from([(MARK.0.to_owned(), MARK.1.to_owned())])),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    amend(&mut object, bundle, owner);
    object
}

/// Gives `object` what it lacks; says whether it lacked anything. Keys, labels and owners of others stay as they are.
fn amend(object: &mut ConfigMap, bundle: &str, owner: Option<&OwnerReference>) -> bool {
    let before = Print::of(object);
    let data = object.data.get_or_insert_default();
    if data.get(ROOT_CERT_KEY).map(String::as_str) != Some(bundle) {
        data.insert(ROOT_CERT_KEY.to_owned(), bundle.to_owned());
    }
    // The same key must not be in both.
    if let Some(binary) = &mut object.binary_data {
        binary.remove(ROOT_CERT_KEY);
    }
    if let Some(owner) = owner {
        let owners = object.metadata.owner_references.get_or_insert_default();
        adopt(owners, owner);
    }
    !before.has(&Print::wanted(bundle, owner))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: Value) -> ConfigMap {
        serde_json::from_value(value).expect("a ConfigMap")
    }

    fn owner() -> OwnerReference {
        OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: "injector-istio-system".to_owned(),
            uid: "1".to_owned(),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn what_others_wrote_stays() {
        let mut found = object(json!({
            "metadata": {
                "labels": {"theirs": "1"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "9"}],
            },
            "data": {"root-cert.pem": "edited", "theirs": "1"},
        }));
        assert!(amend(&mut found, "roots", Some(&owner())));
        let data = found.data.clone().unwrap();
        assert_eq!(data["root-cert.pem"], "roots");
        assert_eq!(data["theirs"], "1");
        let owners = found.metadata.owner_references.clone().unwrap();
        assert_eq!(owners.len(), 2);
        assert!(owners.contains(&owner()));
        assert!(!amend(&mut found, "roots", Some(&owner())));
    }

    #[test]
    fn a_binary_value_gives_way() {
        let mut found = object(json!({"binaryData": {"root-cert.pem": "AAAA"}}));
        assert!(amend(&mut found, "roots", None));
        assert!(found.binary_data.unwrap().is_empty());
    }

    #[test]
    fn a_fresh_one_has_everything() {
        let mut fresh = fresh("roots", Some(&owner()));
        assert!(!amend(&mut fresh, "roots", Some(&owner())));
        assert_eq!(fresh.metadata.labels.unwrap()["istio.io/config"], "true");
    }
}

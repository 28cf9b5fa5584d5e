//! Writing what is published into one namespace.
//!
//! Started by the publisher for each namespace that needs it; [`Wanted::amend`] decides what a ConfigMap that is there lacks. A write that races with
//! another replica's is refused by the API server and looked at again, so neither undoes the other's.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, api::PostParams};

use super::{Publication, ledger::Print};
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

/// What the ConfigMap of a namespace is to hold.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    publication: &'a Publication,
    /// Empty if there is nothing to be published: then a ConfigMap that is there loses its key.
    text: &'a str,
    owner: Option<&'a OwnerReference>,
}

/// Gives the namespace `name` the text; `absent` says that it has no ConfigMap as far as known.
pub(super) async fn write(
    context: Context,
    publication: Publication,
    name: Box<str>,
    text: Arc<str>,
    absent: bool,
) -> Write {
    let (outcome, owner_unknown) = match context.owner.reference().await {
        Ok(owner) => {
            let api = Api::namespaced(context.client.clone(), &name);
            let wanted = Wanted {
                publication: &publication,
                text: &text,
                owner: owner.as_ref(),
            };
            (put(&api, &name, wanted, absent).await, false)
        }
        Err(error) => (Outcome::Failed(error), true),
    };
    Write {
        name,
        outcome,
        owner_unknown,
    }
}

async fn put(api: &Api<ConfigMap>, name: &str, wanted: Wanted<'_>, absent: bool) -> Outcome {
    let config_map = wanted.publication.config_map;
    let object = format!("ConfigMap {name}/{config_map}");
    let params = PostParams::default();
    let print = wanted.print();
    let found = if absent {
        Ok(None)
    } else {
        call(format!("get {object}"), api.get_opt(config_map)).await
    };
    let written = match found {
        Ok(Some(mut found)) => {
            if !wanted.amend(&mut found) {
                return Outcome::Written(print);
            }
            let request = api.replace(config_map, &params, &found);
            call(format!("update {object}"), request).await
        }
        Ok(None) if wanted.text.is_empty() => return Outcome::Gone,
        Ok(None) => {
            let new = wanted.fresh();
            call(format!("create {object}"), api.create(&params, &new)).await
        }
        Err(error) => Err(error),
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

// === impl Wanted ===

impl Wanted<'_> {
    fn print(&self) -> Print {
        Print::wanted(self.text, self.owner)
    }

    fn fresh(&self) -> ConfigMap {
        let mut object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.publication.config_map.to_owned()),
                labels: Some(BTreeMap::from([(MARK.0.to_owned(), MARK.1.to_owned())])),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        self.amend(&mut object);
        object
    }

    /// Gives `object` what it lacks; says whether it lacked anything. Keys, labels and owners of others stay as they are.
    fn amend(&self, object: &mut ConfigMap) -> bool {
        let key = self.publication.key;
        let before = Print::of(object, key);
        let data = object.data.get_or_insert_default();
        if self.text.is_empty() {
            data.remove(key);
        } else if data.get(key).map(String::as_str) != Some(self.text) {
            data.insert(key.to_owned(), self.text.to_owned());
        }
        // The same key must not be in both.
        if let Some(binary) = &mut object.binary_data {
            binary.remove(key);
        }
        if let Some(owner) = self.owner.filter(|_| !self.text.is_empty()) {
            let owners = object.metadata.owner_references.get_or_insert_default();
            adopt(owners, owner);
        }
        !before.has(&self.print())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::publication::{REVOCATIONS, ROOTS},
        *,
    };

    fn amend(object: &mut ConfigMap, text: &str, owner: Option<&OwnerReference>) -> bool {
        wanted(&ROOTS, text, owner).amend(object)
    }

    fn wanted<'a>(
        publication: &'a Publication,
        text: &'a str,
        owner: Option<&'a OwnerReference>,
    ) -> Wanted<'a> {
        Wanted {
            publication,
            text,
            owner,
        }
    }

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
        let owner = owner();
        let mut fresh = wanted(&ROOTS, "roots", Some(&owner)).fresh();
        assert!(!amend(&mut fresh, "roots", Some(&owner)));
        assert_eq!(fresh.metadata.labels.unwrap()["istio.io/config"], "true");
    }

    #[test]
    fn where_nothing_is_published_the_key_goes_and_the_rest_stays() {
        let mut found = object(json!({"data": {"ca-crl.pem": "lists", "theirs": "1"}}));
        let owner = owner();
        let nothing = wanted(&REVOCATIONS, "", Some(&owner));
        assert!(nothing.amend(&mut found));
        assert_eq!(
            found.data.clone().unwrap().keys().collect::<Vec<_>>(),
            ["theirs"]
        );
        assert_eq!(found.metadata.owner_references, None);
        assert!(!nothing.amend(&mut found));
    }
}

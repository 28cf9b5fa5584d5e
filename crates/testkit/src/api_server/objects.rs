//! What the stand-in holds: objects with versions, what has changed since, and whose tokens are.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::request::Target;

/// Group, resource, namespace (empty if it has none), name.
pub(super) type Key = (String, String, String, String);

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    users: HashMap<String, Value>,
}

/// What has become of an object. Its version is its place in the list.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) kind: &'static str,
    pub(super) key: Key,
    pub(super) object: Value,
}

/// The version of a server that nothing was put into.
const FIRST_VERSION: u64 = 1;

// === impl Objects ===

impl Objects {
    pub(super) fn version(&self) -> u64 {
        FIRST_VERSION + self.changes.len() as u64
    }

    pub(super) fn put(&mut self, resource: &str, mut object: Value) {
        let key = key(resource, &object);
        let before = self.objects.get(&key);
        let kind = match before {
            Some(_) => "MODIFIED",
            None => "ADDED",
        };
        let version = (self.version() + 1).to_string();
        let metadata = &mut object["metadata"];
        let uid = before.map(|before| before["metadata"]["uid"].clone());
        metadata["uid"] = uid.unwrap_or_else(|| json!(format!("uid-{version}")));
        metadata["resourceVersion"] = json!(version);
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
        }
        self.changes.push(Change {
            kind,
            key: key.clone(),
            object: object.clone(),
        });
        self.objects.insert(key, object);
    }

    pub(super) fn delete(&mut self, resource: &str, namespace: &str, name: &str) {
        let key = self
            .objects
            .keys()
            .find(|key| key.1 == resource && key.2 == namespace && key.3 == name);
        let Some((key, mut object)) = key.cloned().and_then(|key| self.objects.remove_entry(&key))
        else {
            return;
        };
        object["metadata"]["resourceVersion"] = json!((self.version() + 1).to_string());
        self.changes.push(Change {
            kind: "DELETED",
            key,
            object,
        });
    }

    pub(super) fn get(&self, target: &Target, name: &str) -> Option<&Value> {
        let mut of_target = self.objects.iter().filter(|(key, _)| target.is_of(key));
        of_target
            .find(|(key, _)| key.3 == name)
            .map(|(_, object)| object)
    }

    pub(super) fn list(&self, target: &Target) -> impl Iterator<Item = &Value> {
        let of_target = self.objects.iter().filter(|(key, _)| target.is_of(key));
        of_target.map(|(_, object)| object)
    }

    pub(super) fn changes_since(&self, version: u64) -> impl Iterator<Item = &Change> {
        let told = version.saturating_sub(FIRST_VERSION);
        let told = usize::try_from(told).unwrap_or(usize::MAX);
        self.changes.get(told..).into_iter().flatten()
    }

    /// Something without contents that says the version of the moment; nothing where it is not known of what kind it would be.
    pub(super) fn bookmark(&self, target: &Target) -> Option<Value> {
        let example = self.list(target).next()?;
        Some(json!({
            "apiVersion": example["apiVersion"],
            "kind": example["kind"],
            "metadata": {"resourceVersion": self.version().to_string(), "creationTimestamp": null},
        }))
    }

    pub(super) fn know(&mut self, token: &str, user: Value) {
        self.users.insert(token.to_owned(), user);
    }

    /// The answer to a TokenReview.
    pub(super) fn review(&self, review: &Value) -> Value {
        let token = review["spec"]["token"].as_str().unwrap_or_default();
        let status = match self.users.get(token) {
            Some(user) => json!({
                "authenticated": true,
                "user": user,
                "audiences": review["spec"]["audiences"],
            }),
            None => json!({"authenticated": false, "error": "invalid bearer token"}),
        };
        let mut answer = review.clone();
        answer["status"] = status;
        answer
    }
}

fn key(resource: &str, object: &Value) -> Key {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let text = |field: &str| {
        let value = object["metadata"][field].as_str();
        value.unwrap_or_default().to_owned()
    };
    (
        group.to_owned(),
        resource.to_owned(),
        text("namespace"),
        text("name"),
    )
}

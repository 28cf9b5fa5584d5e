//! PeerAuthentication as the API server holds it.
//!
//! The spec stays JSON, so that whatever stands in an object can be read, judged and complained of by field; no object can stop a list or a
//! watch of the others. Read by the `follower` and by the webhook.

use std::borrow::Cow;

use contract::{
    labels::REVISION,
    policy::{GROUP, PEER_AUTHENTICATION, PEER_AUTHENTICATIONS, VERSION},
};
use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The object.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Object {
    /// Name, namespace, age and generation.
    pub metadata: ObjectMeta,
    /// What the user says.
    pub spec: Value,
    /// What is said to the user, by whoever has something to say.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub status: Value,
}

// === impl Object ===

impl Object {
    /// `NAMESPACE/NAME`, for messages and as a key.
    #[must_use]
    pub fn key(&self) -> String {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!(
            "{}/{}",
            part(&self.metadata.namespace),
            part(&self.metadata.name)
        )
    }

    /// Whether it is for the control plane of `revision`, a label's value; an object that names none is for all.
    #[must_use]
    pub fn is_of(&self, revision: &str) -> bool {
        let labels = self.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(REVISION))
            .is_none_or(|own| own == revision)
    }

    /// The conditions as they are; what is no condition stays out.
    #[must_use]
    pub fn conditions(&self) -> Vec<Value> {
        let conditions = self.status.get("conditions").and_then(Value::as_array);
        conditions.cloned().unwrap_or_default()
    }

    /// The condition of type `kind`, if there is one that makes sense.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<Condition> {
        let mut conditions = self.status.get("conditions")?.as_array()?.iter();
        let found = conditions.find(|condition| has_type(condition, kind))?;
        serde_json::from_value(found.clone()).ok()
    }
}

/// Whether `condition` is of type `kind`.
pub(super) fn has_type(condition: &Value, kind: &str) -> bool {
    condition.get("type").and_then(Value::as_str) == Some(kind)
}

impl Resource for Object {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        PEER_AUTHENTICATION.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        PEER_AUTHENTICATIONS.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

//! The policies that one client is sent: those that select its own pod.
//!
//! Looked at with every request and change, and made anew only if the policies or the pod's labels are others than the last time. As long as the
//! cluster has not told of the pod, which it does a moment after the pod was made, what the client says of its own labels counts: it is the one who acts on it.

use std::sync::Arc;

use prost::Message as _;

use crate::discovery::{
    client::Client,
    inbound::concerning,
    model::{Model, version},
    object::Labels,
    store::Resource,
};
use crate::policy::Policies;

/// A client's pod, and what holds for it.
pub(super) struct Own {
    client: Client,
    made_of: Option<(Arc<Policies>, Labels)>,
    policies: Vec<Resource>,
}

// === impl Own ===

impl Own {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            made_of: None,
            policies: Vec::new(),
        }
    }

    /// Brings the policies up to date.
    pub(super) fn refresh(&mut self, model: &Model) {
        let policies = model.policies();
        let labels = model.labels(&self.client.pod);
        let labels = labels.unwrap_or(&self.client.told_labels);
        let is_current = self.made_of.as_ref().is_some_and(|(known, same)| {
            Arc::ptr_eq(known, policies) && (Arc::ptr_eq(same, labels) || same == labels)
        });
        if is_current {
            return;
        }
        let concerned = concerning(policies, &self.client.pod.namespace, labels);
        self.policies = concerned
            .iter()
            .map(|policy| {
                let value = policy.encode_to_vec();
                Resource {
                    name: format!("{}/{}", policy.namespace, policy.name).into(),
                    version: version(&value),
                    value: value.into(),
                    addresses: Box::default(),
                    services: Box::default(),
                }
            })
            .collect();
        self.made_of = Some((Arc::clone(policies), Arc::clone(labels)));
    }

    pub(super) fn policies(&self) -> &[Resource] {
        &self.policies
    }
}

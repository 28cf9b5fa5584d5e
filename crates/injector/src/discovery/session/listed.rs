//! What a client is told of a type of which there are few resources, or none.
//!
//! Such types are always served whole, whatever names are asked for; what the client has is remembered by version, and the difference is sent.

use std::collections::{HashMap, HashSet};

use wire::discovery::DeltaDiscoveryRequest;

use super::{Body, WILDCARD};
use crate::discovery::store::Resource;

/// What the client has.
#[derive(Debug)]
pub(super) struct Listed {
    /// Versions by name.
    held: HashMap<String, String>,
    /// Names that were asked for and are to be answered, there or not.
    asked: HashSet<String>,
    answered: bool,
}

// === impl Listed ===

impl Listed {
    pub(super) fn begin(request: DeltaDiscoveryRequest) -> Self {
        let mut listed = Self {
            held: request.initial_resource_versions.into_iter().collect(),
            asked: HashSet::new(),
            answered: false,
        };
        let names = request.resource_names_subscribe.into_iter();
        let held = &listed.held;
        listed.asked = names
            .filter(|name| name != WILDCARD && !held.contains_key(name))
            .collect();
        listed
    }

    pub(super) fn update(&mut self, subscribe: Vec<String>) {
        for name in subscribe.into_iter().filter(|name| name != WILDCARD) {
            // Whoever asks again wants it again.
            self.held.remove(&name);
            self.asked.insert(name);
        }
    }

    pub(super) fn next(&mut self, current: &[Resource], type_url: &str) -> Option<Body> {
        let mut body = Body::default();
        let mut held = HashMap::with_capacity(current.len());
        for resource in current {
            let version = resource.version_text();
            self.asked.remove(&*resource.name);
            if self.held.remove(&*resource.name).as_ref() != Some(&version) {
                body.put(resource, type_url, Vec::new());
            }
            held.insert(resource.name.to_string(), version);
        }
        let gone = self.held.drain().map(|(name, _)| name);
        for name in gone.chain(self.asked.drain()) {
            body.remove(&name);
        }
        self.held = held;
        let says_nothing = body.resources.is_empty() && body.removed.is_empty();
        if self.answered && says_nothing {
            return None;
        }
        self.answered = true;
        Some(body)
    }
}

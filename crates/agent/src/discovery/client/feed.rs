//! The resources of one type, and how far the stream of the moment has come with them.
//!
//! [`Client`](super::Client) has one for each type and asks it for the next request. A request either opens the type, or acknowledges, or
//! changes what is subscribed to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::{discovery::DeltaDiscoveryRequest, rpc};

use super::{Held, Kind};

/// The resources of one type, and how far the stream of the moment has come with them.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) kind: Kind,
    /// What is wanted; nothing stands for everything that there is.
    pub(super) names: Option<BTreeSet<String>>,
    pub(super) resources: BTreeMap<Box<str>, Held>,
    pub(super) is_open: bool,
    pub(super) is_answered: bool,
    subscribe: BTreeSet<String>,
    pub(super) unsubscribe: BTreeSet<String>,
    pub(super) owed: VecDeque<Owed>,
}

/// An acknowledgement that is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) nonce: String,
    pub(super) refusal: Option<String>,
}

/// Stands for everything that there is.
const WILDCARD: &str = "*";
/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;
/// Names in one request, at most 256 KB.
const NAMES_PER_REQUEST: usize = 1000;

// === impl Feed ===

impl Feed {
    pub(super) fn new(kind: Kind, names: Option<BTreeSet<String>>) -> Self {
        Self {
            kind,
            names,
            resources: BTreeMap::new(),
            is_open: false,
            is_answered: false,
            subscribe: BTreeSet::new(),
            unsubscribe: BTreeSet::new(),
            owed: VecDeque::new(),
        }
    }

    pub(super) fn restart(&mut self) {
        self.is_open = false;
        self.is_answered = false;
        self.subscribe.clear();
        self.unsubscribe.clear();
        self.owed.clear();
    }

    pub(super) fn subscribe(&mut self, name: &str) {
        let Some(names) = &mut self.names else {
            return;
        };
        if names.insert(name.to_owned()) && self.is_open {
            self.subscribe.insert(name.to_owned());
        }
    }

    pub(super) fn unsubscribe(&mut self, name: &str) {
        let Some(names) = &mut self.names else {
            return;
        };
        if names.remove(name) && self.is_open && !self.subscribe.remove(name) {
            self.unsubscribe.insert(name.to_owned());
        }
    }

    pub(super) fn next_request(&mut self) -> Option<DeltaDiscoveryRequest> {
        if !self.is_open {
            self.is_open = true;
            return Some(self.first_request());
        }
        let mut request = self.request();
        if let Some(owed) = self.owed.pop_front() {
            request.response_nonce = owed.nonce;
            request.error_detail = owed.refusal.map(|message| rpc::Status {
                code: INVALID_ARGUMENT,
                message,
                ..Default::default()
            });
            return Some(request);
        }
        if !self.unsubscribe.is_empty() {
            request.resource_names_subscribe.extend(self.anchor());
            request.resource_names_unsubscribe = take_some(&mut self.unsubscribe);
            return Some(request);
        }
        if !self.subscribe.is_empty() {
            request.resource_names_subscribe = take_some(&mut self.subscribe);
            return Some(request);
        }
        None
    }

    /// A name to subscribe to together with names that are let go of: istiod answers a request that subscribes to nothing as if everything
    /// had been removed. It is one that is wanted anyway, or else one that is let go of to be asked for again right afterwards.
    fn anchor(&self) -> Option<String> {
        let mut names = self.names.iter().flatten();
        let kept = names.find(|name| !self.subscribe.contains(*name));
        let mut again = self.unsubscribe.intersection(&self.subscribe);
        kept.or_else(|| again.next()).cloned()
    }

    /// The request that opens the type on a stream. More names than fit follow in others.
    fn first_request(&mut self) -> DeltaDiscoveryRequest {
        let mut request = self.request();
        match &self.names {
            None => request.resource_names_subscribe = vec![WILDCARD.to_owned()],
            Some(names) if names.is_empty() => {
                // A first request without names would mean everything; so it means nothing, as ztunnel does it.
                request.resource_names_subscribe = vec![WILDCARD.to_owned()];
                request.resource_names_unsubscribe = vec![WILDCARD.to_owned()];
            }
            Some(names) => {
                self.subscribe.clone_from(names);
                request.resource_names_subscribe = take_some(&mut self.subscribe);
            }
        }
        let versions = self.resources.iter();
        request.initial_resource_versions = versions
            .map(|(name, held)| (name.to_string(), held.version.to_string()))
            .collect();
        request
    }

    fn request(&self) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: self.kind.type_url(),
            ..Default::default()
        }
    }
}

fn take_some(names: &mut BTreeSet<String>) -> Vec<String> {
    let mut some = Vec::new();
    while some.len() < NAMES_PER_REQUEST
        && let Some(name) = names.pop_first()
    {
        some.push(name);
    }
    some
}

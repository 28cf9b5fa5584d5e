//! The client's side of incremental discovery, without a connection.
//!
//! Whoever has a stream hands each response to [`Client::take`] and sends what [`Client::next_request`] gives until it gives nothing;
//! [`Client::restart`] begins a new stream, which resumes where the last one ended. Resources are kept as bytes with their versions:
//! those that pass a check replace the ones of their name, the others are refused by name while all the rest of the response is used.
//!
//! A subscription changes in requests of its own, without a nonce: istiod takes no change from a request that acknowledges
//! (`pilot/pkg/xds/delta.go`).

mod feed;
mod kind;

use std::collections::BTreeSet;

use wire::{
    core::Node,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource},
};

pub use kind::Kind;

use feed::{Feed, Owed};

/// A client of discovery and what it holds.
#[derive(Clone, Debug)]
pub struct Client {
    node: Node,
    /// Whether the stream of the moment knows who asks.
    is_introduced: bool,
    /// In the order of [`Kind::ALL`].
    feeds: [Feed; 3],
    n_bytes: usize,
    n_taken: u64,
}

/// A resource as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Differs when the contents do; empty if the control plane says none.
    pub version: Box<str>,
    /// The message, without its type.
    pub body: Box<[u8]>,
    /// The later of two came later.
    pub order: u64,
}

/// What became of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// What it was of.
    pub kind: Kind,
    /// Resources that were sent and are in use, with the other names that they may have been asked for by.
    pub used: Vec<(String, Vec<String>)>,
    /// Whether anything is other than before.
    pub is_changed: bool,
    /// Names that there is nothing of, whether there was before or not.
    pub removed: Vec<String>,
    /// Resources that were refused, with their other names.
    pub refused: Vec<(String, Vec<String>)>,
    /// Why, in the words of the negative acknowledgement.
    pub reason: Option<String>,
}

/// Says why a resource is refused: its kind, its name, its body.
pub type Check<'a> = dyn FnMut(Kind, &str, &[u8]) -> Result<(), String> + 'a;

/// A response of a type that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane sent resources of type {type_url:?}, which nobody asked for")]
pub struct Unasked {
    /// The type, shortened.
    pub type_url: String,
}

/// More than the longest name that Istio makes, of a cluster, a namespace and a host name of 253 bytes each.
const LONGEST_NAME: usize = 1024;
/// Far more than a hash.
const LONGEST_VERSION: usize = 128;
/// Pods and services of a mesh that one sidecar may be told of: the most of which a first request can say the versions within 4 MB.
const MOST_RESOURCES: usize = 30_000;
/// All resources together; five times what so many take.
const MOST_BYTES: usize = 48 << 20;
/// Refused resources that one acknowledgement tells of.
const SHOWN: usize = 3;
/// Longest part of a text of the control plane's that is shown.
const LONGEST_SHOWN: usize = 200;

// === impl Client ===

impl Client {
    /// A client that calls itself `node` and holds nothing. With `wildcard` it wants every address, else those it subscribes to.
    #[must_use]
    pub fn new(node: Node, wildcard: bool) -> Self {
        let names = (!wildcard).then(BTreeSet::new);
        Self {
            node,
            is_introduced: false,
            feeds: [
                Feed::new(Kind::Settings, None),
                Feed::new(Kind::PeerAuthentication, None),
                Feed::new(Kind::Address, names),
            ],
            n_bytes: 0,
            n_taken: 0,
        }
    }

    /// Puts a resource of an earlier life back, as if it had come on an earlier stream; refuses more than a server may send.
    pub fn restore(&mut self, kind: Kind, name: &str, version: &str, body: &[u8]) -> bool {
        let resource = Arrived {
            name,
            version,
            body,
        };
        self.check_bounds(kind, &resource)
            .map(|()| self.hold(kind, &resource))
            .is_ok()
    }

    /// Begins a new stream: everything is asked for again, with the versions of what is held.
    pub fn restart(&mut self) {
        self.is_introduced = false;
        for feed in &mut self.feeds {
            feed.restart();
        }
    }

    /// Wants the address called `name`, too. Nothing changes where every address is wanted.
    pub fn subscribe(&mut self, name: &str) {
        self.feed_mut(Kind::Address).subscribe(name);
    }

    /// No longer wants the address called `name`; what is held of it stays until it is forgotten.
    pub fn unsubscribe(&mut self, name: &str) {
        self.feed_mut(Kind::Address).unsubscribe(name);
    }

    /// Lets go of the address that was sent under `name`, and asks not to be told of it any more.
    pub fn forget(&mut self, name: &str) {
        self.drop_held(Kind::Address, name);
        let feed = self.feed_mut(Kind::Address);
        if feed.is_open && feed.names.is_some() {
            feed.unsubscribe.insert(name.to_owned());
        }
    }

    /// The next request to be sent, if there is any to send.
    pub fn next_request(&mut self) -> Option<DeltaDiscoveryRequest> {
        let mut request = self.feeds.iter_mut().find_map(Feed::next_request)?;
        if !self.is_introduced {
            self.is_introduced = true;
            request.node = Some(self.node.clone());
        }
        Some(request)
    }

    /// How many responses are not acknowledged yet; whoever reads them should stop before these are many.
    #[must_use]
    pub fn n_owed(&self) -> usize {
        self.feeds.iter().map(|feed| feed.owed.len()).sum()
    }

    /// Takes a response. `check` is asked about each new or changed resource and refuses it with the reason.
    ///
    /// # Errors
    /// When nobody asked for its type: then the server is not one to talk to.
    pub fn take(
        &mut self,
        response: DeltaDiscoveryResponse,
        check: &mut Check<'_>,
    ) -> Result<Taken, Unasked> {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.type_url() == response.type_url)
            .ok_or_else(|| Unasked {
                type_url: shown(&response.type_url),
            })?;
        let n_resources = response.resources.len();
        let mut taken = Taken {
            kind,
            used: Vec::new(),
            is_changed: false,
            removed: Vec::new(),
            refused: Vec::new(),
            reason: None,
        };
        let mut reasons = Vec::new();
        for resource in &response.resources {
            match self.take_resource(kind, resource, check) {
                Ok(is_changed) => {
                    taken.is_changed |= is_changed;
                    let names = (resource.name.clone(), resource.aliases.clone());
                    taken.used.push(names);
                }
                Err(reason) => {
                    if reasons.len() < SHOWN {
                        reasons.push(format!("{}: {reason}", shown(&resource.name)));
                    }
                    let names = (resource.name.clone(), resource.aliases.clone());
                    taken.refused.push(names);
                }
            }
        }
        for name in response.removed_resources {
            taken.is_changed |= self.drop_held(kind, &name);
            taken.removed.push(name);
        }
        let n_refused = taken.refused.len();
        taken.reason = (n_refused > 0).then(|| {
            let reasons = reasons.join("; ");
            format!(
                "{n_refused} of {n_resources} resources are refused, the others are used: {reasons}"
            )
        });
        let feed = self.feed_mut(kind);
        feed.is_answered = true;
        feed.owed.push_back(Owed {
            nonce: response.nonce,
            refusal: taken.reason.clone(),
        });
        Ok(taken)
    }

    /// What is held of `kind`, by name.
    pub fn resources(&self, kind: Kind) -> impl Iterator<Item = (&str, &Held)> {
        let resources = self.feed(kind).resources.iter();
        resources.map(|(name, held)| (&**name, held))
    }

    /// What is held under `name`.
    #[must_use]
    pub fn resource(&self, kind: Kind, name: &str) -> Option<&Held> {
        self.feed(kind).resources.get(name)
    }

    /// The names that are subscribed to; nothing where everything is wanted.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Option<&BTreeSet<String>> {
        self.feed(kind).names.as_ref()
    }

    /// Whether the stream of the moment has answered for `kind`.
    #[must_use]
    pub fn is_answered(&self, kind: Kind) -> bool {
        self.feed(kind).is_answered
    }

    /// Bytes of everything that is held, names and versions included.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Whether the resource is other than the one of its name that is held.
    fn take_resource(
        &mut self,
        kind: Kind,
        resource: &Resource,
        check: &mut Check<'_>,
    ) -> Result<bool, String> {
        let Some(any) = &resource.resource else {
            return Err("there is nothing in it".to_owned());
        };
        if any.type_url != kind.type_url() {
            return Err(format!("it is of type {:?}", shown(&any.type_url)));
        }
        let arrived = Arrived {
            name: &resource.name,
            version: &resource.version,
            body: &any.value,
        };
        self.check_bounds(kind, &arrived)?;
        let held = self.feed_mut(kind).resources.get_mut(arrived.name);
        if held.is_some_and(|held| *held.body == *arrived.body && *held.version == *arrived.version)
        {
            // Sent again because it was asked for again.
            return Ok(false);
        }
        check(kind, arrived.name, arrived.body)?;
        self.hold(kind, &arrived);
        Ok(true)
    }

    fn check_bounds(&self, kind: Kind, resource: &Arrived<'_>) -> Result<(), String> {
        if resource.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        if resource.name.len() > LONGEST_NAME {
            return Err(format!("its name is longer than {LONGEST_NAME} bytes"));
        }
        if resource.version.len() > LONGEST_VERSION {
            return Err(format!(
                "its version is longer than {LONGEST_VERSION} bytes"
            ));
        }
        let n_held: usize = self.feeds.iter().map(|feed| feed.resources.len()).sum();
        let known = self.feed(kind).resources.get(resource.name);
        if known.is_none() && n_held >= MOST_RESOURCES {
            return Err(format!(
                "{MOST_RESOURCES} resources are held already, which is the most"
            ));
        }
        let size = self.n_bytes + resource.size();
        let freed = known.map_or(0, |held| held.size(resource.name));
        if size.saturating_sub(freed) > MOST_BYTES {
            return Err(format!(
                "more than {MOST_BYTES} bytes would be held, which is the most"
            ));
        }
        Ok(())
    }

    fn hold(&mut self, kind: Kind, resource: &Arrived<'_>) {
        self.drop_held(kind, resource.name);
        self.n_taken += 1;
        self.n_bytes += resource.size();
        // A copy: the bytes that came share one buffer with all others of their response.
        let held = Held {
            version: resource.version.into(),
            body: resource.body.into(),
            order: self.n_taken,
        };
        let resources = &mut self.feed_mut(kind).resources;
        resources.insert(resource.name.into(), held);
    }

    /// Whether there was anything to drop.
    fn drop_held(&mut self, kind: Kind, name: &str) -> bool {
        let Some(held) = self.feed_mut(kind).resources.remove(name) else {
            return false;
        };
        self.n_bytes = self.n_bytes.saturating_sub(held.size(name));
        true
    }

    fn feed(&self, kind: Kind) -> &Feed {
        let [settings, peer_authentication, address] = &self.feeds;
        match kind {
            Kind::Settings => settings,
            Kind::PeerAuthentication => peer_authentication,
            Kind::Address => address,
        }
    }

    fn feed_mut(&mut self, kind: Kind) -> &mut Feed {
        let [settings, peer_authentication, address] = &mut self.feeds;
        match kind {
            Kind::Settings => settings,
            Kind::PeerAuthentication => peer_authentication,
            Kind::Address => address,
        }
    }
}

// === impl Held ===

impl Held {
    fn size(&self, name: &str) -> usize {
        name.len() + self.version.len() + self.body.len()
    }
}

/// A resource that came, in parts.
struct Arrived<'a> {
    name: &'a str,
    version: &'a str,
    body: &'a [u8],
}

impl Arrived<'_> {
    fn size(&self) -> usize {
        self.name.len() + self.version.len() + self.body.len()
    }
}

fn shown(text: &str) -> String {
    text.chars()
        .take(LONGEST_SHOWN)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

#[cfg(test)]
mod tests;

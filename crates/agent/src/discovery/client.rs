//! The client's side of incremental discovery, without a connection.
//!
//! Whoever has a stream hands each response to [`Client::take`] and sends what [`Client::next_request`] gives until it gives nothing;
//! [`Client::restart`] begins a new stream, which resumes where the last one ended. Resources are kept as bytes with their versions:
//! those that pass a check replace the ones of their name, the others are refused by name while all the rest of the response is used.
//!
//! The mesh's own types are asked for as soon as the control plane is known to be the mesh's own, and of no other.
//! A subscription changes in requests of its own, without a nonce: istiod takes no change from a request that acknowledges
//! (`pilot/pkg/xds/delta.go`).

mod feed;
mod held;
mod kind;

use std::collections::BTreeSet;

use wire::{
    core::Node,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
};

pub use held::Held;
pub use kind::{Kind, Server, identifier};

use feed::{Feed, Owed};

/// A client of discovery and what it holds.
#[derive(Clone, Debug)]
pub struct Client {
    node: Node,
    /// Whether the stream of the moment knows who asks.
    is_introduced: bool,
    /// Whose the control plane was that answered last; nothing before the first answer.
    server: Option<Server>,
    /// In the order of [`Kind::ALL`].
    feeds: [Feed; 3],
    n_bytes: usize,
    n_taken: u64,
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
            server: None,
            feeds: [
                Feed::new(Kind::Address, names),
                Feed::new(Kind::Settings, None),
                Feed::new(Kind::PeerAuthentication, None),
            ],
            n_bytes: 0,
            n_taken: 0,
        }
    }

    /// Takes the word of an earlier life for whose the control plane is, until it answers.
    pub fn expect(&mut self, server: Server) {
        self.server = Some(server);
    }

    /// Whose the control plane is, by the last answer; nothing before the first one.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        self.server
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
        let asks_all = self.asks_own_types();
        let is_due = |feed: &&mut Feed| asks_all || feed.is_open || !feed.kind.is_own();
        let mut feeds = self.feeds.iter_mut().filter(is_due);
        let mut request = feeds.find_map(Feed::next_request)?;
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
        self.server = Some(Server::of(&response));
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

    /// Of the mesh's own control plane; and where no address is asked about, so that no answer would tell whose it is.
    fn asks_own_types(&self) -> bool {
        match self.server {
            Some(server) => server == Server::Own,
            None => self.names(Kind::Address).is_some_and(BTreeSet::is_empty),
        }
    }

    fn feed(&self, kind: Kind) -> &Feed {
        let [address, settings, peer_authentication] = &self.feeds;
        match kind {
            Kind::Settings => settings,
            Kind::PeerAuthentication => peer_authentication,
            Kind::Address => address,
        }
    }

    fn feed_mut(&mut self, kind: Kind) -> &mut Feed {
        let [address, settings, peer_authentication] = &mut self.feeds;
        match kind {
            Kind::Settings => settings,
            Kind::PeerAuthentication => peer_authentication,
            Kind::Address => address,
        }
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

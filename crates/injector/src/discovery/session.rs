//! One stream of delta ADS, as a state machine: requests and changes in, responses out.
//!
//! The server feeds it and sends what it gives. For each type at most one response is on its way: the next one is made when the client has
//! acknowledged or refused the last, of what is current then, so a slow client costs nothing but its own delay, and many changes make one
//! response. What was refused is not sent again before it changes. Nothing here waits, and everything that a client can make grow is bounded.

mod addresses;
mod listed;

use std::collections::HashMap;

use bytes::Bytes;
use prost::Name as _;
use wire::{
    Any,
    core::ControlPlane,
    discovery::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    minimesh, security, workload,
};

use super::store::{Resource, Store};
use addresses::Addresses;
use listed::Listed;

/// What there is at one moment, for one client.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Services and workloads, which all clients may ask for.
    pub store: &'a Store,
    /// The mesh's settings, one resource or none.
    pub settings: &'a [Resource],
    /// The policies for the client's own pod.
    pub peer_authentications: &'a [Resource],
}

/// A stream.
#[derive(Debug, Default)]
pub struct Session {
    watches: HashMap<Box<str>, Watch>,
    n_responses: u64,
}

/// What a request was, beside the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The first of its type.
    First(Kind),
    /// A change of what is asked for.
    Names,
    /// The last response was taken.
    Taken,
    /// The last response was refused, for this reason.
    Refused(String),
    /// It is about a response that is not the last.
    Stale,
}

/// Resources of one type, and how they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `istio.workload.Address`.
    Address,
    /// `istio.security.Authorization`, of which there is none yet.
    Authorization,
    /// `minimesh.discovery.v1.MeshSettings`.
    MeshSettings,
    /// `minimesh.discovery.v1.PeerAuthentication`.
    PeerAuthentication,
    /// A type that is not known here; the answer is always empty.
    Unknown,
}

/// Why a stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A request names no type.
    #[error("a request has no type_url")]
    NoType,
    /// A client asks for more types than there are.
    #[error("more than {MAX_TYPES} types are asked for on one stream")]
    Types,
    /// A client asks for too much.
    #[error("more than {MAX_NAMES} names are asked for on one stream, subscribe to * instead")]
    Names,
    /// A name is longer than names can be.
    #[error("a name of more than {MAX_NAME} bytes is asked for")]
    Name,
    /// The client has missed more than is remembered.
    #[error("the client is too far behind, connect again with the versions that are known")]
    Behind,
}

/// What a response tells.
#[derive(Debug, Default)]
struct Body {
    resources: Vec<discovery::Resource>,
    removed: Vec<String>,
    /// How long it is, roughly.
    n_bytes: usize,
    /// Whether more of the same answer follows.
    is_partial: bool,
}

#[derive(Debug)]
struct Watch {
    kind: Kind,
    what: What,
    /// The nonce of the response that is on its way.
    outstanding: Option<u64>,
}

#[derive(Debug)]
enum What {
    Addresses(Box<Addresses>),
    Listed(Listed),
}

/// Names that one stream may ask for, apart from `*`.
pub const MAX_NAMES: usize = 16_384;
/// Bytes of a name: namespace and host name, each at its longest, have fewer.
const MAX_NAME: usize = 512;
/// Types on one stream: more than this program and Istio's know together.
const MAX_TYPES: usize = 16;
/// Where a response is full. A resource is a few hundred bytes, so it stays far below the 4 MB that clients take.
const FULL: usize = 1 << 20;
/// Everything.
const WILDCARD: &str = "*";
/// What a resource costs beside its own fields: tags and lengths.
const OVERHEAD: usize = 40;

// === impl Kind ===

impl Kind {
    /// The kind of a type URL.
    #[must_use]
    pub fn of(type_url: &str) -> Self {
        let Some(name) = type_url.strip_prefix("type.googleapis.com/") else {
            return Self::Unknown;
        };
        match name {
            name if name == workload::Address::full_name() => Self::Address,
            name if name == security::Authorization::full_name() => Self::Authorization,
            name if name == minimesh::MeshSettings::full_name() => Self::MeshSettings,
            name if name == minimesh::PeerAuthentication::full_name() => Self::PeerAuthentication,
            _ => Self::Unknown,
        }
    }

    /// What metrics call it; the first two are Istio's words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "wds",
            Self::Authorization => "wads",
            Self::MeshSettings => "settings",
            Self::PeerAuthentication => "peer_authentication",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Session ===

impl Session {
    /// Takes a request; gives what it was, and the response if one is due.
    ///
    /// # Errors
    /// When the client does what it must not; the stream is to be ended.
    pub fn request(
        &mut self,
        request: DeltaDiscoveryRequest,
        view: View<'_>,
    ) -> Result<(Heard, Option<DeltaDiscoveryResponse>), Violation> {
        let type_url = request.type_url.clone();
        if type_url.is_empty() {
            return Err(Violation::NoType);
        }
        let mut names = request.resource_names_subscribe.iter();
        if type_url.len() > MAX_NAME || names.any(|name| name.len() > MAX_NAME) {
            return Err(Violation::Name);
        }
        let n_types = self.watches.len();
        let heard = match self.watches.get_mut(&*type_url) {
            Some(watch) => watch.hear(request)?,
            None if n_types == MAX_TYPES => return Err(Violation::Types),
            None => {
                let watch = Watch::begin(request, view)?;
                let heard = Heard::First(watch.kind);
                self.watches.insert(type_url.as_str().into(), watch);
                heard
            }
        };
        Ok((heard, self.next(&type_url, view)?))
    }

    /// The responses that are due because something changed.
    ///
    /// # Errors
    /// When the client is too far behind; the stream is to be ended.
    pub fn changed(&mut self, view: View<'_>) -> Result<Vec<DeltaDiscoveryResponse>, Violation> {
        let mut responses = Vec::new();
        let n_responses = &mut self.n_responses;
        for (type_url, watch) in &mut self.watches {
            responses.extend(watch.next(type_url, n_responses, view)?);
        }
        Ok(responses)
    }

    fn next(
        &mut self,
        type_url: &str,
        view: View<'_>,
    ) -> Result<Option<DeltaDiscoveryResponse>, Violation> {
        match self.watches.get_mut(type_url) {
            Some(watch) => watch.next(type_url, &mut self.n_responses, view),
            None => Ok(None),
        }
    }
}

// === impl Watch ===

impl Watch {
    fn begin(request: DeltaDiscoveryRequest, view: View<'_>) -> Result<Self, Violation> {
        let kind = Kind::of(&request.type_url);
        Ok(Self {
            kind,
            what: match kind {
                Kind::Address => What::Addresses(Box::new(Addresses::begin(request, view.store)?)),
                _ => What::Listed(Listed::begin(request)),
            },
            outstanding: None,
        })
    }

    fn hear(&mut self, request: DeltaDiscoveryRequest) -> Result<Heard, Violation> {
        let nonce = request.response_nonce.parse::<u64>().ok();
        let heard = if request.response_nonce.is_empty() {
            Heard::Names
        } else if self.outstanding.is_some() && nonce == self.outstanding {
            self.outstanding = None;
            match &request.error_detail {
                Some(status) => Heard::Refused(status.message.clone()),
                None => Heard::Taken,
            }
        } else {
            Heard::Stale
        };
        // Names count whatever else a request is about.
        let subscribe = request.resource_names_subscribe;
        let unsubscribe = request.resource_names_unsubscribe;
        match &mut self.what {
            What::Addresses(addresses) => addresses.update(subscribe, &unsubscribe)?,
            What::Listed(listed) => listed.update(subscribe),
        }
        Ok(heard)
    }

    fn next(
        &mut self,
        type_url: &str,
        n_responses: &mut u64,
        view: View<'_>,
    ) -> Result<Option<DeltaDiscoveryResponse>, Violation> {
        if self.outstanding.is_some() {
            return Ok(None);
        }
        let body = match (&mut self.what, self.kind) {
            (What::Addresses(addresses), _) => addresses.next(view.store)?,
            (What::Listed(listed), Kind::MeshSettings) => listed.next(view.settings, type_url),
            (What::Listed(listed), Kind::PeerAuthentication) => {
                listed.next(view.peer_authentications, type_url)
            }
            (What::Listed(listed), _) => listed.next(&[], type_url),
        };
        let Some(body) = body else {
            return Ok(None);
        };
        *n_responses += 1;
        self.outstanding = Some(*n_responses);
        Ok(Some(DeltaDiscoveryResponse {
            system_version_info: match body.is_partial {
                true => wire::PARTIAL.to_owned(),
                false => view.store.last().to_string(),
            },
            resources: body.resources,
            type_url: type_url.to_owned(),
            nonce: n_responses.to_string(),
            removed_resources: body.removed,
            control_plane: Some(ControlPlane {
                identifier: concat!("minimesh/", env!("CARGO_PKG_VERSION")).to_owned(),
            }),
        }))
    }
}

// === impl Body ===

impl Body {
    fn is_full(&self) -> bool {
        self.n_bytes >= FULL
    }

    fn put(&mut self, resource: &Resource, type_url: &str, aliases: Vec<String>) {
        let Resource { name, value, .. } = resource;
        let n_aliases = aliases.iter().map(|alias| alias.len() + 2).sum::<usize>();
        self.n_bytes += name.len() + value.len() + type_url.len() + n_aliases + OVERHEAD;
        self.resources.push(discovery::Resource {
            version: resource.version_text(),
            resource: Some(Any {
                type_url: type_url.to_owned(),
                value: Bytes::clone(value),
            }),
            name: name.to_string(),
            aliases,
        });
    }

    fn remove(&mut self, name: &str) {
        self.n_bytes += name.len() + 2;
        self.removed.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests;

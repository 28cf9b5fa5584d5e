//! Remembers who a peer has said it is.
//!
//! A worker has one [`PeerCache`] for all its connections and asks it at every request that carries peer metadata: a field that was
//! seen before costs a hash and a comparison. Its memory is bounded whatever peers send, and what cannot be read is remembered, too.

use hashbrown::DefaultHashBuilder;
use indexmap::{Equivalent, IndexMap};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    metadata::{MAX_FIELD, MAX_PRINCIPAL, decode, label_value},
    names::{Names, Party, PartyNames},
};

/// What verified peers have said of themselves lately.
#[derive(Debug)]
pub struct PeerCache {
    names: Arc<Names>,
    known: IndexMap<Told, Party, DefaultHashBuilder>,
    /// Bytes of all fields and identities in `known`.
    n_bytes: usize,
}

/// What was told, and by whom.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    principal: Box<str>,
    field: Box<[u8]>,
}

/// The same, to find it.
struct Seen<'a> {
    principal: &'a str,
    field: &'a [u8],
}

/// Most peers that are remembered.
const MAX_PEERS: usize = 512;
/// Most bytes of what is remembered: every peer's field in a usual mesh, or the longest fields of a few.
const MAX_BYTES: usize = 256 * 1024;

// === impl PeerCache ===

impl PeerCache {
    /// Remembers nobody yet; handles come from `names`.
    #[must_use]
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            known: IndexMap::default(),
            n_bytes: 0,
        }
    }

    /// Who the peer is whose certificate bears `principal` (`spiffe://cluster.local/ns/shop/sa/web`) and that has sent `field` as
    /// `x-envoy-peer-metadata`, empty if it has sent none. Its namespace is the one of its identity, whatever it says.
    pub fn party(&mut self, principal: &str, field: &[u8]) -> Party {
        // Too long to be read, hence not worth being kept.
        let field = if field.len() > MAX_FIELD { b"" } else { field };
        let seen = Seen { principal, field };
        if let Some(party) = self.known.get(&seen) {
            return party.clone();
        }
        let party = self.names.party(read(&seen));
        let told = Told {
            principal: principal.into(),
            field: field.into(),
        };
        self.make_room(told.len());
        self.n_bytes += told.len();
        self.known.insert(told, party.clone());
        party
    }

    /// Forgets the oldest until there is room for `n_bytes` more.
    fn make_room(&mut self, n_bytes: usize) {
        while self.known.len() >= MAX_PEERS || self.n_bytes + n_bytes > MAX_BYTES {
            // The last takes the first place, so this is only about the oldest; nothing depends on it.
            let Some((told, _)) = self.known.swap_remove_index(0) else {
                return;
            };
            self.n_bytes -= told.len();
        }
    }
}

fn read(seen: &Seen<'_>) -> PartyNames {
    let mut names = decode(seen.field).unwrap_or_else(|error| {
        tracing::debug!(peer = seen.principal, %error, "a peer does not say who it is");
        PartyNames::default()
    });
    if let Some(namespace) = namespace(seen.principal) {
        names.namespace = namespace.to_owned();
    }
    let principal = label_value(seen.principal.as_bytes(), MAX_PRINCIPAL);
    if !principal.is_empty() {
        names.principal = principal;
    }
    names
}

/// The namespace in `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
fn namespace(principal: &str) -> Option<&str> {
    let path = principal.strip_prefix("spiffe://")?.split_once('/')?.1;
    let (namespace, account) = path.strip_prefix("ns/")?.split_once("/sa/")?;
    (!namespace.is_empty() && !namespace.contains('/') && !account.is_empty()).then_some(namespace)
}

// === impl Told ===

impl Told {
    fn len(&self) -> usize {
        self.principal.len() + self.field.len()
    }
}

impl Hash for Told {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&*self.principal, &*self.field).hash(state);
    }
}

impl Hash for Seen<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.principal, self.field).hash(state);
    }
}

impl Equivalent<Told> for Seen<'_> {
    fn equivalent(&self, told: &Told) -> bool {
        *self.principal == *told.principal && *self.field == *told.field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{peer::metadata::encode, workload::Workload};

    const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

    fn field(name: &str) -> Vec<u8> {
        let workload = Workload {
            name: name.to_owned(),
            namespace: "claimed".to_owned(),
            ..Workload::default()
        };
        encode(&workload).into_bytes()
    }

    #[test]
    fn what_a_peer_has_said_is_remembered() {
        let mut cache = PeerCache::new(Arc::default());
        let party = cache.party(WEB, &field("web-v1"));
        assert_eq!(party.workload, "web-v1");
        assert_eq!(party.principal, WEB);
        assert_eq!(party, cache.party(WEB, &field("web-v1")));
        assert_eq!(cache.known.len(), 1);
        assert_ne!(party, cache.party(WEB, &field("web-v2")));
        let other = cache.party("spiffe://cluster.local/ns/shop/sa/other", &field("web-v1"));
        assert_ne!(party, other, "the same words of somebody else");
    }

    #[test]
    fn the_certificate_says_where_a_peer_is_from() {
        let mut cache = PeerCache::new(Arc::default());
        assert_eq!(cache.party(WEB, &field("web-v1")).namespace, "shop");
        assert_eq!(cache.party(WEB, b"").namespace, "shop");
        for principal in [
            "spiffe://cluster.local/ns//sa/web",
            "spiffe://cluster.local/ns/a/b/sa/web",
            "spiffe://cluster.local/web",
            "web",
        ] {
            let party = cache.party(principal, &field("web-v1"));
            assert_eq!(party.namespace, "claimed", "{principal}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_somebody_with_an_identity() {
        let mut cache = PeerCache::new(Arc::default());
        let long = vec![b'A'; MAX_FIELD + 1];
        let somebody = cache.party(WEB, b"");
        assert_eq!(somebody.principal, WEB);
        assert_eq!(somebody.workload, "unknown");
        assert_eq!(cache.party(WEB, b"\0"), somebody);
        assert_eq!(cache.party(WEB, &long), somebody);
        assert_eq!(&cache.party("", b""), Party::unknown());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut cache = PeerCache::new(Arc::default());
        for n in 0..10_000 {
            cache.party(WEB, &field(&n.to_string()));
        }
        assert!(cache.known.len() <= MAX_PEERS);
        let long: Vec<_> = (0..200_u8).map(|n| vec![n; MAX_FIELD]).collect();
        for field in &long {
            cache.party(WEB, field);
        }
        let kept: usize = cache.known.keys().map(Told::len).sum();
        assert_eq!(kept, cache.n_bytes);
        assert!(kept <= MAX_BYTES, "{kept} bytes");
    }
}

//! Handles for the names of workloads and services.
//!
//! Workers and housekeeping share one [`Names`]; it gives out [`Party`] and [`ServiceNames`], which are compared and hashed by their
//! address alone. As long as a handle is alive, equal names give the same handle, and names that nobody holds any more are forgotten.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    ops::Deref,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak},
};

use hashbrown::HashTable;

use crate::workload::Workload;

/// What telemetry calls one end of a connection. Every field is a label value; what nobody told is `unknown`, the revision `latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyNames {
    /// Name of the owning workload, `web`.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity, `spiffe://cluster.local/ns/shop/sa/web`; shown only where mutual TLS has proven it.
    pub principal: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// The cluster it runs in.
    pub cluster: String,
    /// Istio's canonical service name.
    pub canonical_service: String,
    /// Istio's canonical revision.
    pub canonical_revision: String,
}

/// What telemetry calls a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceLabels {
    /// The host, `web.shop.svc.cluster.local`.
    pub host: String,
    /// The short name, `web`.
    pub name: String,
    /// The namespace, `shop`.
    pub namespace: String,
}

/// The handle of a workload's names. Cloning it counts a reference; two are equal if they are the same one.
#[derive(Clone)]
pub struct Party(Arc<PartyNames>);

/// The handle of a service's names. Cloning it counts a reference; two are equal if they are the same one.
#[derive(Clone)]
pub struct ServiceNames(Arc<ServiceLabels>);

/// Gives out handles. It holds no name itself, so its size follows what is in use.
#[derive(Debug, Default)]
pub struct Names {
    parties: Interner<PartyNames>,
    services: Interner<ServiceLabels>,
}

/// Where a handle is kept that is made when somebody asks for it first, so that the many of whom nobody ever does cost nothing.
/// It is no property of what it belongs to: any two are equal.
#[derive(Clone, Debug)]
pub struct Handle<H>(OnceLock<H>);

/// The living values of one kind. Peers can choose the content, hence a keyed hash.
#[derive(Debug)]
struct Interner<T> {
    hasher: RandomState,
    known: Mutex<HashTable<Weak<T>>>,
}

/// What a label says that nobody told.
pub const UNKNOWN: &str = "unknown";
/// The revision of a workload that states none.
pub const LATEST: &str = "latest";
/// What stands for everything that no place was left for.
pub const OVERFLOW: &str = "overflow";

static UNKNOWN_PARTY: LazyLock<Party> = LazyLock::new(|| Party(Arc::default()));
static OVERFLOW_PARTY: LazyLock<Party> = LazyLock::new(|| {
    let overflow = || OVERFLOW.to_owned();
    Party(Arc::new(PartyNames {
        workload: overflow(),
        namespace: overflow(),
        principal: overflow(),
        app: overflow(),
        version: overflow(),
        cluster: overflow(),
        canonical_service: overflow(),
        canonical_revision: overflow(),
    }))
});

// === impl PartyNames ===

impl Default for PartyNames {
    /// Somebody of whom nothing is known.
    fn default() -> Self {
        let unknown = || UNKNOWN.to_owned();
        Self {
            workload: unknown(),
            namespace: unknown(),
            principal: unknown(),
            app: unknown(),
            version: unknown(),
            cluster: unknown(),
            canonical_service: unknown(),
            canonical_revision: LATEST.to_owned(),
        }
    }
}

impl From<&Workload> for PartyNames {
    fn from(workload: &Workload) -> Self {
        let account = &workload.service_account;
        let principal = if account == UNKNOWN || workload.namespace == UNKNOWN {
            UNKNOWN.to_owned()
        } else {
            format!(
                "spiffe://{}/ns/{}/sa/{account}",
                workload.trust_domain, workload.namespace
            )
        };
        Self {
            workload: workload.name.clone(),
            namespace: workload.namespace.clone(),
            principal,
            app: workload.app.clone(),
            version: workload.version.clone(),
            cluster: workload.cluster.clone(),
            canonical_service: workload.canonical_name.clone(),
            canonical_revision: workload.canonical_revision.clone(),
        }
    }
}

// === impl Party ===

impl Party {
    /// Somebody of whom nothing is known.
    #[must_use]
    pub fn unknown() -> &'static Self {
        &UNKNOWN_PARTY
    }

    /// Everybody whom no place was left for.
    #[must_use]
    pub fn overflow() -> &'static Self {
        &OVERFLOW_PARTY
    }
}

impl Deref for Party {
    type Target = PartyNames;

    fn deref(&self) -> &PartyNames {
        &self.0
    }
}

impl PartialEq for Party {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Party {}

impl Hash for Party {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.workload)
    }
}

// === impl ServiceNames ===

impl Deref for ServiceNames {
    type Target = ServiceLabels;

    fn deref(&self) -> &ServiceLabels {
        &self.0
    }
}

impl PartialEq for ServiceNames {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ServiceNames {}

impl Hash for ServiceNames {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for ServiceNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

// === impl Names ===

impl Names {
    /// The handle of these names. Takes a lock, so it is nothing for every request.
    #[must_use]
    pub fn party(&self, names: PartyNames) -> Party {
        if names == **UNKNOWN_PARTY {
            return UNKNOWN_PARTY.clone();
        }
        Party(self.parties.handle(names))
    }

    /// The handle of the service with this host (`web.shop.svc.cluster.local`), short name and namespace. Takes a lock.
    #[must_use]
    pub fn service(&self, host: &str, name: &str, namespace: &str) -> ServiceNames {
        ServiceNames(self.services.handle(ServiceLabels {
            host: host.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }))
    }
}

// === impl Handle ===

impl<H> Handle<H> {
    /// The handle, which `make` gives the first time; every other time it is an atomic load.
    pub fn get_or_make(&self, make: impl FnOnce() -> H) -> &H {
        self.0.get_or_init(make)
    }
}

impl<H> Default for Handle<H> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<H> PartialEq for Handle<H> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<H> Eq for Handle<H> {}

// === impl Interner ===

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }
}

impl<T: Eq + Hash> Interner<T> {
    fn handle(&self, value: T) -> Arc<T> {
        let hash = self.hasher.hash_one(&value);
        // Nothing can leave the table half changed.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A handle that is found must not die before it is returned, so the search itself keeps it alive.
        let mut alive = None;
        known.find(hash, |weak| {
            alive = weak.upgrade().filter(|held| **held == value);
            alive.is_some()
        });
        if let Some(alive) = alive {
            return alive;
        }
        let hasher = |weak: &Weak<T>| match weak.upgrade() {
            Some(held) => self.hasher.hash_one(&*held),
            // It has died since and is found by nobody, wherever it is.
            None => 0,
        };
        if known.len() == known.capacity() {
            // Before the table grows, what nobody holds any more makes room; half full afterwards, so that this stays rare.
            known.retain(|weak| weak.strong_count() > 0);
            let room = known.len().max(4);
            known.shrink_to(room * 2, hasher);
            known.reserve(room, hasher);
        }
        let value = Arc::new(value);
        known.insert_unique(hash, Arc::downgrade(&value), hasher);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(workload: &str) -> PartyNames {
        PartyNames {
            workload: workload.to_owned(),
            ..PartyNames::default()
        }
    }

    #[test]
    fn equal_names_give_the_same_handle_while_one_is_alive() {
        let names = Names::default();
        let first = names.party(party("web"));
        assert_eq!(first, names.party(party("web")));
        assert_ne!(first, names.party(party("shop")));
        let service = names.service("web.shop.svc", "web", "shop");
        assert_eq!(service, names.service("web.shop.svc", "web", "shop"));
        assert_ne!(service, names.service("web.shop.svc", "web", "other"));
    }

    #[test]
    fn somebody_unknown_has_one_handle_everywhere() {
        assert_eq!(
            &Names::default().party(PartyNames::default()),
            Party::unknown()
        );
        assert_eq!(Party::unknown().canonical_revision, "latest");
        assert_eq!(Party::overflow().canonical_revision, "overflow");
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let names = Names::default();
        let kept: Vec<_> = (0..100)
            .map(|n| names.party(party(&format!("kept-{n}"))))
            .collect();
        for n in 0..100_000 {
            let _ = names.party(party(&n.to_string()));
        }
        let capacity = names.parties.known.lock().unwrap().capacity();
        assert!(capacity < 2000, "{capacity} places for 100 names");
        for (n, handle) in kept.iter().enumerate() {
            assert_eq!(*handle, names.party(party(&format!("kept-{n}"))));
        }
    }

    #[test]
    fn a_workload_is_named_as_its_labels_say() {
        let workload = Workload {
            name: "web-v1".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            canonical_name: "web".to_owned(),
            ..Workload::default()
        };
        let names = PartyNames::from(&workload);
        assert_eq!(names.workload, "web-v1");
        assert_eq!(names.principal, "spiffe://cluster.local/ns/shop/sa/web");
        assert_eq!(names.canonical_service, "web");
        assert_eq!(
            PartyNames::from(&Workload::default()),
            PartyNames::default()
        );
    }
}

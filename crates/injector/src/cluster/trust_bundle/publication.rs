//! What is published in every namespace, and under which name.
//!
//! There are two: the roots to trust, without which no injected pod can start, and the certificates among theirs that count no longer. The publisher is the same for
//! both; what differs is here.

use contract::{
    control_plane::{CRL_KEY, ROOT_CERT_KEY},
    pod::{CRL_CONFIG_MAP, ROOT_CERT_CONFIG_MAP},
};

/// A text in a ConfigMap of the same name in every namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The ConfigMap.
    pub config_map: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What it is called by people, in readiness and in Events.
    pub name: &'static str,
    /// What it is called by metrics.
    pub metric: &'static str,
    /// What the watch of it is called in messages.
    pub(super) watched: &'static str,
    /// What the watch is called in readiness.
    pub(super) watch: &'static str,
    /// Reason of the Event when it cannot be written.
    pub(super) reason: &'static str,
}

/// The mesh's roots.
pub const ROOTS: Publication = Publication {
    config_map: ROOT_CERT_CONFIG_MAP,
    key: ROOT_CERT_KEY,
    name: "trust bundle",
    metric: "trust_bundle",
    watched: "the ConfigMaps istio-ca-root-cert",
    watch: "trust bundle watch",
    reason: "TrustBundleNotPublished",
};

/// The lists of revoked certificates.
pub const REVOCATIONS: Publication = Publication {
    config_map: CRL_CONFIG_MAP,
    key: CRL_KEY,
    name: "revocation lists",
    metric: "revocations",
    watched: "the ConfigMaps istio-ca-crl",
    watch: "revocation lists watch",
    reason: "RevocationsNotPublished",
};

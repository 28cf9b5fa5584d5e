//! Mutual TLS between pods that nobody has configured anything for, and PeerAuthentication.
//!
//! Each test is in namespaces of its own, and none has a policy for the whole mesh, so they run beside each other.

mod mutual_tls {
    pub(crate) mod objects;
    pub(crate) mod services;
    pub(crate) mod shop;
    pub(crate) mod strict;
}

//! What a user's pods are promised, each test in namespaces of its own.
//!
//! They run beside each other and leave the control plane as it is.

mod pods {
    pub(crate) mod capture;
    pub(crate) mod fail_closed;
    pub(crate) mod injection;
    pub(crate) mod interception;
    pub(crate) mod lifecycle;
    pub(crate) mod other_webhook;
    pub(crate) mod policy;
    pub(crate) mod privilege;
    pub(crate) mod requests;
    pub(crate) mod sidecar;
    pub(crate) mod startup;
    pub(crate) mod why;
}

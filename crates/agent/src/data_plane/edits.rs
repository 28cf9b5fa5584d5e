//! What changes in a head on its way through the proxy.
//!
//! Fields that only sidecars write pass from one to the other and no further: an application neither sees what its sidecar is told nor
//! can it, or anyone unverified, speak for a sidecar. All other fields keep their bytes.

use std::borrow::Cow;

use super::{captured::Role, http1::FieldSet};

/// A change of a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edit<'a> {
    /// Fields to take out.
    pub(crate) removed: FieldSet,
    /// Lines to put behind the last field, each with its CR LF.
    pub(crate) added: Cow<'a, [u8]>,
}

/// Fields to take out of a request. What a verified client may say of itself was read before.
pub(crate) fn removed_from_request(role: Role) -> FieldSet {
    match role {
        Role::Outbound | Role::Inbound => FieldSet::SIDECARS,
        Role::Readiness => FieldSet::default(),
    }
}

/// Fields to take out of an answer: a verified upstream's own reason reaches the application that asked.
pub(crate) fn removed_from_answer(role: Role, upstream_is_verified: bool) -> FieldSet {
    match (role, upstream_is_verified) {
        (Role::Outbound, true) => FieldSet::PEER.and(FieldSet::CLIENT_CERT),
        (Role::Outbound, false) | (Role::Inbound, _) => FieldSet::SIDECARS,
        (Role::Readiness, _) => FieldSet::default(),
    }
}

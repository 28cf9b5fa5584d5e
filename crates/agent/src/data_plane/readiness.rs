//! The readiness port: the status server's answer, carried by the same code as everybody's traffic.
//!
//! A kubelet that reads `200` here therefore knows two things: the agent says that it is ready, and its data plane forwards.

use contract::paths::HEALTHZ_READY;

use super::{
    captured::Decision,
    error::Failure,
    http1::Request,
    net::{OriginalDestination, Source},
    pool::Key,
    target::Target,
    telemetry::Service,
};

/// Where a probe goes: to the status server, and only for the path of readiness without regard to its query.
pub(crate) fn route(status: OriginalDestination, request: &Request, target: &[u8]) -> Decision {
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    if path != HEALTHZ_READY.as_bytes() || !request.is_get() {
        return Decision::Refuse(Service::InboundPassthrough, Failure::NotFound);
    }
    let key = Key::plaintext(status.0, Source::Routing);
    Decision::Forward(Target::unknown(key, Service::InboundPassthrough))
}

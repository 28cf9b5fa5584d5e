//! Calls to the workload: accepted on the inbound port, passed on to the application.
//!
//! [`outbound`](super::outbound) is the mirror. The peer's identity and authorization belong into [`route`].

use super::{
    captured::{Decision, Target},
    net::{OriginalDestination, Source},
    pool::Key,
    telemetry::Service,
};

/// Where a call goes: to the port that the peer had dialled, from the address that the capture rules let pass.
pub(crate) fn route(destination: OriginalDestination) -> Decision {
    Decision::Forward(Target {
        key: Key {
            address: destination.0,
            source: Source::Inbound,
        },
        service: Service::InboundPassthrough,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_dialled_from_the_uncaptured_address() {
        let destination = OriginalDestination(([10, 0, 0, 2], 8080).into());
        let Decision::Forward(target) = route(destination) else {
            panic!("refused");
        };
        assert_eq!(target.key.address, destination.0);
        assert_eq!(target.key.source, Source::Inbound);
    }
}

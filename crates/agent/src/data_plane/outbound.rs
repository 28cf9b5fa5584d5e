//! The workload's own calls: accepted on the outbound port, routed by original destination.
//!
//! [`inbound`](super::inbound) is the mirror. Services, balancing and mutual TLS belong into [`route`]: it sees the snapshot and the
//! destination and decides, and nothing else on the way does.

use super::{
    OutboundPolicy, Snapshot,
    captured::{Decision, Target},
    error::Failure,
    net::{OriginalDestination, Source},
    pool::Key,
    telemetry::Service,
};

/// Where a call goes. No service is known, so policy alone decides.
pub(crate) fn route(snapshot: &Snapshot, destination: OriginalDestination) -> Decision {
    match snapshot.outbound_policy {
        OutboundPolicy::AllowAny => Decision::Forward(Target {
            key: Key {
                address: destination.0,
                source: Source::Routing,
            },
            service: Service::Passthrough,
        }),
        OutboundPolicy::RegistryOnly => Decision::Refuse(Service::BlackHole, Failure::NoRoute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_destination_is_left_to_policy() {
        let destination = OriginalDestination(([192, 0, 2, 1], 80).into());
        let route = |outbound_policy| route(&Snapshot { outbound_policy }, destination);
        let Decision::Forward(target) = route(OutboundPolicy::AllowAny) else {
            panic!("refused although any destination is allowed");
        };
        assert_eq!(target.key.address, destination.0);
        assert_eq!(target.key.source, Source::Routing);
        assert!(matches!(
            route(OutboundPolicy::RegistryOnly),
            Decision::Refuse(Service::BlackHole, Failure::NoRoute)
        ));
    }
}

//! Calls to the workload: accepted on the inbound port, passed on to the application.
//!
//! [`outbound`](super::outbound) is the mirror. The peer's identity and authorization belong into [`route`].

use super::{
    Capture,
    captured::Decision,
    net::{OriginalDestination, Peer, Source},
    pool::Key,
    target::Target,
    telemetry::Service,
};

/// Where a call goes: to the port that the peer had dialled, from an address that the capture rules let pass.
pub(crate) fn route(
    destination: OriginalDestination,
    capture: Capture,
    peer: Peer,
    service: Service,
) -> Decision {
    let source = match capture {
        Capture::Tproxy => Source::Client(peer.0.ip()),
        Capture::Redirect | Capture::Fixed(_) => Source::Inbound,
    };
    Decision::Forward(Target::unknown(
        Key::plaintext(destination.0, source),
        service,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_dialled_from_an_uncaptured_address() {
        let destination = OriginalDestination(([10, 0, 0, 2], 8080).into());
        let peer = Peer(([10, 0, 0, 9], 50_000).into());
        for (capture, source) in [
            (Capture::Redirect, Source::Inbound),
            (Capture::Tproxy, Source::Client(peer.0.ip())),
        ] {
            let Decision::Forward(target) =
                route(destination, capture, peer, Service::InboundPassthrough)
            else {
                panic!("refused");
            };
            assert_eq!(target.key.address, destination.0);
            assert_eq!(target.key.source, source);
        }
    }
}

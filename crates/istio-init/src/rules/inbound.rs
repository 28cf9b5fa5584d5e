//! Connections to the pod: `PREROUTING` sends TCP to `ISTIO_INBOUND`, which sends what is captured
//! to `ISTIO_IN_REDIRECT`.
//!
//! Called by [`plan`](super::plan) after the redirects, whose first rule in `ISTIO_INBOUND` has let
//! the tunnel port pass. A packet that reaches the end of `ISTIO_INBOUND` goes to the application
//! untouched.

use super::{Builder, tcp};
use crate::{
    capture::{Inbound, PortRange},
    plan::{Action, Chain, Match, OneOf, Table},
};

/// Appends the rules for what comes in.
pub(super) fn rules(builder: &mut Builder<'_>) {
    let capture = builder.capture;
    let (except, ports) = match &capture.inbound {
        Inbound::None => return,
        Inbound::All { except } => (except, None),
        Inbound::Only { ports, except } => (except, Some(ports)),
    };
    let inbound = Action::Jump(Chain::IstioInbound);
    builder.base(Table::Nat, Chain::Prerouting, vec![tcp()], inbound);
    if !except.is_empty() {
        let matches = on_ports("inbound_ports_excluded", except);
        builder.nat(Chain::IstioInbound, matches, Action::Return);
    }
    let captured = match ports {
        None => vec![tcp()],
        Some(ports) => on_ports("inbound_ports", ports),
    };
    builder.nat(
        Chain::IstioInbound,
        captured,
        Action::Jump(Chain::IstioInRedirect),
    );
}

fn on_ports(name: &'static str, ports: &[PortRange]) -> Vec<Match> {
    vec![
        tcp(),
        Match::DestinationPort(OneOf::of(name, ports.to_vec())),
    ]
}

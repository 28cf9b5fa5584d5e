//! Connections to the pod: `PREROUTING` sends TCP to `ISTIO_INBOUND`, which sends what is captured
//! to `ISTIO_IN_REDIRECT`, or, under TPROXY, to `ISTIO_DIVERT` and `ISTIO_TPROXY`.
//!
//! Called by [`plan`](super::plan) after the chains that capture. The first rule of `ISTIO_INBOUND`
//! has let the tunnel port pass; under TPROXY there is no such rule in the table that counts, so that
//! port is captured too. A packet that reaches the end of `ISTIO_INBOUND` goes to the application
//! untouched.

use super::{Builder, tcp};
use crate::{
    capture::{Inbound, Interception, PortRange},
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
    let table = match capture.interception {
        Interception::Redirect => Table::Nat,
        Interception::Tproxy { .. } => Table::Mangle,
    };
    let inbound = Action::Jump(Chain::IstioInbound);
    builder.base(table, Chain::Prerouting, vec![tcp()], inbound);
    if !except.is_empty() {
        let matches = on_ports("inbound_ports_excluded", except);
        builder.push(table, Chain::IstioInbound, matches, Action::Return);
    }
    match ports {
        None => capture_on(builder, &[tcp()]),
        Some(ports) => {
            for ports in builder.grouped(ports) {
                capture_on(builder, &on_ports("inbound_ports", &ports));
            }
        }
    }
}

fn capture_on(builder: &mut Builder<'_>, ports: &[Match]) {
    match builder.capture.interception {
        Interception::Redirect => {
            let redirect = Action::Jump(Chain::IstioInRedirect);
            builder.nat(Chain::IstioInbound, ports.to_vec(), redirect);
        }
        Interception::Tproxy { .. } => {
            let known = ports.iter().cloned().chain([Match::Established]).collect();
            for (matches, chain) in [
                (known, Chain::IstioDivert),
                (ports.to_vec(), Chain::IstioTproxy),
            ] {
                let jump = Action::Jump(chain);
                builder.push(Table::Mangle, Chain::IstioInbound, matches, jump);
            }
        }
    }
}

fn on_ports(name: &'static str, ports: &[PortRange]) -> Vec<Match> {
    vec![
        tcp(),
        Match::DestinationPort(OneOf::of(name, ports.to_vec())),
    ]
}

//! TPROXY: inbound connections are handed to the proxy as they are, and marks tell whose packets
//! are whose.
//!
//! Called by [`plan`](super::plan) before and after the rules for what comes in and goes out; does
//! nothing in the other mode. Packets with the proxy's mark are routed to the pod itself by the
//! plan's routes; what the proxy sends to its own pod bears another mark, by which it is told from
//! what the application says to itself.

use std::num::NonZeroU32;

use contract::ids;

use super::{Builder, loopback_out, negated, tcp};
use crate::{
    capture::{Interception, Interface},
    plan::{Action, Backend, Chain, Match, OneOf, Table},
};

/// Appends the two chains that capture, and what `ISTIO_INBOUND` must let pass before all else.
pub(super) fn hand_over(builder: &mut Builder<'_>) {
    let Some(mark) = mark(builder) else {
        return;
    };
    let divert = Chain::IstioDivert;
    builder.push(Table::Mangle, divert, Vec::new(), Action::Mark(mark.get()));
    builder.push(Table::Mangle, divert, Vec::new(), Action::Accept);
    let port = builder.capture.inbound_port;
    for loopback in builder.loopbacks() {
        let matches = vec![negated(Match::Destination(loopback)), tcp()];
        let action = Action::Tproxy { port, mark };
        builder.push(Table::Mangle, Chain::IstioTproxy, matches.clone(), action);
        // Where the proxy does not listen nf_tables goes on behind the rule, to the application.
        if builder.backend == Backend::Nftables {
            builder.push(Table::Mangle, Chain::IstioTproxy, matches, Action::Drop);
        }
    }
    let pass = |builder: &mut Builder<'_>, matches| {
        builder.push(Table::Mangle, Chain::IstioInbound, matches, Action::Return);
    };
    // What the proxy sends to its application, with the client's address as its source.
    pass(builder, vec![tcp(), marked(mark.get())]);
    let by_loopback = || Match::InInterface(OneOf::is(Interface::loopback()));
    for source in builder.inbound_sources() {
        pass(builder, vec![tcp(), Match::Source(source), by_loopback()]);
    }
    // What the application says to itself.
    let not_the_proxy = Match::Mark {
        mark: ids::SELF_CALL_MARK,
        negated: true,
    };
    pass(builder, vec![tcp(), by_loopback(), not_the_proxy]);
}

/// Appends what keeps marks and connections together.
pub(super) fn marks(builder: &mut Builder<'_>) {
    let Some(mark) = mark(builder).map(NonZeroU32::get) else {
        return;
    };
    let table = Table::Mangle;
    let from_proxy = vec![tcp(), marked(mark)];
    builder.base(table, Chain::Prerouting, from_proxy, Action::SaveMark);
    let to_application = vec![tcp(), loopback_out(), marked(mark)];
    builder.base(table, Chain::Output, to_application, Action::Return);
    for loopback in builder.loopbacks() {
        for owner in builder.owners() {
            let elsewhere = negated(Match::Destination(loopback.clone()));
            let matches = vec![elsewhere, tcp(), loopback_out(), owner];
            let action = Action::Mark(ids::SELF_CALL_MARK);
            builder.push(table, Chain::Output, matches, action);
        }
    }
    // The application's answers go to a client's address and must come back to the proxy.
    let answers = vec![tcp(), Match::ConnectionMark(mark)];
    builder.base(table, Chain::Output, answers, Action::RestoreMark);
}

fn mark(builder: &Builder<'_>) -> Option<NonZeroU32> {
    match builder.capture.interception {
        Interception::Redirect => None,
        Interception::Tproxy { mark, .. } => Some(mark),
    }
}

fn marked(mark: u32) -> Match {
    let negated = false;
    Match::Mark { mark, negated }
}

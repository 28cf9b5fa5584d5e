//! What the proxy sends by TCP has a zone of connection tracking of its own.
//!
//! Called by [`plan`](super::plan) when it is clear whether anything that goes out is captured. The
//! kernel decides where a connection goes by its first packet, and remembers it by addresses and
//! ports; for some seconds also after one side has reset it. An application that called the same
//! destination from the same port then would go where the proxy's connection went, past the proxy,
//! and the proxy would come back to itself where the application's went. Answers need no zone, so
//! that nothing has to be known of packets that come in.

use contract::ids;

use super::{Builder, tcp};
use crate::plan::{Action, Chain, Table};

/// Appends the rules.
pub(super) fn rules(builder: &mut Builder<'_>) {
    let captures = |action: Action| {
        matches!(
            action,
            Action::Jump(Chain::IstioRedirect | Chain::IstioOutputDns)
        )
    };
    if !builder.rules.iter().any(|rule| captures(rule.action)) {
        return;
    }
    let (table, chain) = (Table::Raw, Chain::IstioOutput);
    builder.base(table, Chain::Output, vec![tcp()], Action::Jump(chain));
    for owner in builder.owners() {
        let zone = Action::OriginalZone(ids::PROXY_ZONE);
        builder.push(table, chain, vec![owner], zone);
    }
}

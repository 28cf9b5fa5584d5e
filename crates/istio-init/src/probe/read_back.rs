//! The table that is in the kernel beside the plan, for a process that may look.
//!
//! Called by [`validate`](super::validate) first: connections from inside cannot show what happens
//! to those from outside, but the rules can. Whoever may not look goes by connections alone.

use crate::{
    nfnetlink::{NfTables, lower},
    plan::{Backend, Chain, Family, Plan, Rule},
    trace,
};

/// What the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadBack {
    /// What the plan says.
    Equal,
    /// Something else; what is missing first.
    Different(String),
    /// No table of ours, or this process may not see it.
    Nothing,
}

/// Reads and compares.
pub(super) fn read_back(plan: &Plan) -> ReadBack {
    let Ok(Some(found)) = NfTables::open().and_then(|mut kernel| Ok(kernel.read()?.1)) else {
        return ReadBack::Nothing;
    };
    let Some((chain, position)) = lower(plan).first_difference(&found) else {
        return ReadBack::Equal;
    };
    let chains = plan.chains();
    let named = chains
        .iter()
        .find(|entry| entry.chain.nft_name(entry.table) == chain);
    let rule = named.and_then(|entry| entry.rules.get(position));
    ReadBack::Different(match rule {
        Some(rule) => format!("{} {}", scope(rule), trace::text(rule, Backend::Nftables)),
        None => chain,
    })
}

/// Direction and family that the rule is for.
fn scope(rule: &Rule) -> String {
    let direction = match rule.chain {
        Chain::Output | Chain::IstioOutput | Chain::IstioOutputDns | Chain::IstioRedirect => {
            "outbound"
        }
        Chain::Prerouting
        | Chain::IstioInbound
        | Chain::IstioInRedirect
        | Chain::IstioDivert
        | Chain::IstioTproxy
        | Chain::IstioDrop => "inbound",
    };
    let family = match rule.family() {
        Some(Family::V4) => "IPv4",
        Some(Family::V6) => "IPv6",
        None => "IPv4 and IPv6",
    };
    format!("{direction} {family}")
}

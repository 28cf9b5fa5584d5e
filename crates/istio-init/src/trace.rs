//! Rules in the words of a back end, for messages about what happened to a packet.
//!
//! Called by [`probe`](crate::probe) and [`explain`](crate::explain) with rules that a [`walk`](crate::walk) met; pure. A text names the chain first, then the rule as the back end's
//! own tools write it.

use crate::{
    iptables, nft,
    plan::{Backend, Rule},
};

/// The rule with its chain: `ISTIO_OUTPUT: jump ISTIO_REDIRECT`.
pub fn text(rule: &Rule, backend: Backend) -> String {
    let (chain, text) = match backend {
        Backend::Nftables => (rule.chain.nft_name(rule.table), nft::rule_text(rule)),
        Backend::Iptables => (rule.chain.iptables_name(), iptables::rule_text(rule)),
    };
    format!("{chain}: {text}")
}

/// The rules one after the other, in the order in which a packet met them.
pub fn path(trace: &[&Rule], backend: Backend) -> String {
    let texts: Vec<String> = trace.iter().map(|rule| text(rule, backend)).collect();
    texts.join(", ")
}

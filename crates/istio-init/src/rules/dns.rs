//! Questions to DNS servers: `ISTIO_OUTPUT_DNS` redirects them to the proxy's own server, and zones
//! of connection tracking keep those of the application and those of the proxy apart.
//!
//! Called by [`outbound`](super::outbound) when the proxy's own traffic has passed; does nothing
//! where no question is captured. Without zones a question of the proxy that happens to come from
//! the application's port would meet the application's connection and be redirected with it.

use std::{net::IpAddr, num::NonZeroU16};

use contract::{ids, ports};
use ipnet::IpNet;

use super::{Builder, outbound::networks, to_port};
use crate::{
    capture::{Dns, PortRange},
    plan::{Action, Addresses, Backend, Chain, Match, OneOf, Protocol, Table},
};

/// Where servers answer.
pub(super) const PORT: NonZeroU16 = NonZeroU16::new(ports::DOMAIN).expect("53 is not zero");
/// Where the proxy's own server answers.
const PROXY_PORT: NonZeroU16 = NonZeroU16::new(ports::DNS).expect("15053 is not zero");

/// Appends the rules for questions to DNS servers.
pub(super) fn rules(builder: &mut Builder<'_>) {
    if !builder.capture.dns.is_captured() {
        return;
    }
    let servers = servers(builder);
    redirects(builder, &servers);
    zones(builder, &servers);
}

fn redirects(builder: &mut Builder<'_>, servers: &[Option<Addresses>]) {
    let jump = Action::Jump(Chain::IstioOutputDns);
    for matches in families(builder, servers) {
        builder.nat(Chain::IstioOutput, matches, jump);
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for servers in servers {
            let mut matches = to_port(protocol, PORT);
            matches.extend(servers.clone().map(Match::Destination));
            let action = Action::Redirect(PROXY_PORT);
            builder.nat(Chain::IstioOutputDns, matches, action);
        }
    }
}

/// The first rule that gives a zone counts, so the proxy's own traffic comes first.
fn zones(builder: &mut Builder<'_>, servers: &[Option<Addresses>]) {
    let (upstream, downstream) = (
        Action::Zone(ids::DNS_UPSTREAM_ZONE),
        Action::Zone(ids::DNS_DOWNSTREAM_ZONE),
    );
    let question = || to_port(Protocol::Udp, PORT);
    let table = Table::Raw;
    let jump = Action::Jump(Chain::IstioOutputDns);
    builder.base(table, Chain::Output, Vec::new(), jump);
    for owner in builder.owners() {
        for (mut matches, zone) in [(question(), upstream), (from_port(PROXY_PORT), downstream)] {
            matches.push(owner.clone());
            builder.push(table, Chain::IstioOutputDns, matches, zone);
        }
    }
    let jump = Action::Jump(Chain::IstioInbound);
    for matches in families(builder, servers) {
        builder.base(table, Chain::Prerouting, matches, jump);
    }
    for servers in servers {
        let mut matches = question();
        matches.extend(servers.clone().map(Match::Destination));
        builder.push(table, Chain::IstioOutputDns, matches, downstream);
        let mut matches = from_port(PORT);
        matches.extend(servers.clone().map(Match::Source));
        builder.push(table, Chain::IstioInbound, matches, upstream);
    }
}

/// The servers by family, or nothing for all of them.
fn servers(builder: &Builder<'_>) -> Vec<Option<Addresses>> {
    match &builder.capture.dns {
        Dns::Off => Vec::new(),
        Dns::All => vec![None],
        Dns::Servers(listed) => {
            let hosts: Vec<IpNet> = listed
                .iter()
                .map(|server: &IpAddr| (*server).into())
                .collect();
            let names = ["dns_servers_v4", "dns_servers_v6"];
            let servers = networks(builder.families, names, &hosts).into_iter();
            servers.map(Some).collect()
        }
    }
}

/// The conditions for a jump to rules about servers: one jump for both families where they share a
/// table, else one in each family that has a server.
fn families(builder: &Builder<'_>, servers: &[Option<Addresses>]) -> Vec<Vec<Match>> {
    match builder.backend {
        Backend::Nftables if servers.is_empty() => Vec::new(),
        Backend::Nftables => vec![Vec::new()],
        Backend::Iptables => servers
            .iter()
            .map(|servers| {
                let family = servers
                    .as_ref()
                    .map(|servers| Match::Family(servers.family()));
                family.into_iter().collect()
            })
            .collect(),
    }
}

fn from_port(port: NonZeroU16) -> Vec<Match> {
    vec![
        Match::Protocol(Protocol::Udp),
        Match::SourcePort(OneOf::is(PortRange::single(port))),
    ]
}

//! What rules need beside themselves: an address of the loopback interface, and routes for marked
//! packets.
//!
//! Called by [`apply`](super) before the rules, because what the rules let pass or mark needs them at
//! once, and after, to remove what is needed no more. Whatever is added is remembered until the rules
//! are in force, so that a failure leaves nothing behind.

use std::fmt;

use ipnet::Ipv6Net;

use super::ApplyError;
use crate::{
    netlink::NetlinkError,
    plan::{Families, MarkRoute, Plan},
    rtnetlink::{Change, LocalRoute, Network, RoutingRule},
    rules,
};

/// The namespace's addresses and routes, and what was added to them.
#[derive(Debug)]
pub(crate) struct Support {
    network: Network,
    added: Vec<Piece>,
}

/// A piece of support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An address of the loopback interface.
    Address(Ipv6Net),
    /// A routing rule.
    Rule(RoutingRule),
    /// A route.
    Route(LocalRoute),
}

// === impl Support ===

impl Support {
    /// Opens a socket; needs no privilege.
    pub(crate) fn open() -> Result<Self, ApplyError> {
        let network = Network::open().map_err(|source| ApplyError::Families { source })?;
        let added = Vec::new();
        Ok(Self { network, added })
    }

    /// The families that the namespace speaks.
    pub(crate) fn families(&mut self) -> Result<Families, ApplyError> {
        let families = self.network.families();
        families.map_err(|source| ApplyError::Families { source })
    }

    /// Adds what the plan needs and the namespace lacks.
    pub(crate) fn add(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        let addresses = plan.loopback_addresses.iter();
        for piece in addresses.map(|address| Piece::Address(*address)) {
            self.change(Change::Add, piece)?;
        }
        if plan.mark_routes.is_empty() {
            return Ok(());
        }
        let there = self.routing()?;
        for piece in wanted(&plan.mark_routes) {
            if !there.contains(&piece) {
                self.change(Change::Add, piece)?;
            }
        }
        Ok(())
    }

    /// Whether the namespace has just what the plan needs; changes nothing.
    pub(crate) fn holds(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        let addresses = self.network.are_on_loopback(&plan.loopback_addresses);
        let has_addresses = addresses.map_err(|source| ApplyError::Families { source })?;
        let (there, wanted) = (self.routing()?, wanted(&plan.mark_routes));
        let is_surplus = |piece: &Piece| piece.is_ours() && !wanted.contains(piece);
        let has_routes = wanted.iter().all(|piece| there.contains(piece));
        Ok(has_addresses && has_routes && !there.iter().any(is_surplus))
    }

    /// Whether marked packets are routed as the plan needs, whoever sees to it.
    pub(crate) fn routes_marks(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        let (there, wanted) = (self.routing()?, wanted(&plan.mark_routes));
        let does = |known: &Piece, piece: &Piece| known == piece || known.does_as(piece);
        Ok(wanted
            .iter()
            .all(|piece| there.iter().any(|known| does(known, piece))))
    }

    /// Keeps what was added, because the rules that need it are in force; tells whether that was
    /// anything.
    pub(crate) fn keep(&mut self) -> bool {
        let has_added = !self.added.is_empty();
        self.added.clear();
        has_added
    }

    /// Takes back what was added since the last [`Support::keep`], as far as the kernel lets.
    pub(crate) fn undo(&mut self) {
        while let Some(piece) = self.added.pop() {
            // The first error is what the user must know, whatever comes of this.
            let _ = self.ask(Change::Remove, &piece);
        }
    }

    /// Removes the rules and routes of ours that the plan does not need, made for other flags; tells
    /// whether there were any.
    ///
    /// Only a rule of ours leads to a route of ours, so where there is none and the plan needs none
    /// the routes are not looked at, and the run is shorter.
    pub(crate) fn prune(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        let wanted = wanted(&plan.mark_routes);
        let rules = self.network.routing_rules();
        let rules = rules.map_err(|source| ApplyError::Routing { source })?;
        if wanted.is_empty() && !rules.iter().any(RoutingRule::is_ours) {
            return Ok(false);
        }
        let is_surplus = |piece: &Piece| piece.is_ours() && !wanted.contains(piece);
        self.remove_routing(is_surplus)
    }

    /// Removes everything of ours; tells whether there was anything.
    pub(crate) fn remove(&mut self) -> Result<bool, ApplyError> {
        let mut changed = self.remove_routing(Piece::is_ours)?;
        let families = self.families()?;
        for address in rules::loopback_addresses(families) {
            changed |= self.change(Change::Remove, Piece::Address(*address))?;
        }
        Ok(changed)
    }

    /// Removes what does the same as our rules and routes for these marks and was made by somebody
    /// else, as often as it was made.
    pub(crate) fn remove_twins(&mut self, routes: &[MarkRoute]) -> Result<bool, ApplyError> {
        let wanted = wanted(routes);
        self.remove_routing(|piece| {
            !piece.is_ours() && wanted.iter().any(|known| piece.does_as(known))
        })
    }

    /// Rules go before the routes that they lead to.
    fn remove_routing(&mut self, is_meant: impl Fn(&Piece) -> bool) -> Result<bool, ApplyError> {
        let mut changed = false;
        for piece in self.routing()?.into_iter().filter(is_meant) {
            changed |= self.change(Change::Remove, piece)?;
        }
        Ok(changed)
    }

    /// The rules for marks and then the routes that the namespace has.
    fn routing(&mut self) -> Result<Vec<Piece>, ApplyError> {
        let listed = |source| ApplyError::Routing { source };
        let rules = self.network.routing_rules().map_err(listed)?;
        let routes = self.network.local_routes().map_err(listed)?;
        let rules = rules.into_iter().map(Piece::Rule);
        Ok(rules.chain(routes.into_iter().map(Piece::Route)).collect())
    }

    fn change(&mut self, change: Change, piece: Piece) -> Result<bool, ApplyError> {
        match self.ask(change, &piece) {
            Ok(changed) => {
                if changed && change == Change::Add {
                    self.added.push(piece);
                }
                Ok(changed)
            }
            Err(source) => Err(ApplyError::Support {
                change,
                piece,
                source,
            }),
        }
    }

    fn ask(&mut self, change: Change, piece: &Piece) -> Result<bool, NetlinkError> {
        match piece {
            Piece::Address(address) => self.network.change_loopback(change, *address),
            Piece::Rule(rule) => self.network.change_rule(change, rule),
            Piece::Route(route) => self.network.change_route(change, route),
        }
    }
}

// === impl Piece ===

impl Piece {
    /// What to look at where the kernel does not let it be changed.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Address(_) => "is the sysctl net.ipv6.conf.lo.disable_ipv6 set?",
            Self::Rule(_) | Self::Route(_) => {
                "does the container have the capability NET_ADMIN, and the node's kernel policy routing (IP_MULTIPLE_TABLES, IPV6_MULTIPLE_TABLES)?"
            }
        }
    }

    fn is_ours(&self) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Rule(rule) => rule.is_ours(),
            Self::Route(route) => route.is_ours(),
        }
    }

    fn does_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rule(rule), Self::Rule(other)) => rule.does_as(other),
            (Self::Route(route), Self::Route(other)) => route.does_as(other),
            _ => false,
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "the address {address} of the interface lo"),
            Self::Rule(rule) => rule.fmt(f),
            Self::Route(route) => route.fmt(f),
        }
    }
}

/// The rules and routes for these marks. A route stands before the rule that leads to it, so that no
/// packet is looked up in an empty table.
fn wanted(routes: &[MarkRoute]) -> Vec<Piece> {
    routes
        .iter()
        .flat_map(|route| {
            [
                Piece::Route(LocalRoute::wanted(route)),
                Piece::Rule(RoutingRule::wanted(route)),
            ]
        })
        .collect()
}

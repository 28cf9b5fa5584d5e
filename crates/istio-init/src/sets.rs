//! The named sets that a plan's lists become in nf_tables, so that the number of rules does not
//! grow with a list.
//!
//! Called by the text printer and by the netlink back end, which therefore always agree on names
//! and contents; pure. The elements of a set are sorted and do not overlap, as the kernel demands
//! of intervals.

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{
    capture::{Interface, PortRange, merged},
    plan::{Addresses, Match, OneOf, Plan},
};

/// A set and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name, unique within the table.
    pub name: &'static str,
    /// Its elements.
    pub elements: Elements,
}

/// Elements of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Exact names of interfaces.
    Interfaces(Vec<Interface>),
    /// IPv4 networks.
    V4(Vec<Ipv4Net>),
    /// IPv6 networks.
    V6(Vec<Ipv6Net>),
    /// Ports and ranges of ports.
    Ports(Vec<PortRange>),
    /// Users.
    Users(Vec<u32>),
    /// Groups.
    Groups(Vec<u32>),
}

/// All sets that the plan's rules need, each once, in the order of first use.
pub fn of(plan: &Plan) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    for condition in plan.rules.iter().flat_map(|rule| &rule.matches) {
        if let Some(set) = of_match(condition)
            && !sets.iter().any(|known| known.name == set.name)
        {
            sets.push(set);
        }
    }
    sets
}

/// The set's name if the list needs one: a single value is compared directly.
pub fn name_of<T>(list: &OneOf<T>) -> Option<&'static str> {
    (list.values.len() != 1).then_some(list.name)
}

fn of_match(condition: &Match) -> Option<Set> {
    let (name, elements) = match condition {
        Match::InInterface(list) | Match::OutInterface(list) => {
            (name_of(list)?, Elements::Interfaces(sorted(&list.values)))
        }
        Match::Source(Addresses::V4(list)) | Match::Destination(Addresses::V4(list)) => (
            name_of(list)?,
            Elements::V4(Ipv4Net::aggregate(&list.values)),
        ),
        Match::Source(Addresses::V6(list)) | Match::Destination(Addresses::V6(list)) => (
            name_of(list)?,
            Elements::V6(Ipv6Net::aggregate(&list.values)),
        ),
        Match::SourcePort(list) | Match::DestinationPort(list) => {
            (name_of(list)?, Elements::Ports(ports(&list.values)))
        }
        Match::User(list) => (name_of(list)?, Elements::Users(sorted(&list.values))),
        Match::Group(list) => (name_of(list)?, Elements::Groups(sorted(&list.values))),
        Match::Family(_)
        | Match::Protocol(_)
        | Match::Mark { .. }
        | Match::ConnectionMark(_)
        | Match::Established
        | Match::Invalid => return None,
    };
    Some(Set { name, elements })
}

/// Single ports stay single, for the kernel has a faster set for those.
fn ports(values: &[PortRange]) -> Vec<PortRange> {
    if values.iter().all(|range| range.is_single()) {
        sorted(values)
    } else {
        merged(values)
    }
}

fn sorted<T: Clone + Ord>(values: &[T]) -> Vec<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

// === impl Elements ===

impl Elements {
    /// Whether an element stands for more than one value.
    pub fn has_intervals(&self) -> bool {
        match self {
            Self::Interfaces(_) | Self::Users(_) | Self::Groups(_) => false,
            Self::V4(networks) => networks.iter().any(|network| network.prefix_len() < 32),
            Self::V6(networks) => networks.iter().any(|network| network.prefix_len() < 128),
            Self::Ports(ranges) => ranges.iter().any(|range| !range.is_single()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// The aggregation is a library's; what it keeps and what it leaves out decides about
        /// capture.
        #[test]
        fn aggregated_networks_hold_just_what_the_listed_ones_hold(
            v4 in vec((any::<u32>(), 0u8..=32), 1..8),
            v6 in vec((any::<u128>(), 0u8..=128), 1..8),
            far in any::<u32>(),
            offset in -1i8..=1,
        ) {
            let v4: Vec<_> = v4.into_iter().map(|(bits, prefix)| Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), prefix)).collect();
            let v6: Vec<_> = v6.into_iter().map(|(bits, prefix)| Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix)).collect();
            let (merged_v4, merged_v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
            let edges_v4 = v4.iter().flat_map(|network| [network.network(), network.broadcast()]);
            for edge in edges_v4.chain([Ipv4Addr::from_bits(far)]) {
                let probe = Ipv4Addr::from_bits(edge.to_bits().wrapping_add_signed(offset.into()));
                let holds = |networks: &[Ipv4Net]| networks.iter().any(|network| network.contains(&probe));
                prop_assert_eq!(holds(&v4), holds(&merged_v4), "{}", probe);
            }
            for edge in v6.iter().flat_map(|network| [network.network(), network.broadcast()]) {
                let probe = Ipv6Addr::from_bits(edge.to_bits().wrapping_add_signed(offset.into()));
                let holds = |networks: &[Ipv6Net]| networks.iter().any(|network| network.contains(&probe));
                prop_assert_eq!(holds(&v6), holds(&merged_v6), "{}", probe);
            }
        }
    }
}

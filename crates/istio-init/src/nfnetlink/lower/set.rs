//! The sets of a plan, as the kernel takes their elements.
//!
//! Called by [`lower`](super::lower); pure. Keys are in the byte order in which rules load what they
//! look up: addresses and ports in the network's, owners in the machine's.

use std::num::NonZeroU16;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{INTERFACE_LENGTH, interface_bytes, port_bytes};
use crate::{
    capture::PortRange,
    nfnetlink::{
        ruleset::{Element, Set},
        uapi::{key, set as flag},
    },
    sets::{self, Elements},
};

/// The set with its elements in the kernel's order.
pub(super) fn set(set: sets::Set) -> Set {
    let has_intervals = set.elements.has_intervals();
    let (key_type, key_length, mut elements) = match set.elements {
        Elements::Interfaces(names) => (
            key::INTERFACE_NAME,
            INTERFACE_LENGTH,
            values(names.iter().map(interface_bytes)),
        ),
        Elements::V4(networks) => (
            key::IPV4_ADDRESS,
            size_of::<u32>(),
            intervals(networks.iter().map(bounds_v4), has_intervals),
        ),
        Elements::V6(networks) => (
            key::IPV6_ADDRESS,
            size_of::<u128>(),
            intervals(networks.iter().map(bounds_v6), has_intervals),
        ),
        Elements::Ports(ranges) => {
            let bounds = |range: &PortRange| {
                (
                    port_bytes(range.first()),
                    range.last().checked_add(1).map(port_bytes),
                )
            };
            (
                key::INET_SERVICE,
                size_of::<NonZeroU16>(),
                intervals(ranges.iter().map(bounds), has_intervals),
            )
        }
        Elements::Users(users) => (
            key::UID,
            size_of::<u32>(),
            values(users.iter().map(|user| user.to_ne_bytes().to_vec())),
        ),
        Elements::Groups(groups) => (
            key::GID,
            size_of::<u32>(),
            values(groups.iter().map(|group| group.to_ne_bytes().to_vec())),
        ),
    };
    elements.sort_unstable();
    Set {
        name: set.name.to_owned(),
        flags: if has_intervals {
            flag::CONSTANT | flag::INTERVAL
        } else {
            flag::CONSTANT
        },
        key_type,
        key_length: u32::try_from(key_length).expect("keys are a few bytes long"),
        elements,
    }
}

fn values(keys: impl Iterator<Item = Vec<u8>>) -> Vec<Element> {
    keys.map(|key| Element { key, is_end: false }).collect()
}

/// Each interval is its first value and, unless it reaches the highest value of all, the first one
/// behind it.
///
/// Intervals come sorted; where one begins right behind another the two are one, because the kernel
/// takes such a pair for an overlap.
fn intervals(
    bounds: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    has_intervals: bool,
) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    for (first, behind) in bounds {
        let touches = |last: &Element| last.is_end && last.key == first;
        if elements.pop_if(|last| touches(last)).is_none() {
            let is_end = false;
            elements.push(Element { key: first, is_end });
        }
        if has_intervals && let Some(key) = behind {
            elements.push(Element { key, is_end: true });
        }
    }
    elements
}

fn bounds_v4(network: &Ipv4Net) -> (Vec<u8>, Option<Vec<u8>>) {
    let behind = network.broadcast().to_bits().checked_add(1);
    (
        network.network().octets().to_vec(),
        behind.map(|address| address.to_be_bytes().to_vec()),
    )
}

fn bounds_v6(network: &Ipv6Net) -> (Vec<u8>, Option<Vec<u8>>) {
    let behind = network.broadcast().to_bits().checked_add(1);
    (
        network.network().octets().to_vec(),
        behind.map(|address| address.to_be_bytes().to_vec()),
    )
}

//! What is to be captured: the flags and variables, checked and typed.
//!
//! Made by [`args`](crate::args), read by [`rules`](crate::rules), which turns it into a plan.
//! Whoever holds a [`Capture`] may rely on every value being one that the kernel accepts.

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use ipnet::{IpNet, Ipv4Net};

/// Everything that decides which packets go to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Port that outbound connections are redirected to.
    pub outbound_port: NonZeroU16,
    /// Port that inbound connections are redirected to.
    pub inbound_port: NonZeroU16,
    /// HBONE port, never redirected inbound.
    pub tunnel_port: NonZeroU16,
    /// Users whose traffic passes; the first one is the proxy that calls itself through `lo`. Never
    /// empty.
    pub proxy_uids: Vec<u32>,
    /// Groups whose traffic passes. Never empty.
    pub proxy_gids: Vec<u32>,
    /// How inbound connections come to the proxy.
    pub interception: Interception,
    /// Which inbound ports are captured.
    pub inbound: Inbound,
    /// Which outbound destinations are captured.
    pub destinations: Destinations,
    /// Outbound destinations that pass, whatever `destinations` says.
    pub excluded_destinations: Vec<IpNet>,
    /// Outbound ports that are captured whatever the destination.
    pub included_ports: Vec<PortRange>,
    /// Outbound ports that pass, TCP and UDP; they beat every other option.
    pub excluded_ports: Vec<PortRange>,
    /// Interfaces without any capture.
    pub excluded_interfaces: Vec<Interface>,
    /// Interfaces of virtual machines: what comes in there counts as outbound.
    pub virtual_interfaces: Vec<Interface>,
    /// Groups of the application whose outbound traffic is captured.
    pub owner_groups: OwnerGroups,
    /// Which questions to DNS servers are captured.
    pub dns: Dns,
    /// IPv4 destinations that count as "this very pod", `127.0.0.1/32` unless told otherwise. Kept
    /// as written.
    pub loopback: Ipv4Net,
    /// Whether packets that connection tracking finds invalid are dropped on arrival.
    pub drop_invalid: bool,
}

/// How inbound connections come to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interception {
    /// Their destination address is translated; the proxy asks the kernel for the original one.
    Redirect,
    /// They are handed over as they are; the proxy's socket must be transparent.
    Tproxy {
        /// Mark of the packets that belong to the proxy.
        mark: NonZeroU32,
        /// Routing table that delivers marked packets to the pod itself.
        table: NonZeroU32,
    },
}

/// Which questions to DNS servers are captured, over UDP and TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// None.
    Off,
    /// Those to the servers that the pod's resolver asks, none if the list is empty.
    Servers(Vec<IpAddr>),
    /// Those to any server.
    All,
}

/// Which inbound ports are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// No inbound capture at all.
    None,
    /// All ports but these.
    All {
        /// Ports that pass.
        except: Vec<PortRange>,
    },
    /// Only these ports.
    Only {
        /// Ports that are captured.
        ports: Vec<PortRange>,
        /// Those ranges, excluded by name, that overlap with `ports`: exclusion wins.
        except: Vec<PortRange>,
    },
}

/// Which outbound destinations are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destinations {
    /// Every address.
    All,
    /// Only these networks; none if the list is empty.
    Only(Vec<IpNet>),
}

/// Groups of the application whose outbound traffic is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerGroups {
    /// All groups but these.
    All {
        /// Groups whose traffic passes.
        except: Vec<u32>,
    },
    /// Only these groups. Never empty.
    Only(Vec<u32>),
}

/// TCP or UDP ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

/// Name of a network interface, exact or, with a `+` at its end, a prefix; `eth0`, `veth+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    name: String,
}

/// Why a text is not the name of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an interface name has 1 to 15 letters, digits or signs, without spaces, slashes or quotes"
)]
pub struct InvalidInterface;

/// Longest name of an interface in bytes (`IFNAMSIZ` without the final zero).
const INTERFACE_LIMIT: usize = 15;

/// IPv4's loopback address as a network, the default of [`Capture::loopback`].
pub const LOOPBACK_V4: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::LOCALHOST, 32);

// === impl Dns ===

impl Dns {
    /// Whether any question is captured.
    pub fn is_captured(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Servers(servers) => !servers.is_empty(),
            Self::All => true,
        }
    }
}

// === impl Destinations ===

impl Destinations {
    /// Whether a loopback address is among the networks that are listed, so that calls to localhost
    /// are captured too.
    pub fn lists_loopback(&self) -> bool {
        match self {
            Self::All => false,
            Self::Only(networks) => networks.iter().any(|network| network.addr().is_loopback()),
        }
    }
}

// === impl PortRange ===

impl PortRange {
    /// The range from `first` to `last`, or nothing if they are the wrong way round.
    pub fn new(first: NonZeroU16, last: NonZeroU16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The range of one port.
    pub fn single(port: NonZeroU16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first.get()
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last.get()
    }

    /// Whether the range is one port.
    pub fn is_single(self) -> bool {
        self.first == self.last
    }

    /// Whether the port is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first()..=self.last()).contains(&port)
    }

    /// Whether a port is in both ranges.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// `80` or `6000-8000`.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

// === impl Interface ===

impl Interface {
    /// The loopback interface.
    pub fn loopback() -> Self {
        Self {
            name: "lo".to_owned(),
        }
    }

    /// Reads a name, `eth0` or `veth+`.
    ///
    /// # Errors
    /// Where the kernel could not have an interface of this name, or where the name could be read
    /// as more than a name.
    pub fn parse(text: &str) -> Result<Self, InvalidInterface> {
        let stem = text.strip_suffix('+').unwrap_or(text);
        let plain = stem
            .chars()
            .all(|c| c.is_ascii_graphic() && !"/\"'\\+*:{}".contains(c));
        let usable =
            !stem.is_empty() && stem.len() <= INTERFACE_LIMIT && stem != "." && stem != "..";
        if plain && usable {
            Ok(Self {
                name: text.to_owned(),
            })
        } else {
            Err(InvalidInterface)
        }
    }

    /// The name, or the prefix without its `+`.
    pub fn stem(&self) -> &str {
        self.name.strip_suffix('+').unwrap_or(&self.name)
    }

    /// Whether every name that begins with [`Interface::stem`] is meant.
    pub fn is_prefix(&self) -> bool {
        self.name.ends_with('+')
    }
}

/// As it was written: `eth0` or `veth+`, iptables' notation.
impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Sorts ranges and joins those that overlap or touch, as a set with intervals wants them.
pub fn merged(ports: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(previous) if range.first() <= previous.last().saturating_add(1) => {
                previous.last = previous.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        let port = |number| NonZeroU16::new(number).expect("test ports are not zero");
        PortRange::new(port(first), port(last)).expect("test ranges are the right way round")
    }

    #[test]
    fn names_that_could_be_read_as_more_than_a_name_are_refused() {
        for text in [
            "eth0",
            "veth+",
            "cni-podman0",
            "eth0.100",
            "a23456789012345",
        ] {
            assert_eq!(
                Interface::parse(text).map(|name| name.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "",
            "+",
            ".",
            "..",
            "eth0 -j ACCEPT",
            "a/b",
            "eth\"0",
            "eth*",
            "a234567890123456",
            "naïve",
            "e++",
        ] {
            assert_eq!(Interface::parse(text), Err(InvalidInterface), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn merging_keeps_exactly_the_ports_and_leaves_gaps(bounds in prop::collection::vec((1u16.., 0u16..50), 0..20), probe in 1u16..) {
            let ranges: Vec<_> = bounds.into_iter().map(|(first, more)| range(first, first.saturating_add(more))).collect();
            let merged = merged(&ranges);
            let holds = |list: &[PortRange]| list.iter().any(|range| (range.first()..=range.last()).contains(&probe));
            prop_assert_eq!(holds(&ranges), holds(&merged));
            for pair in merged.windows(2) {
                prop_assert!(u32::from(pair[0].last()) + 1 < u32::from(pair[1].first()));
            }
        }
    }
}

//! Addresses with a meaning that `istio-init` and the agent share.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Source address of the agent's connections to its application: the rules let it pass uncaptured.
pub const INBOUND_SOURCE_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// As [`INBOUND_SOURCE_V4`] for IPv6; `istio-init` adds it to `lo`, because only `::1` is there by itself.
pub const INBOUND_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

//! Numbers of the kernel's interface, from `linux/netfilter/nf_tables.h` and
//! `linux/netfilter/nfnetlink.h`.
//!
//! Read by everything around it. They are part of what Linux promises never to change, so they are
//! spelled here rather than taken from headers at build time.

/// Kinds of messages; nf_tables is subsystem 10 of nfnetlink, in the upper byte.
pub(super) mod message {
    const NFTABLES: u16 = 10 << 8;
    pub(in crate::nfnetlink) const BATCH_BEGIN: u16 = 0x10;
    pub(in crate::nfnetlink) const BATCH_END: u16 = 0x11;
    pub(in crate::nfnetlink) const NEW_TABLE: u16 = NFTABLES;
    pub(in crate::nfnetlink) const GET_TABLE: u16 = NFTABLES | 1;
    pub(in crate::nfnetlink) const DELETE_TABLE: u16 = NFTABLES | 2;
    pub(in crate::nfnetlink) const NEW_CHAIN: u16 = NFTABLES | 3;
    pub(in crate::nfnetlink) const GET_CHAIN: u16 = NFTABLES | 4;
    pub(in crate::nfnetlink) const DELETE_CHAIN: u16 = NFTABLES | 5;
    pub(in crate::nfnetlink) const NEW_RULE: u16 = NFTABLES | 6;
    pub(in crate::nfnetlink) const GET_RULE: u16 = NFTABLES | 7;
    pub(in crate::nfnetlink) const DELETE_RULE: u16 = NFTABLES | 8;
    pub(in crate::nfnetlink) const NEW_SET: u16 = NFTABLES | 9;
    pub(in crate::nfnetlink) const GET_SET: u16 = NFTABLES | 10;
    pub(in crate::nfnetlink) const NEW_ELEMENTS: u16 = NFTABLES | 12;
    pub(in crate::nfnetlink) const GET_ELEMENTS: u16 = NFTABLES | 13;
    pub(in crate::nfnetlink) const NEW_GENERATION: u16 = NFTABLES | 15;
    pub(in crate::nfnetlink) const GET_GENERATION: u16 = NFTABLES | 16;
}

/// The fixed part of every message (`struct nfgenmsg`): family, version, resource.
pub(super) const HEADER: usize = 4;
/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
pub(super) const FAMILY_INET: u8 = 1;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`, what `meta nfproto` gives.
pub(super) const NFPROTO: [u8; 2] = [2, 10];

/// Attributes of the batch and of generations.
pub(super) const BATCH_GENERATION: u16 = 1;
pub(super) const GENERATION_ID: u16 = 1;
/// The element of any list.
pub(super) const LIST_ELEMENT: u16 = 1;

/// Attributes of tables.
pub(super) mod table {
    pub(in crate::nfnetlink) const NAME: u16 = 1;
    pub(in crate::nfnetlink) const FLAGS: u16 = 2;
}

/// Attributes of chains.
pub(super) mod chain {
    pub(in crate::nfnetlink) const TABLE: u16 = 1;
    pub(in crate::nfnetlink) const NAME: u16 = 3;
    pub(in crate::nfnetlink) const HOOK: u16 = 4;
    pub(in crate::nfnetlink) const HOOK_NUMBER: u16 = 1;
    pub(in crate::nfnetlink) const HOOK_PRIORITY: u16 = 2;
    pub(in crate::nfnetlink) const POLICY: u16 = 5;
    pub(in crate::nfnetlink) const TYPE: u16 = 7;
    /// `NF_INET_PRE_ROUTING`.
    pub(in crate::nfnetlink) const PREROUTING: u32 = 0;
    /// `NF_INET_LOCAL_OUT`.
    pub(in crate::nfnetlink) const OUTPUT: u32 = 3;
}

/// Attributes of rules.
pub(super) mod rule {
    pub(in crate::nfnetlink) const TABLE: u16 = 1;
    pub(in crate::nfnetlink) const CHAIN: u16 = 2;
    pub(in crate::nfnetlink) const HANDLE: u16 = 3;
    pub(in crate::nfnetlink) const EXPRESSIONS: u16 = 4;
}

/// Attributes and flags of sets and their elements.
pub(super) mod set {
    pub(in crate::nfnetlink) const TABLE: u16 = 1;
    pub(in crate::nfnetlink) const NAME: u16 = 2;
    pub(in crate::nfnetlink) const FLAGS: u16 = 3;
    pub(in crate::nfnetlink) const KEY_TYPE: u16 = 4;
    pub(in crate::nfnetlink) const KEY_LENGTH: u16 = 5;
    pub(in crate::nfnetlink) const ID: u16 = 10;
    pub(in crate::nfnetlink) const USER_DATA: u16 = 13;
    pub(in crate::nfnetlink) const CONSTANT: u32 = 2;
    pub(in crate::nfnetlink) const INTERVAL: u32 = 4;
    pub(in crate::nfnetlink) const LIST_TABLE: u16 = 1;
    pub(in crate::nfnetlink) const LIST_SET: u16 = 2;
    pub(in crate::nfnetlink) const LIST_ELEMENTS: u16 = 3;
    pub(in crate::nfnetlink) const ELEMENT_KEY: u16 = 1;
    pub(in crate::nfnetlink) const ELEMENT_FLAGS: u16 = 3;
    pub(in crate::nfnetlink) const INTERVAL_END: u32 = 1;
}

/// Types of set keys. The kernel only keeps them; they tell `nft list` how to print (its
/// `datatype.h`).
pub(super) mod key {
    pub(in crate::nfnetlink) const IPV4_ADDRESS: u32 = 7;
    pub(in crate::nfnetlink) const IPV6_ADDRESS: u32 = 8;
    pub(in crate::nfnetlink) const INET_SERVICE: u32 = 13;
    pub(in crate::nfnetlink) const UID: u32 = 24;
    pub(in crate::nfnetlink) const GID: u32 = 25;
    pub(in crate::nfnetlink) const INTERFACE_NAME: u32 = 41;
}

/// Attributes of expressions, by expression.
pub(super) mod expression {
    pub(in crate::nfnetlink) const NAME: u16 = 1;
    pub(in crate::nfnetlink) const DATA: u16 = 2;
    pub(in crate::nfnetlink) const VALUE: u16 = 1;
    pub(in crate::nfnetlink) const VERDICT: u16 = 2;
    pub(in crate::nfnetlink) const VERDICT_CODE: u16 = 1;
    pub(in crate::nfnetlink) const VERDICT_CHAIN: u16 = 2;
    pub(in crate::nfnetlink) const META_DESTINATION: u16 = 1;
    pub(in crate::nfnetlink) const META_KEY: u16 = 2;
    pub(in crate::nfnetlink) const CT_DESTINATION: u16 = 1;
    pub(in crate::nfnetlink) const CT_KEY: u16 = 2;
    pub(in crate::nfnetlink) const CT_DIRECTION: u16 = 3;
    pub(in crate::nfnetlink) const META_SOURCE: u16 = 3;
    pub(in crate::nfnetlink) const CT_SOURCE: u16 = 4;
    pub(in crate::nfnetlink) const PAYLOAD_DESTINATION: u16 = 1;
    pub(in crate::nfnetlink) const PAYLOAD_BASE: u16 = 2;
    pub(in crate::nfnetlink) const PAYLOAD_OFFSET: u16 = 3;
    pub(in crate::nfnetlink) const PAYLOAD_LENGTH: u16 = 4;
    pub(in crate::nfnetlink) const BITWISE_SOURCE: u16 = 1;
    pub(in crate::nfnetlink) const BITWISE_DESTINATION: u16 = 2;
    pub(in crate::nfnetlink) const BITWISE_LENGTH: u16 = 3;
    pub(in crate::nfnetlink) const BITWISE_MASK: u16 = 4;
    pub(in crate::nfnetlink) const BITWISE_XOR: u16 = 5;
    pub(in crate::nfnetlink) const BITWISE_OPERATION: u16 = 6;
    pub(in crate::nfnetlink) const COMPARE_SOURCE: u16 = 1;
    pub(in crate::nfnetlink) const COMPARE_OPERATION: u16 = 2;
    pub(in crate::nfnetlink) const COMPARE_DATA: u16 = 3;
    pub(in crate::nfnetlink) const RANGE_SOURCE: u16 = 1;
    pub(in crate::nfnetlink) const RANGE_OPERATION: u16 = 2;
    pub(in crate::nfnetlink) const RANGE_FROM: u16 = 3;
    pub(in crate::nfnetlink) const RANGE_TO: u16 = 4;
    pub(in crate::nfnetlink) const LOOKUP_SET: u16 = 1;
    pub(in crate::nfnetlink) const LOOKUP_SOURCE: u16 = 2;
    pub(in crate::nfnetlink) const LOOKUP_FLAGS: u16 = 5;
    pub(in crate::nfnetlink) const IMMEDIATE_DESTINATION: u16 = 1;
    pub(in crate::nfnetlink) const IMMEDIATE_DATA: u16 = 2;
    pub(in crate::nfnetlink) const TPROXY_FAMILY: u16 = 1;
    pub(in crate::nfnetlink) const TPROXY_ADDRESS: u16 = 2;
    pub(in crate::nfnetlink) const TPROXY_PORT: u16 = 3;
    pub(in crate::nfnetlink) const REDIRECT_FIRST: u16 = 1;
    pub(in crate::nfnetlink) const REDIRECT_LAST: u16 = 2;
    pub(in crate::nfnetlink) const REDIRECT_FLAGS: u16 = 3;
}

/// Registers: verdicts go to the first, values to the next.
pub(super) const REGISTER_VERDICT: u32 = 0;
pub(super) const REGISTER: u32 = 1;

/// Keys of `meta`.
pub(super) mod meta {
    pub(in crate::nfnetlink) const MARK: u32 = 3;
    pub(in crate::nfnetlink) const IN_NAME: u32 = 6;
    pub(in crate::nfnetlink) const OUT_NAME: u32 = 7;
    pub(in crate::nfnetlink) const SOCKET_USER: u32 = 10;
    pub(in crate::nfnetlink) const SOCKET_GROUP: u32 = 11;
    pub(in crate::nfnetlink) const FAMILY: u32 = 15;
    pub(in crate::nfnetlink) const PROTOCOL: u32 = 16;
}

/// Keys of `ct`, and bits of the state (`NF_CT_STATE_BIT` of `enum ip_conntrack_info`).
pub(super) mod ct {
    pub(in crate::nfnetlink) const STATE: u32 = 0;
    pub(in crate::nfnetlink) const MARK: u32 = 3;
    pub(in crate::nfnetlink) const ZONE: u32 = 17;
    pub(in crate::nfnetlink) const INVALID: u32 = 1;
    pub(in crate::nfnetlink) const ESTABLISHED: u32 = 2;
    pub(in crate::nfnetlink) const RELATED: u32 = 4;
}

/// Directions of a connection (`enum ip_conntrack_dir`); the last one is what the kernel reports where
/// no direction was named.
pub(super) mod direction {
    pub(in crate::nfnetlink) const ORIGINAL: u8 = 0;
    pub(in crate::nfnetlink) const BOTH: u8 = 2;
}

/// Where a payload's offset counts from.
pub(super) const BASE_NETWORK: u32 = 1;
pub(super) const BASE_TRANSPORT: u32 = 2;

/// Verdicts.
pub(super) const VERDICT_DROP: u32 = 0;
pub(super) const VERDICT_ACCEPT: u32 = 1;
pub(super) const VERDICT_JUMP: u32 = -3_i32 as u32;
pub(super) const VERDICT_RETURN: u32 = -5_i32 as u32;

/// `NF_NAT_RANGE_PROTO_SPECIFIED`: redirect to a given port.
pub(super) const REDIRECT_TO_PORT: u32 = 2;

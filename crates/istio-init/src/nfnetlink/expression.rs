//! The expressions that rules are made of, to and from netlink attributes.
//!
//! Called by the transaction and by the reader; pure. Every value goes through the one register
//! that rules of ours use, so whatever the kernel holds that does not read back as one of these
//! expressions is not ours and compares unequal to all that is.

mod decode;

use super::uapi::{self, direction, expression as attribute};
use crate::netlink::Packet;

/// One step of a rule: load something, compare it, or act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Load a fact about the packet that is not in it.
    Meta {
        /// Which fact.
        key: u32,
    },
    /// Make what is loaded a fact about the packet.
    SetMeta {
        /// Which fact.
        key: u32,
    },
    /// Load what connection tracking knows.
    Tracking {
        /// Which fact.
        key: u32,
    },
    /// Tell connection tracking what is loaded.
    SetTracking {
        /// Which fact.
        key: u32,
        /// Whether it is told of the original direction alone.
        is_original: bool,
    },
    /// Load bytes of the packet.
    Payload {
        /// Which header.
        base: u32,
        /// From where, in bytes.
        offset: u32,
        /// How many bytes.
        length: u32,
    },
    /// Keep only these bits.
    Mask {
        /// The bits.
        mask: Vec<u8>,
    },
    /// Go on only if the value is (not) this.
    Compare {
        /// Whether it must differ.
        negated: bool,
        /// The value.
        value: Vec<u8>,
    },
    /// Go on only if the value is (not) in this range, ends included.
    Range {
        /// Whether it must be outside.
        negated: bool,
        /// The lowest value.
        from: Vec<u8>,
        /// The highest value.
        to: Vec<u8>,
    },
    /// Go on only if the value is (not) in this set.
    Lookup {
        /// Whether it must be missing.
        negated: bool,
        /// The set's name.
        set: String,
    },
    /// Count the packet.
    Counter,
    /// Load a constant.
    Value {
        /// The constant.
        value: Vec<u8>,
    },
    /// Redirect to the port that was loaded.
    Redirect,
    /// Hand over to the transparent socket on the port that was loaded; go on only if there is one.
    Tproxy {
        /// For packets of this family, or of any if it is 0.
        family: u32,
    },
    /// Decide.
    Verdict {
        /// What.
        code: u32,
        /// Where to go, if that is what was decided.
        chain: Option<String>,
    },
    /// Something that no rule of ours has.
    Foreign,
}

// === impl Expression ===

impl Expression {
    /// Appends the expression as an element of a rule's list.
    pub(super) fn encode(&self, packet: &mut Packet) {
        packet.nest(uapi::LIST_ELEMENT, |packet| {
            packet.name(attribute::NAME, self.name());
            packet.nest(attribute::DATA, |packet| self.encode_fields(packet));
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Tracking { .. } | Self::SetTracking { .. } => "ct",
            Self::Payload { .. } => "payload",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Range { .. } => "range",
            Self::Lookup { .. } => "lookup",
            Self::Counter => "counter",
            Self::Value { .. } | Self::Verdict { .. } => "immediate",
            Self::Redirect => "redir",
            Self::Tproxy { .. } => "tproxy",
            // Never written: it only stands for what was read.
            Self::Foreign => "",
        }
    }

    fn encode_fields(&self, packet: &mut Packet) {
        match self {
            Self::Meta { key } => {
                packet.number(attribute::META_DESTINATION, uapi::REGISTER);
                packet.number(attribute::META_KEY, *key);
            }
            Self::SetMeta { key } => {
                packet.number(attribute::META_KEY, *key);
                packet.number(attribute::META_SOURCE, uapi::REGISTER);
            }
            Self::Tracking { key } => {
                packet.number(attribute::CT_DESTINATION, uapi::REGISTER);
                packet.number(attribute::CT_KEY, *key);
            }
            Self::SetTracking { key, is_original } => encode_tracking(packet, *key, *is_original),
            Self::Payload {
                base,
                offset,
                length,
            } => {
                packet.number(attribute::PAYLOAD_DESTINATION, uapi::REGISTER);
                packet.number(attribute::PAYLOAD_BASE, *base);
                packet.number(attribute::PAYLOAD_OFFSET, *offset);
                packet.number(attribute::PAYLOAD_LENGTH, *length);
            }
            Self::Mask { mask } => encode_mask(packet, mask),
            Self::Compare { negated, value } => {
                packet.number(attribute::COMPARE_SOURCE, uapi::REGISTER);
                packet.number(attribute::COMPARE_OPERATION, u32::from(*negated));
                encode_value(packet, attribute::COMPARE_DATA, value);
            }
            Self::Range { negated, from, to } => {
                packet.number(attribute::RANGE_SOURCE, uapi::REGISTER);
                packet.number(attribute::RANGE_OPERATION, u32::from(*negated));
                encode_value(packet, attribute::RANGE_FROM, from);
                encode_value(packet, attribute::RANGE_TO, to);
            }
            Self::Lookup { negated, set } => {
                packet.name(attribute::LOOKUP_SET, set);
                packet.number(attribute::LOOKUP_SOURCE, uapi::REGISTER);
                packet.number(attribute::LOOKUP_FLAGS, u32::from(*negated));
            }
            Self::Value { value } => {
                packet.number(attribute::IMMEDIATE_DESTINATION, uapi::REGISTER);
                encode_value(packet, attribute::IMMEDIATE_DATA, value);
            }
            Self::Redirect => {
                packet.number(attribute::REDIRECT_FIRST, uapi::REGISTER);
                packet.number(attribute::REDIRECT_FLAGS, uapi::REDIRECT_TO_PORT);
            }
            Self::Tproxy { family } => {
                packet.number(attribute::TPROXY_FAMILY, *family);
                packet.number(attribute::TPROXY_PORT, uapi::REGISTER);
            }
            Self::Verdict { code, chain } => encode_verdict(packet, *code, chain.as_deref()),
            Self::Counter | Self::Foreign => {}
        }
    }
}

fn encode_tracking(packet: &mut Packet, key: u32, is_original: bool) {
    packet.number(attribute::CT_KEY, key);
    packet.number(attribute::CT_SOURCE, uapi::REGISTER);
    if is_original {
        packet.bytes_attribute(attribute::CT_DIRECTION, &[direction::ORIGINAL]);
    }
}

fn encode_value(packet: &mut Packet, kind: u16, value: &[u8]) {
    packet.nest(kind, |packet| {
        packet.bytes_attribute(attribute::VALUE, value)
    });
}

fn encode_mask(packet: &mut Packet, mask: &[u8]) {
    let length = u32::try_from(mask.len()).expect("a mask is as long as an address");
    packet.number(attribute::BITWISE_SOURCE, uapi::REGISTER);
    packet.number(attribute::BITWISE_DESTINATION, uapi::REGISTER);
    packet.number(attribute::BITWISE_LENGTH, length);
    encode_value(packet, attribute::BITWISE_MASK, mask);
    encode_value(packet, attribute::BITWISE_XOR, &vec![0; mask.len()]);
}

fn encode_verdict(packet: &mut Packet, code: u32, chain: Option<&str>) {
    packet.number(attribute::IMMEDIATE_DESTINATION, uapi::REGISTER_VERDICT);
    packet.nest(attribute::IMMEDIATE_DATA, |packet| {
        packet.nest(attribute::VERDICT, |packet| {
            packet.number(attribute::VERDICT_CODE, code);
            if let Some(chain) = chain {
                packet.name(attribute::VERDICT_CHAIN, chain);
            }
        });
    });
}

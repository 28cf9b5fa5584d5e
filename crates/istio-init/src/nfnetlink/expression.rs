//! The expressions that rules are made of, to and from netlink attributes.
//!
//! Called by the transaction and by the reader; pure. Every value goes through the one register
//! that rules of ours use, so whatever the kernel holds that does not read back as one of these
//! expressions is not ours and compares unequal to all that is.

use super::uapi::{self, expression as attribute};
use crate::netlink::{Attribute, Malformed, Packet};

/// One step of a rule: load something, compare it, or act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Load a fact about the packet that is not in it.
    Meta {
        /// Which fact.
        key: u32,
    },
    /// Load the state of connection tracking.
    State,
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

/// Attributes of an expression by number, each at most once.
struct Fields<'a> {
    attributes: Vec<Attribute<'a>>,
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

    /// Reads an element of a rule's list.
    pub(super) fn decode(element: &Attribute<'_>) -> Result<Self, Malformed> {
        let fields = Fields::new(element.nested())?;
        let name = fields.name(attribute::NAME)?.unwrap_or_default();
        let data = match fields.attribute(attribute::DATA) {
            Some(data) => Fields::new(data.nested())?,
            None => Fields {
                attributes: Vec::new(),
            },
        };
        Ok(Self::decode_fields(name, &data)?.unwrap_or(Self::Foreign))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::State => "ct",
            Self::Payload { .. } => "payload",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Range { .. } => "range",
            Self::Lookup { .. } => "lookup",
            Self::Counter => "counter",
            Self::Value { .. } | Self::Verdict { .. } => "immediate",
            Self::Redirect => "redir",
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
            Self::State => {
                packet.number(attribute::CT_DESTINATION, uapi::REGISTER);
                packet.number(attribute::CT_KEY, uapi::CT_STATE);
            }
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
            Self::Verdict { code, chain } => encode_verdict(packet, *code, chain.as_deref()),
            Self::Counter | Self::Foreign => {}
        }
    }

    /// Nothing means that it is none of ours.
    fn decode_fields(name: &str, data: &Fields<'_>) -> Result<Option<Self>, Malformed> {
        let is_value = |kind| Ok::<_, Malformed>(data.number(kind)? == Some(uapi::REGISTER));
        Ok(match name {
            "meta" if is_value(attribute::META_DESTINATION)? => data
                .number(attribute::META_KEY)?
                .map(|key| Self::Meta { key }),
            "ct" if is_value(attribute::CT_DESTINATION)? => {
                (data.number(attribute::CT_KEY)? == Some(uapi::CT_STATE)).then_some(Self::State)
            }
            "payload" if is_value(attribute::PAYLOAD_DESTINATION)? => data.payload()?,
            "bitwise"
                if is_value(attribute::BITWISE_SOURCE)?
                    && is_value(attribute::BITWISE_DESTINATION)? =>
            {
                data.mask()?
            }
            "cmp" if is_value(attribute::COMPARE_SOURCE)? => {
                let negated = data.boolean(attribute::COMPARE_OPERATION)?;
                let value = data.value(attribute::COMPARE_DATA)?;
                negated
                    .zip(value)
                    .map(|(negated, value)| Self::Compare { negated, value })
            }
            "range" if is_value(attribute::RANGE_SOURCE)? => data.range()?,
            "lookup" if is_value(attribute::LOOKUP_SOURCE)? => data.lookup()?,
            "counter" => Some(Self::Counter),
            "immediate" if is_value(attribute::IMMEDIATE_DESTINATION)? => data
                .value(attribute::IMMEDIATE_DATA)?
                .map(|value| Self::Value { value }),
            "immediate"
                if data.number(attribute::IMMEDIATE_DESTINATION)?
                    == Some(uapi::REGISTER_VERDICT) =>
            {
                data.verdict()?
            }
            "redir" if is_value(attribute::REDIRECT_FIRST)? => {
                // The kernel fills in the last port of the range, which is the first.
                let last = data
                    .number(attribute::REDIRECT_LAST)?
                    .unwrap_or(uapi::REGISTER);
                let flags = data.number(attribute::REDIRECT_FLAGS)?;
                (last == uapi::REGISTER && flags == Some(uapi::REDIRECT_TO_PORT))
                    .then_some(Self::Redirect)
            }
            _ => None,
        })
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn new(
        attributes: impl Iterator<Item = Result<Attribute<'a>, Malformed>>,
    ) -> Result<Self, Malformed> {
        let attributes = attributes.collect::<Result<_, _>>()?;
        Ok(Self { attributes })
    }

    fn attribute(&self, kind: u16) -> Option<&Attribute<'a>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.kind == kind)
    }

    fn number(&self, kind: u16) -> Result<Option<u32>, Malformed> {
        self.attribute(kind).map(Attribute::number).transpose()
    }

    fn name(&self, kind: u16) -> Result<Option<&'a str>, Malformed> {
        self.attribute(kind).map(Attribute::name).transpose()
    }

    /// Comparisons and ranges have two operations of ours: 0 for equal, 1 for not equal.
    fn boolean(&self, kind: u16) -> Result<Option<bool>, Malformed> {
        Ok(match self.number(kind)? {
            Some(0) => Some(false),
            Some(1) => Some(true),
            Some(_) | None => None,
        })
    }

    fn value(&self, kind: u16) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(data) = self.attribute(kind) else {
            return Ok(None);
        };
        let fields = Self::new(data.nested())?;
        Ok(fields
            .attribute(attribute::VALUE)
            .map(|value| value.value.to_vec()))
    }

    fn payload(&self) -> Result<Option<Expression>, Malformed> {
        let base = self.number(attribute::PAYLOAD_BASE)?;
        let offset = self.number(attribute::PAYLOAD_OFFSET)?;
        let length = self.number(attribute::PAYLOAD_LENGTH)?;
        let loaded = base.zip(offset).zip(length);
        Ok(loaded.map(|((base, offset), length)| Expression::Payload {
            base,
            offset,
            length,
        }))
    }

    /// Kernels before 5.6 know no operation but masking and name none; the bits to flip must all be
    /// zero.
    fn mask(&self) -> Result<Option<Expression>, Malformed> {
        let is_mask = self.number(attribute::BITWISE_OPERATION)?.unwrap_or(0) == 0;
        let flipped = self.value(attribute::BITWISE_XOR)?.unwrap_or_default();
        let mask = self.value(attribute::BITWISE_MASK)?;
        let is_mask = is_mask && flipped.iter().all(|byte| *byte == 0);
        Ok(mask
            .filter(|_| is_mask)
            .map(|mask| Expression::Mask { mask }))
    }

    fn range(&self) -> Result<Option<Expression>, Malformed> {
        let negated = self.boolean(attribute::RANGE_OPERATION)?;
        let from = self.value(attribute::RANGE_FROM)?;
        let to = self.value(attribute::RANGE_TO)?;
        let range = negated.zip(from).zip(to);
        Ok(range.map(|((negated, from), to)| Expression::Range { negated, from, to }))
    }

    fn lookup(&self) -> Result<Option<Expression>, Malformed> {
        let negated = match self.attribute(attribute::LOOKUP_FLAGS) {
            Some(_) => self.boolean(attribute::LOOKUP_FLAGS)?,
            None => Some(false),
        };
        let set = self.name(attribute::LOOKUP_SET)?;
        Ok(negated.zip(set).map(|(negated, set)| Expression::Lookup {
            negated,
            set: set.to_owned(),
        }))
    }

    fn verdict(&self) -> Result<Option<Expression>, Malformed> {
        let Some(data) = self.attribute(attribute::IMMEDIATE_DATA) else {
            return Ok(None);
        };
        let fields = Self::new(data.nested())?;
        let Some(verdict) = fields.attribute(attribute::VERDICT) else {
            return Ok(None);
        };
        let fields = Self::new(verdict.nested())?;
        let chain = fields.name(attribute::VERDICT_CHAIN)?.map(str::to_owned);
        let code = fields.number(attribute::VERDICT_CODE)?;
        Ok(code.map(|code| Expression::Verdict { code, chain }))
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

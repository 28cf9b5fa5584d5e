//! Reading expressions back from what the kernel reports.
//!
//! Called by the reader of rules; pure. Whatever uses another register, names a fact that no rule of
//! ours asks for, or has more to it than a rule of ours would say, is foreign.

use super::Expression;
use crate::{
    netlink::{Attribute, Malformed},
    nfnetlink::uapi::{self, direction, expression as attribute},
};

/// Attributes of an expression by number, each at most once.
struct Fields<'a> {
    attributes: Vec<Attribute<'a>>,
}

// === impl Expression ===

impl Expression {
    /// Reads an element of a rule's list.
    pub(in crate::nfnetlink) fn decode(element: &Attribute<'_>) -> Result<Self, Malformed> {
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

    /// Nothing means that it is none of ours.
    fn decode_fields(name: &str, data: &Fields<'_>) -> Result<Option<Self>, Malformed> {
        let is_value = |kind| Ok::<_, Malformed>(data.number(kind)? == Some(uapi::REGISTER));
        Ok(match name {
            "meta" => data.fact(
                [
                    attribute::META_KEY,
                    attribute::META_DESTINATION,
                    attribute::META_SOURCE,
                ],
                |key| Self::Meta { key },
                |key| Self::SetMeta { key },
            )?,
            "ct" => data.tracking()?,
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
            "redir" if is_value(attribute::REDIRECT_FIRST)? => data.redirect()?,
            "tproxy" if is_value(attribute::TPROXY_PORT)? => {
                let address = data.attribute(attribute::TPROXY_ADDRESS);
                let family = data.number(attribute::TPROXY_FAMILY)?;
                family
                    .filter(|_| address.is_none())
                    .map(|family| Self::Tproxy { family })
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

    /// A fact that is loaded to our register or set from it: the attributes are the fact's key and
    /// the register for either way.
    fn fact(
        &self,
        [key, destination, source]: [u16; 3],
        load: impl Fn(u32) -> Expression,
        set: impl Fn(u32) -> Expression,
    ) -> Result<Option<Expression>, Malformed> {
        let (destination, source) = (self.number(destination)?, self.number(source)?);
        let key = self.number(key)?;
        Ok(match (destination, source) {
            (Some(uapi::REGISTER), None) => key.map(load),
            (None, Some(uapi::REGISTER)) => key.map(set),
            _ => None,
        })
    }

    /// A direction is only ever named where something is told of the original one.
    fn tracking(&self) -> Result<Option<Expression>, Malformed> {
        let direction = self.attribute(attribute::CT_DIRECTION);
        let is_original = match direction.map(|direction| direction.value) {
            None | Some([direction::BOTH]) => false,
            Some([direction::ORIGINAL]) => true,
            Some(_) => return Ok(None),
        };
        let keys = [
            attribute::CT_KEY,
            attribute::CT_DESTINATION,
            attribute::CT_SOURCE,
        ];
        let fact = self.fact(
            keys,
            |key| Expression::Tracking { key },
            |key| Expression::SetTracking { key, is_original },
        )?;
        Ok(fact.filter(|fact| !is_original || matches!(fact, Expression::SetTracking { .. })))
    }

    /// The kernel fills in the last port of the range, which is the first.
    fn redirect(&self) -> Result<Option<Expression>, Malformed> {
        let last = self.number(attribute::REDIRECT_LAST)?;
        let flags = self.number(attribute::REDIRECT_FLAGS)?;
        let is_one = last.is_none_or(|last| last == uapi::REGISTER);
        Ok((is_one && flags == Some(uapi::REDIRECT_TO_PORT)).then_some(Expression::Redirect))
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

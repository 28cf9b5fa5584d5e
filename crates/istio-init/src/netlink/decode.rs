//! Reading what the kernel sends: messages in a datagram, attributes in a message.
//!
//! Called by the socket and by the readers of rules and addresses; pure. Lengths come from outside,
//! so every one is checked against what is there, and whatever is too short or too long ends the
//! reading with an error.

use nix::errno::Errno;

use super::encode::{ALIGNMENT, ATTRIBUTE_HEADER, MESSAGE_HEADER, kinds};

/// A message of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// What it is; netfilter's subsystem in the upper byte.
    pub(crate) kind: u16,
    /// See [`flags`](super::flags).
    pub(crate) flags: u16,
    /// The number of the request that it answers.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// What a message means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is part of the answer.
    Data,
    /// The request is done.
    Done,
    /// The request is refused.
    Refused(Errno),
}

/// An attribute of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// What it is, without the flags for nesting and byte order.
    pub(crate) kind: u16,
    /// Its value.
    pub(crate) value: &'a [u8],
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A length that is shorter than its own header or longer than what is there.
    #[error("a length does not fit what is there")]
    Length,
    /// A number whose attribute has another size.
    #[error("attribute {kind} is not a number of {size} bytes")]
    Number {
        /// Which attribute.
        kind: u16,
        /// Size in bytes that the number should have.
        size: usize,
    },
    /// A name that is not one.
    #[error("attribute {kind} is not a name")]
    Name {
        /// Which attribute.
        kind: u16,
    },
}

/// Bits of an attribute's kind that tell how to read it.
const KIND_FLAGS: u16 = 0xc000;

/// The messages of a datagram; ends after an error.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    pieces(datagram, message)
}

/// The attributes of a message or of a nested attribute; ends after an error.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Malformed>> {
    pieces(bytes, attribute)
}

/// Splits off the first piece, or gives nothing if its length is wrong.
type First<'a, T> = fn(&'a [u8]) -> Option<(T, &'a [u8])>;

fn pieces<'a, T>(
    mut rest: &'a [u8],
    first: First<'a, T>,
) -> impl Iterator<Item = Result<T, Malformed>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let piece = first(rest);
        rest = piece.as_ref().map_or(&[], |(_, after)| after);
        Some(piece.map(|(piece, _)| piece).ok_or(Malformed::Length))
    })
}

fn message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<MESSAGE_HEADER>()?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
    let message = Message {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        payload: bytes.get(MESSAGE_HEADER..length)?,
    };
    Some((message, after(bytes, length)))
}

fn attribute(bytes: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<ATTRIBUTE_HEADER>()?;
    let [l0, l1, k0, k1] = *header;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let attribute = Attribute {
        kind: u16::from_ne_bytes([k0, k1]) & !KIND_FLAGS,
        value: bytes.get(ATTRIBUTE_HEADER..length)?,
    };
    Some((attribute, after(bytes, length)))
}

/// What follows something of this length; the last one may lack its padding.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes
        .get(length.next_multiple_of(ALIGNMENT)..)
        .unwrap_or_default()
}

// === impl Message ===

impl<'a> Message<'a> {
    /// Attributes behind a fixed part of `header` bytes.
    pub(crate) fn attributes(
        &self,
        header: usize,
    ) -> impl Iterator<Item = Result<Attribute<'a>, Malformed>> + use<'a> {
        let short = self.payload.len() < header;
        let rest = self.payload.get(header..).unwrap_or_default();
        short
            .then_some(Err(Malformed::Length))
            .into_iter()
            .chain(attributes(rest))
    }

    pub(super) fn outcome(&self) -> Result<Outcome, Malformed> {
        if self.kind != kinds::ERROR && self.kind != kinds::DONE {
            return Ok(Outcome::Data);
        }
        let status = self
            .payload
            .first_chunk()
            .map(|bytes| i32::from_ne_bytes(*bytes));
        match status {
            Some(0) => Ok(Outcome::Done),
            None if self.kind == kinds::DONE => Ok(Outcome::Done),
            Some(negative) => Ok(Outcome::Refused(Errno::from_raw(negative.saturating_neg()))),
            None => Err(Malformed::Length),
        }
    }
}

// === impl Attribute ===

impl<'a> Attribute<'a> {
    /// The attributes inside.
    pub(crate) fn nested(
        &self,
    ) -> impl Iterator<Item = Result<Attribute<'a>, Malformed>> + use<'a> {
        attributes(self.value)
    }

    /// A number in network byte order, as nf_tables writes all of its own.
    pub(crate) fn number(&self) -> Result<u32, Malformed> {
        let bytes = <[u8; 4]>::try_from(self.value).map_err(|_| Malformed::Number {
            kind: self.kind,
            size: size_of::<u32>(),
        })?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A number in the machine's own byte order, as routing writes them.
    pub(crate) fn native_number(&self) -> Result<u32, Malformed> {
        self.number()
            .map(|number| u32::from_ne_bytes(number.to_be_bytes()))
    }

    /// A single byte.
    pub(crate) fn byte(&self) -> Result<u8, Malformed> {
        match self.value {
            [byte] => Ok(*byte),
            _ => Err(Malformed::Number {
                kind: self.kind,
                size: size_of::<u8>(),
            }),
        }
    }

    /// A text that ends with a zero.
    pub(crate) fn name(&self) -> Result<&'a str, Malformed> {
        let text = self
            .value
            .strip_suffix(&[0])
            .and_then(|text| str::from_utf8(text).ok());
        text.ok_or(Malformed::Name { kind: self.kind })
    }
}

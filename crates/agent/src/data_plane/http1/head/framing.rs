//! What the fields of a head say about framing and persistence.
//!
//! [`super::parse_request`] and [`super::parse_response`] read every field through [`Framing::read`].
//! What it accepts has exactly one length, whoever reads it.

use super::{FieldSet, HeadError, Version};

/// Fields as httparse gives them.
pub(super) type Fields<'h, 'b> = &'h [httparse::Header<'b>];

/// What the fields that matter to framing say, collected in one pass.
#[derive(Default)]
pub(super) struct Framing {
    pub(super) content_length: Option<u64>,
    pub(super) coding: Coding,
    connection: ConnectionOptions,
    /// The connection's options name `upgrade`.
    pub(super) connection_upgrade: bool,
    /// Fields that may be taken out.
    pub(super) present: FieldSet,
}

/// What the `Connection` fields say.
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    /// Something else, such as `upgrade`.
    more: bool,
}

/// What the `Transfer-Encoding` fields say, read as one list.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Absent,
    Unfinished,
    Chunked,
}

// === impl Framing ===

impl Framing {
    /// Reads all fields.
    ///
    /// # Errors
    /// When they do not give one length that everybody reads alike.
    pub(super) fn read(fields: Fields<'_, '_>) -> Result<Self, HeadError> {
        let mut framing = Self::default();
        for field in fields {
            framing.field(field.name, field.value)?;
        }
        if framing.connection.more {
            framing.present = framing.present.without(FieldSet::CONNECTION);
        }
        if framing.coding == Coding::Unfinished {
            return Err(HeadError::TransferEncoding);
        }
        if framing.coding == Coding::Chunked && framing.content_length.is_some() {
            return Err(HeadError::TwoLengths);
        }
        Ok(framing)
    }

    fn field(&mut self, name: &str, value: &[u8]) -> Result<(), HeadError> {
        // The length tells most names apart without looking at them.
        if matches!(name.len(), 10 | 12 | 16 | 21 | 23 | 24) {
            self.present = self.present.and(FieldSet::named(name.as_bytes()));
        }
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in list(value) {
                    // Its next receiver would take such a field out again.
                    if !FieldSet::named(option).among(FieldSet::SIDECARS).is_empty() {
                        return Err(HeadError::ReservedOption);
                    }
                    self.connection.note(option);
                    self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                // Equal repetitions are legal but nobody needs them, and receivers differ.
                let earlier = self.content_length.replace(number(value)?);
                if earlier.is_some() {
                    return Err(HeadError::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                for coding in list(value) {
                    self.coding = self.coding.then(coding)?;
                }
                if self.coding == Coding::Absent {
                    return Err(HeadError::TransferEncoding);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the connection may carry another message.
    pub(super) fn persistent(&self, version: Version) -> bool {
        !self.connection.close && (version == Version::Http11 || self.connection.keep_alive)
    }
}

// === impl ConnectionOptions ===

impl ConnectionOptions {
    fn note(&mut self, option: &[u8]) {
        let flag = if option.eq_ignore_ascii_case(b"close") {
            &mut self.close
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            &mut self.keep_alive
        } else {
            &mut self.more
        };
        *flag = true;
    }
}

// === impl Coding ===

impl Coding {
    /// The next coding of the list; `chunked` must be the last and there only once.
    fn then(self, coding: &[u8]) -> Result<Self, HeadError> {
        if self == Self::Chunked {
            return Err(HeadError::TransferEncoding);
        }
        if coding.eq_ignore_ascii_case(b"chunked") {
            return Ok(Self::Chunked);
        }
        let known: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
        if known.iter().any(|name| coding.eq_ignore_ascii_case(name)) {
            return Ok(Self::Unfinished);
        }
        Err(HeadError::TransferEncoding)
    }
}

/// The elements of a comma list, blanks around them removed and empty ones left out (RFC 9110 section 5.6.1).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Digits and nothing else: no sign, no list, no blank inside.
fn number(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::ContentLength);
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte
            .is_ascii_digit()
            .then(|| u64::from(byte - b'0'))
            .ok_or(HeadError::ContentLength)?;
        number
            .checked_mul(10)
            .and_then(|number| number.checked_add(digit))
            .ok_or(HeadError::ContentLength)
    })
}

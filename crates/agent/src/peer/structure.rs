//! Reading and writing the text members of a `google.protobuf.Struct`.
//!
//! [`metadata`](super::metadata) needs texts and one level of nesting of a message that can nest without end, so it walks the bytes
//! where they lie: nothing is allocated, no depth has to be limited, and what is no text is stepped over without being understood.
//! Field numbers and wire types are those of struct.proto and of the protobuf encoding guide.

/// Why bytes are no structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A member's value, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    /// The bytes of another structure.
    Structure(&'a [u8]),
    /// Numbers, lists and whatever the format may have one day.
    Other,
}

/// The fields of a message, one after the other.
struct Message<'a>(&'a [u8]);

/// A field's number, and its bytes if it has a length.
type Field<'a> = (u64, Option<&'a [u8]>);

/// `Struct.fields`, an entry of the map.
const FIELDS: u64 = 1;
/// Key and value of an entry.
const KEY: u64 = 1;
const VALUE: u64 = 2;
/// `Value.string_value` and `Value.struct_value`.
const STRING_VALUE: u64 = 3;
const STRUCT_VALUE: u64 = 5;

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LEN: u64 = 2;
const FIXED32: u64 = 5;

/// Calls `member` with the name and value of each member of the structure.
pub(super) fn for_each<'a>(
    structure: &'a [u8],
    mut member: impl FnMut(&'a [u8], Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut message = Message(structure);
    while let Some((field, content)) = message.next()? {
        if let (FIELDS, Some(entry)) = (field, content) {
            let (name, value) = read_entry(entry)?;
            member(name, value)?;
        }
    }
    Ok(())
}

fn read_entry(entry: &[u8]) -> Result<(&[u8], Value<'_>), Malformed> {
    let (mut name, mut value) = (&[][..], Value::Other);
    let mut message = Message(entry);
    while let Some((field, content)) = message.next()? {
        match (field, content) {
            (KEY, Some(content)) => name = content,
            (VALUE, Some(content)) => value = read_value(content)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn read_value(bytes: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut value = Value::Other;
    let mut message = Message(bytes);
    // One of several kinds; of repeated ones the last is valid.
    while let Some((field, content)) = message.next()? {
        value = match (field, content) {
            (STRING_VALUE, Some(text)) => Value::Text(text),
            (STRUCT_VALUE, Some(structure)) => Value::Structure(structure),
            _ => Value::Other,
        };
    }
    Ok(value)
}

// === impl Message ===

impl<'a> Message<'a> {
    fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let content = match tag & 7 {
            VARINT => {
                self.varint()?;
                None
            }
            FIXED64 => {
                self.take(8)?;
                None
            }
            FIXED32 => {
                self.take(4)?;
                None
            }
            LEN => {
                let len = self.varint()?;
                Some(self.take(usize::try_from(len).map_err(|_| Malformed)?)?)
            }
            // Groups were given up before this message was invented.
            _ => return Err(Malformed),
        };
        Ok(Some((tag >> 3, content)))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else {
                return Err(Malformed);
            };
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

/// Adds a member with a text to the structure that `out` holds.
pub(super) fn put_text(out: &mut Vec<u8>, name: &str, text: &str) {
    put_entry(out, name, STRING_VALUE, text.as_bytes());
}

/// Adds a member that is a structure itself.
pub(super) fn put_structure(out: &mut Vec<u8>, name: &str, structure: &[u8]) {
    put_entry(out, name, STRUCT_VALUE, structure);
}

fn put_entry(out: &mut Vec<u8>, name: &str, kind: u64, content: &[u8]) {
    let mut value = Vec::with_capacity(content.len() + 8);
    put_field(&mut value, kind, content);
    let mut entry = Vec::with_capacity(name.len() + value.len() + 8);
    put_field(&mut entry, KEY, name.as_bytes());
    put_field(&mut entry, VALUE, &value);
    put_field(out, FIELDS, &entry);
}

fn put_field(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    put_varint(out, field << 3 | LEN);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(structure: &[u8]) -> Result<Vec<(Vec<u8>, Value<'_>)>, Malformed> {
        let mut members = Vec::new();
        for_each(structure, |name, value| {
            members.push((name.to_vec(), value));
            Ok(())
        })?;
        Ok(members)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Vec::new();
        put_text(&mut inner, "app", "web");
        let mut outer = Vec::new();
        let long = "x".repeat(300);
        put_text(&mut outer, "NAME", &long);
        put_structure(&mut outer, "LABELS", &inner);
        assert_eq!(
            members(&outer).unwrap(),
            [
                (b"NAME".to_vec(), Value::Text(long.as_bytes())),
                (b"LABELS".to_vec(), Value::Structure(&inner)),
            ]
        );
    }

    /// Bytes put together by hand after the encoding guide.
    #[test]
    fn other_kinds_of_values_are_stepped_over() {
        let table: [(&[u8], Value<'_>); 5] = [
            (b"\x1a\x02hi", Value::Text(b"hi")),
            // A number, a boolean, null, and a list with a text.
            (b"\x11\0\0\0\0\0\0\x08\x40", Value::Other),
            (b"\x20\x01", Value::Other),
            (b"\x08\x00", Value::Other),
            (b"\x32\x06\x0a\x04\x1a\x02hi", Value::Other),
        ];
        for (value, expect) in table {
            let mut entry = b"\x0a\x01a\x12".to_vec();
            entry.push(u8::try_from(value.len()).unwrap());
            entry.extend_from_slice(value);
            let mut structure = vec![0x0a, u8::try_from(entry.len()).unwrap()];
            structure.extend_from_slice(&entry);
            assert_eq!(members(&structure).unwrap(), [(b"a".to_vec(), expect)]);
        }
    }

    #[test]
    fn what_is_cut_or_no_message_is_refused() {
        let mut structure = Vec::new();
        put_text(&mut structure, "NAME", "web");
        for len in 1..structure.len() {
            assert_eq!(members(&structure[..len]), Err(Malformed), "{len} bytes");
        }
        for bytes in [
            &b"\x0b\x0c"[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(members(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}

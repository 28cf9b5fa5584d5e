//! Fields that the proxy takes out of heads, and how.
//!
//! A parsed head says which of them it carries; [`edit`] removes those that its sender may not set, or that the receiver should not
//! see, and puts the proxy's own in their place. Everything else keeps its bytes and its order.

use std::ops::Range;

use contract::headers;

use super::Span;

/// A set of the fields that may be taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet(u8);

// === impl FieldSet ===

impl FieldSet {
    /// `x-forwarded-client-cert`: whom the sidecar has verified.
    pub(crate) const CLIENT_CERT: Self = Self(1);
    /// `x-envoy-peer-metadata`: the sender's workload.
    pub(crate) const PEER_METADATA: Self = Self(1 << 1);
    /// `x-envoy-peer-metadata-id`: the sender's node.
    pub(crate) const PEER_METADATA_ID: Self = Self(1 << 2);
    /// `x-mesh-error`: why a sidecar answered itself.
    pub(crate) const REASON: Self = Self(1 << 3);
    /// `connection`, `keep-alive` and `proxy-connection`: how long a connection lives, which each hop decides by itself.
    pub(crate) const CONNECTION: Self = Self(1 << 4);
    /// What sidecars tell each other about their workloads.
    pub(crate) const PEER: Self = Self::PEER_METADATA.and(Self::PEER_METADATA_ID);
    /// The fields that only sidecars write.
    pub(crate) const SIDECARS: Self = Self::PEER.and(Self::CLIENT_CERT).and(Self::REASON);

    /// The field with this name, in any case; nothing for every other name.
    pub(crate) fn named(name: &[u8]) -> Self {
        // The length tells them apart from each other and from most names.
        let (field, known) = match name.len() {
            10 if name.starts_with(b"k") || name.starts_with(b"K") => {
                ("keep-alive", Self::CONNECTION)
            }
            10 => ("connection", Self::CONNECTION),
            12 => (headers::MESH_ERROR, Self::REASON),
            16 => ("proxy-connection", Self::CONNECTION),
            21 => (headers::PEER_METADATA, Self::PEER_METADATA),
            23 => (headers::FORWARDED_CLIENT_CERT, Self::CLIENT_CERT),
            24 => (headers::PEER_METADATA_ID, Self::PEER_METADATA_ID),
            _ => return Self::default(),
        };
        if name.eq_ignore_ascii_case(field.as_bytes()) {
            known
        } else {
            Self::default()
        }
    }

    /// Both sets.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    pub(crate) const fn among(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set less the other.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has nothing.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Takes every field of `removed` out of the complete head at `head` in `buffer` and puts the lines of `added`, each with its CR LF,
/// behind the last field. Gives the new end of the head; `places` in the head, counted from its start, follow their bytes, and become
/// empty where these were removed.
///
/// One pass over the head where something is removed; `buffer` grows only by what `added` needs beyond it.
pub(crate) fn edit(
    buffer: &mut Vec<u8>,
    head: Range<usize>,
    removed: FieldSet,
    added: &[&[u8]],
    places: &mut [&mut Span],
) -> usize {
    let mut end = head.end;
    if !removed.is_empty() {
        end = compact(buffer, &head, removed, places);
        buffer.drain(end..head.end);
    }
    // In front of the empty line.
    let (at, old_len) = (end.saturating_sub(2), buffer.len());
    for lines in added {
        buffer.extend_from_slice(lines);
    }
    let n_added = buffer.len() - old_len;
    if let Some(moved) = buffer.get_mut(at..).filter(|_| n_added > 0) {
        moved.rotate_right(n_added);
    }
    end + n_added
}

/// Moves the lines that stay together; gives where they end.
fn compact(
    buffer: &mut [u8],
    head: &Range<usize>,
    removed: FieldSet,
    places: &mut [&mut Span],
) -> usize {
    let (mut read, mut write) = (head.start, head.start);
    while read < head.end {
        let rest = buffer.get(read..head.end).unwrap_or_default();
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
        let line = rest.get(..len).unwrap_or_default();
        let name = memchr::memchr(b':', line).and_then(|colon| line.get(..colon));
        // A request line may hold a colon, but no reserved name ends there.
        let goes = name.is_some_and(|name| !FieldSet::named(name).among(removed).is_empty());
        let old = read - head.start..read - head.start + len;
        for place in places
            .iter_mut()
            .filter(|place| old.contains(&place.start()))
        {
            if goes {
                **place = Span::default();
            } else {
                place.move_back(read - write);
            }
        }
        if !goes {
            buffer.copy_within(read..read + len, write);
            write += len;
        }
        read += len;
    }
    write
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edited(text: &str, removed: FieldSet, added: &str) -> String {
        let mut buffer = text.as_bytes().to_vec();
        let len = text.find("\r\n\r\n").map_or(text.len(), |at| at + 4);
        edit(&mut buffer, 0..len, removed, &[added.as_bytes()], &mut []);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn reserved_fields_go_in_any_case_and_number() {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nX-Mesh-Error: a\r\nA: x-mesh-error: b\r\nx-mesh-error:\r\nx-mesh-errors: c\r\n\r\nbody";
        let expect = "GET / HTTP/1.1\r\nHost: h\r\nA: x-mesh-error: b\r\nx-mesh-errors: c\r\nx-new: 1\r\n\r\nbody";
        assert_eq!(edited(head, FieldSet::REASON, "x-new: 1\r\n"), expect);
        let untouched = edited(head, FieldSet::PEER, "");
        assert_eq!(untouched, head, "another field was asked for");
    }

    #[test]
    fn every_reserved_field_is_known_by_its_name() {
        let mut all = FieldSet::default();
        for name in [
            headers::MESH_ERROR,
            headers::PEER_METADATA,
            headers::PEER_METADATA_ID,
            headers::FORWARDED_CLIENT_CERT,
        ] {
            let one = FieldSet::named(name.to_ascii_uppercase().as_bytes());
            assert!(!one.is_empty() && one.among(all).is_empty(), "{name}");
            all = all.and(one);
        }
        assert_eq!(all, FieldSet::SIDECARS);
        for name in ["Connection", "keep-alive", "Keep-Alive", "Proxy-Connection"] {
            assert_eq!(
                FieldSet::named(name.as_bytes()),
                FieldSet::CONNECTION,
                "{name}"
            );
        }
        for name in ["x-mesh-errar", "keep-alife", "x-requests", "host"] {
            assert!(FieldSet::named(name.as_bytes()).is_empty(), "{name}");
        }
    }

    #[test]
    fn places_follow_their_bytes() {
        let head = "GET / HTTP/1.1\r\nx-mesh-error: a\r\nHost: h\r\n\r\n";
        let mut buffer = head.as_bytes().to_vec();
        let mut host = Span::locate(&buffer, &buffer[39..40]);
        let mut gone = Span::locate(&buffer, &buffer[30..31]);
        assert_eq!((host.of(&buffer), gone.of(&buffer)), (&b"h"[..], &b"a"[..]));
        let places = &mut [&mut host, &mut gone];
        let end = edit(
            &mut buffer,
            0..head.len(),
            FieldSet::SIDECARS,
            &[b"n: ", b"1\r\n"],
            places,
        );
        assert_eq!(end, buffer.len());
        assert_eq!((host.of(&buffer), gone.of(&buffer)), (&b"h"[..], &b""[..]));
    }

    proptest! {
        #[test]
        fn what_is_not_reserved_stays(
            names in proptest::collection::vec("x-mesh-error|host|a|x-envoy-peer-metadata", 0..8),
            before in "[a-z]{0,5}", body in "[a-z\r\n]{0,20}",
        ) {
            let mut buffer = before.clone().into_bytes();
            let mut expect = buffer.clone();
            buffer.extend_from_slice(b"GET / HTTP/1.1\r\n");
            expect.extend_from_slice(b"GET / HTTP/1.1\r\n");
            for name in &names {
                let line = format!("{name}: {}\r\n", name.len());
                buffer.extend_from_slice(line.as_bytes());
                if !name.starts_with('x') { expect.extend_from_slice(line.as_bytes()); }
            }
            buffer.extend_from_slice(b"\r\n");
            let len = buffer.len();
            buffer.extend_from_slice(body.as_bytes());
            expect.extend_from_slice(b"via: me\r\n\r\n");
            let new_len = expect.len();
            expect.extend_from_slice(body.as_bytes());
            let end = edit(&mut buffer, before.len()..len, FieldSet::SIDECARS, &[b"via: me\r\n"], &mut []);
            prop_assert_eq!(end, new_len);
            prop_assert_eq!(buffer, expect);
        }
    }
}

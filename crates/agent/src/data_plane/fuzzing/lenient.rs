//! A reader of HTTP/1 that takes what comes, as the least careful receivers do.
//!
//! [`super`] holds what the strict one accepts against it: they must agree on where a message ends. Lines end in LF whatever is before
//! it, names and values are trimmed of anything blank, and chunk sizes are whatever digits come first.

use crate::data_plane::http1::head::Length;

/// The fields of a head.
pub(super) struct Lenient {
    /// Names in lower case, and values.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

// === impl Lenient ===

impl Lenient {
    pub(super) fn read(head: &[u8]) -> Self {
        let lines = head.split(|byte| *byte == b'\n').skip(1);
        let fields = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let name = blanks_removed(name).to_ascii_lowercase();
            Some((name, blanks_removed(&value[1..]).to_vec()))
        });
        Self {
            fields: fields.collect(),
        }
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.values(name).count()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let fields = self.fields.iter();
        fields.filter_map(move |(known, value)| (known == name.as_bytes()).then_some(&**value))
    }

    /// Whether whoever looks only at the first length, at the last one, or at the coding, comes to `length`.
    pub(super) fn assert_one_framing(&self, length: Length) {
        let lengths: Vec<_> = self.values("content-length").collect();
        let codings: Vec<_> = self.values("transfer-encoding").collect();
        assert!(lengths.len() <= 1, "two lengths");
        assert!(
            lengths.is_empty() || codings.is_empty(),
            "length and coding"
        );
        let number = lengths.first().map(|value| {
            let text = std::str::from_utf8(value).expect("digits");
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
            text.parse::<u64>().expect("a number")
        });
        let is_chunked = codings.iter().any(|coding| {
            let coding = coding.to_ascii_lowercase();
            coding.windows(7).any(|part| part == b"chunked")
        });
        let expect = match number {
            _ if is_chunked => Length::Chunked,
            Some(0) => Length::Empty,
            Some(number) => Length::Exactly(number),
            None => {
                assert!(codings.is_empty(), "a coding without an end");
                assert!(matches!(length, Length::Empty | Length::UntilClose));
                return;
            }
        };
        assert_eq!(length, expect);
    }
}

/// How many bytes a chunked body takes, and how many of them are content; `None` if it does not end.
pub(super) fn chunked(bytes: &[u8]) -> Option<(usize, u64)> {
    let (mut at, mut content) = (0, 0);
    loop {
        let line = line(bytes, &mut at)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let size = digits.fold(0, |size, digit| {
            size * 16 + u64::from(char::from(*digit).to_digit(16).unwrap_or_default())
        });
        if size == 0 {
            break;
        }
        content += size;
        at = at.checked_add(usize::try_from(size).ok()?)?;
        line_end(bytes, &mut at)?;
    }
    while !blanks_removed(line(bytes, &mut at)?).is_empty() {}
    Some((at, content))
}

fn line<'b>(bytes: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let rest = bytes.get(*at..)?;
    let len = rest.iter().position(|byte| *byte == b'\n')?;
    *at += len + 1;
    rest.get(..len)
}

/// The line end behind a chunk, which is all that its line has.
fn line_end(bytes: &[u8], at: &mut usize) -> Option<()> {
    blanks_removed(line(bytes, at)?).is_empty().then_some(())
}

fn blanks_removed(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte <= b' ';
    let start = bytes.iter().take_while(|byte| is_blank(byte)).count();
    let end = bytes.iter().rev().take_while(|byte| is_blank(byte)).count();
    bytes.get(start..bytes.len() - end).unwrap_or_default()
}

//! Follows the framing of an HTTP/1 body through the bytes that pass.
//!
//! A [`Body`] is told every byte in order and says how many belong to the message; it keeps none of them. Chunk framing is held to
//! the grammar (RFC 9112 section 7.1), because a receiver that is more lenient could see another request inside.

use super::head::Length;

/// Longest line with the size of a chunk, extensions included; nobody reads extensions, and they count against nothing else.
const MAX_SIZE_LINE: u32 = 1024;
/// Longest trailer section in bytes.
const MAX_TRAILERS: u32 = 16 * 1024;

/// Where a body stands. The default one is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    state: State,
}

/// What [`Body::advance`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advance {
    /// Bytes that belong to this message, from the start of the piece.
    pub(crate) consumed: usize,
    /// How many of them are content rather than framing.
    pub(crate) content: u64,
}

/// Why the framing of a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the size of a chunk is not a hexadecimal number below 2^60")]
    ChunkSize,
    #[error("a chunk extension contains a control character")]
    ChunkExtension,
    #[error("a line of the chunked framing does not end in CR LF")]
    LineEnd,
    #[error("the line with the size of a chunk is too long")]
    SizeLineTooLong,
    #[error("a trailer field does not follow the grammar")]
    Trailer,
    #[error("the trailer section is too long")]
    TrailersTooLong,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Done,
    UntilClose,
    Exactly(u64),
    /// Reading the digits of a chunk's size.
    Size {
        size: u64,
        line: u32,
    },
    /// After the size, up to the CR.
    Extension {
        size: u64,
        line: u32,
    },
    /// The CR of the size line was read.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    /// The content of a chunk was read, its CR comes next.
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart {
        total: u32,
    },
    /// In the name of a trailer field.
    TrailerName {
        total: u32,
    },
    /// In the value of a trailer field.
    TrailerValue {
        total: u32,
    },
    /// The CR of a trailer line was read.
    TrailerLf {
        total: u32,
    },
    /// The CR of the last, empty line was read.
    LastLf,
}

// === impl Body ===

impl Body {
    /// A body that is about to begin.
    pub(crate) fn new(length: Length) -> Self {
        let state = match length {
            Length::Empty | Length::Exactly(0) => State::Done,
            Length::Exactly(length) => State::Exactly(length),
            Length::Chunked => State::Size { size: 0, line: 0 },
            Length::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether the message is over.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is the proper end of the message.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// How many bytes come next that are content whatever they are, as far as is known; [`u64::MAX`] where only the end of the
    /// connection ends them.
    pub(crate) fn content_ahead(&self) -> u64 {
        match self.state {
            State::UntilClose => u64::MAX,
            State::Exactly(left) | State::Data(left) => left,
            _ => 0,
        }
    }

    /// Takes note of content that nobody has looked at, at most [`Body::content_ahead`] bytes.
    pub(crate) fn skip(&mut self, n: u64) {
        match &mut self.state {
            State::Exactly(left) => {
                *left = left.saturating_sub(n);
                if *left == 0 {
                    self.state = State::Done;
                }
            }
            State::Data(left) => {
                *left = left.saturating_sub(n);
                if *left == 0 {
                    self.state = State::DataCr;
                }
            }
            _ => {}
        }
    }

    /// Takes note of the next piece.
    ///
    /// # Errors
    /// When chunk framing breaks the grammar; the message cannot be followed any further.
    pub(crate) fn advance(&mut self, piece: &[u8]) -> Result<Advance, BodyError> {
        let mut seen = Advance::default();
        while let Some(rest) = piece.get(seen.consumed..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Done => break,
                State::UntilClose => {
                    seen.take(rest.len());
                }
                State::Exactly(left) => {
                    *left -= seen.take_up_to(*left, rest.len());
                    if *left == 0 {
                        self.state = State::Done;
                    }
                }
                State::Data(left) => {
                    *left -= seen.take_up_to(*left, rest.len());
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                }
                state => {
                    let byte = rest.first().copied().unwrap_or_default();
                    *state = state.after(byte)?;
                    seen.consumed += 1;
                }
            }
        }
        Ok(seen)
    }
}

// === impl Advance ===

impl Advance {
    fn take(&mut self, len: usize) {
        self.consumed += len;
        self.content += len as u64;
    }

    fn take_up_to(&mut self, left: u64, available: usize) -> u64 {
        let taken = usize::try_from(left).map_or(available, |left| left.min(available));
        self.take(taken);
        taken as u64
    }
}

// === impl State ===

impl State {
    /// The state after one byte of framing.
    fn after(self, byte: u8) -> Result<Self, BodyError> {
        match self {
            Self::Size { size, line } => Self::after_size(size, line, byte),
            Self::Extension { line, .. } if line > MAX_SIZE_LINE => Err(BodyError::SizeLineTooLong),
            Self::Extension { size, line } => match byte {
                b'\r' => Ok(Self::SizeEnd { size }),
                b'\n' => Err(BodyError::LineEnd),
                b'\t' | b' '..=b'~' | 0x80.. => Ok(Self::Extension {
                    size,
                    line: line + 1,
                }),
                _ => Err(BodyError::ChunkExtension),
            },
            Self::SizeEnd { size: 0 } => line_feed(byte, Self::TrailerStart { total: 0 }),
            Self::SizeEnd { size } => line_feed(byte, Self::Data(size)),
            Self::DataCr if byte == b'\r' => Ok(Self::DataLf),
            Self::DataCr => Err(BodyError::LineEnd),
            Self::DataLf => line_feed(byte, Self::Size { size: 0, line: 0 }),
            Self::LastLf => line_feed(byte, Self::Done),
            Self::TrailerStart { total }
            | Self::TrailerName { total }
            | Self::TrailerValue { total }
            | Self::TrailerLf { total } => self.after_trailer(total, byte),
            Self::Done | Self::UntilClose | Self::Exactly(_) | Self::Data(_) => Ok(self),
        }
    }

    fn after_size(size: u64, line: u32, byte: u8) -> Result<Self, BodyError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if line == 0 => return Err(BodyError::ChunkSize),
            b'\r' => return Ok(Self::SizeEnd { size }),
            // Blanks before an extension are bad form but harmless (RFC 9112 section 7.1.1).
            b';' | b' ' | b'\t' => return Ok(Self::Extension { size, line }),
            b'\n' => return Err(BodyError::LineEnd),
            _ => return Err(BodyError::ChunkSize),
        };
        // Four more bits must fit below 2^60, where no receiver's arithmetic overflows; zeros in front count as digits.
        if size >= 1 << 56 || line >= 16 {
            return Err(BodyError::ChunkSize);
        }
        Ok(Self::Size {
            size: size << 4 | u64::from(digit),
            line: line + 1,
        })
    }

    fn after_trailer(self, total: u32, byte: u8) -> Result<Self, BodyError> {
        if total >= MAX_TRAILERS {
            return Err(BodyError::TrailersTooLong);
        }
        let total = total + 1;
        match (self, byte) {
            (Self::TrailerStart { .. }, b'\r') => Ok(Self::LastLf),
            (Self::TrailerLf { .. }, b'\n') => Ok(Self::TrailerStart { total }),
            (Self::TrailerLf { .. }, _) | (_, b'\n') => Err(BodyError::LineEnd),
            (Self::TrailerName { .. }, b':') => Ok(Self::TrailerValue { total }),
            (Self::TrailerStart { .. } | Self::TrailerName { .. }, b'!'..=b'~') if byte != b':' => {
                Ok(Self::TrailerName { total })
            }
            (Self::TrailerValue { .. }, b'\r') => Ok(Self::TrailerLf { total }),
            (Self::TrailerValue { .. }, b'\t' | b' '..=b'~' | 0x80..) => {
                Ok(Self::TrailerValue { total })
            }
            _ => Err(BodyError::Trailer),
        }
    }
}

fn line_feed(byte: u8, next: State) -> Result<State, BodyError> {
    if byte == b'\n' {
        Ok(next)
    } else {
        Err(BodyError::LineEnd)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked(bytes: &[u8]) -> Result<(Advance, bool), BodyError> {
        let mut body = Body::new(Length::Chunked);
        let seen = body.advance(bytes)?;
        Ok((seen, body.is_done()))
    }

    #[test]
    fn a_chunked_body_ends_after_its_trailers() {
        let table: [(&[u8], usize, u64); 6] = [
            (b"0\r\n\r\nnext", 5, 0),
            (b"5\r\nhello\r\n0\r\n\r\n", 15, 5),
            (b"00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", 28, 10),
            (b"5 \r\nhello\r\n0\r\n\r\n", 16, 5),
            (b"1\r\na\r\n0\r\nA: b\r\nC:\r\n\r\n", 21, 1),
            (b"1\r\n\r\r\n0\r\n\r\nGET", 11, 1),
        ];
        for (bytes, consumed, content) in table {
            let expect = (Advance { consumed, content }, true);
            assert_eq!(
                chunked(bytes),
                Ok(expect),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn broken_chunk_framing_is_refused() {
        let long = format!("1;{}\r\n", "x".repeat(2000));
        let trailers = format!("0\r\nA: {}\r\n\r\n", "x".repeat(20_000));
        let table = [
            ("\r\n", BodyError::ChunkSize),
            ("-1\r\n", BodyError::ChunkSize),
            ("0x1\r\n", BodyError::ChunkSize),
            ("g\r\n", BodyError::ChunkSize),
            (";a\r\n", BodyError::ChunkSize),
            ("1000000000000000\r\n", BodyError::ChunkSize),
            ("00000000000000001\r\n", BodyError::ChunkSize),
            ("1\n", BodyError::LineEnd),
            ("1;a\nb\r\n", BodyError::LineEnd),
            ("1;a\0\r\n", BodyError::ChunkExtension),
            ("1;a\rb\r\n", BodyError::LineEnd),
            ("1\r\nab\r\n", BodyError::LineEnd),
            ("1\r\na\n", BodyError::LineEnd),
            ("0\r\n\n", BodyError::LineEnd),
            ("0\r\n folded\r\n\r\n", BodyError::Trailer),
            ("0\r\nno colon\r\n\r\n", BodyError::Trailer),
            ("0\r\nA : b\r\n\r\n", BodyError::Trailer),
            ("0\r\n: b\r\n\r\n", BodyError::Trailer),
            ("0\r\nA: b\0\r\n\r\n", BodyError::Trailer),
            ("0\r\nA: b\n\r\n", BodyError::LineEnd),
            (&long, BodyError::SizeLineTooLong),
            (&trailers, BodyError::TrailersTooLong),
        ];
        for (bytes, expect) in table {
            assert_eq!(chunked(bytes.as_bytes()), Err(expect), "{bytes:?}");
        }
    }

    #[test]
    fn counted_and_endless_bodies_take_what_is_theirs() {
        let mut counted = Body::new(Length::Exactly(3));
        let seen = counted.advance(b"abcdef").unwrap();
        assert_eq!((seen.consumed, counted.is_done()), (3, true));
        let mut endless = Body::new(Length::UntilClose);
        let seen = endless.advance(b"abcdef").unwrap();
        assert_eq!((seen.consumed, endless.is_done()), (6, false));
        assert!(Body::new(Length::Empty).is_done());
    }

    proptest! {
        #[test]
        fn pieces_are_followed_like_the_whole(
            bytes in "([0-3]{1,2}(;x)?\r\n[ab]{0,4}\r\n){0,4}(0\r\n(A: b\r\n)?\r\n)?[a\r\n]{0,3}",
            cuts in proptest::collection::vec(1_usize..5, 1..40),
        ) {
            let bytes = bytes.as_bytes();
            let mut whole = Body::new(Length::Chunked);
            let expect = whole.advance(bytes);
            let mut body = Body::new(Length::Chunked);
            let mut total = Advance::default();
            let mut result = Ok(());
            let mut at = 0;
            for cut in cuts.iter().chain(std::iter::repeat(&7)) {
                if at >= bytes.len() || body.is_done() || result.is_err() { break; }
                let end = (at + cut).min(bytes.len());
                match body.advance(&bytes[at..end]) {
                    Ok(seen) => { total.consumed += seen.consumed; total.content += seen.content; }
                    Err(error) => result = Err(error),
                }
                at = end;
            }
            prop_assert_eq!(result.map(|()| total), expect);
            if expect.is_ok() { prop_assert_eq!(body, whole); }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = chunked(&bytes);
        }
    }
}

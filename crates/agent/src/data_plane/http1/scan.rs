//! Finds the end of an HTTP/1 head while it arrives.
//!
//! The scanner looks at every byte once, however small the pieces, and refuses line ends that receivers read differently;
//! [`head`](super::head) then parses a complete head in one go.

use super::head::HeadError;

/// Where the search for the end of a head stands. Starts anew for every head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    /// Everything before this position has been looked at.
    scanned: usize,
    /// Where the current line begins.
    line: usize,
}

// === impl Scanner ===

impl Scanner {
    /// Length of the head at the start of `bytes`, its empty line included; `None` while it is incomplete.
    ///
    /// `bytes` must begin with what earlier calls have seen.
    ///
    /// # Errors
    /// [`HeadError::LineEnd`] for an LF that no CR precedes, [`HeadError::TooLarge`] once `limit` bytes hold no whole head.
    pub(crate) fn find_end(
        &mut self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Option<usize>, HeadError> {
        while let Some(found) = bytes
            .get(self.scanned..)
            .and_then(|rest| memchr::memchr(b'\n', rest))
        {
            let lf = self.scanned + found;
            if lf >= limit {
                return Err(HeadError::TooLarge);
            }
            if lf == self.line || bytes.get(lf - 1) != Some(&b'\r') {
                return Err(HeadError::LineEnd);
            }
            let empty = lf - self.line == 1;
            self.scanned = lf + 1;
            self.line = lf + 1;
            if empty {
                return Ok(Some(lf + 1));
            }
        }
        self.scanned = bytes.len();
        if bytes.len() >= limit {
            return Err(HeadError::TooLarge);
        }
        Ok(None)
    }
}

/// How many bytes of empty lines precede a request (RFC 9112 section 2.2 asks to ignore them).
pub(crate) fn blank_lines(bytes: &[u8]) -> usize {
    let mut blank = 0;
    while bytes
        .get(blank..)
        .is_some_and(|rest| rest.starts_with(b"\r\n"))
    {
        blank += 2;
    }
    blank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64;

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        type Case = (&'static [u8], Result<Option<usize>, HeadError>);
        let table: [Case; 7] = [
            (b"", Ok(None)),
            (b"GET / HTTP/1.1\r\n\r", Ok(None)),
            (b"GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
            (b"GET / HTTP/1.1\r\nA: b\r\n\r\nmore", Ok(Some(24))),
            (b"GET / HTTP/1.1\n", Err(HeadError::LineEnd)),
            (b"GET / HTTP/1.1\r\n\n", Err(HeadError::LineEnd)),
            (&[b'a'; LIMIT], Err(HeadError::TooLarge)),
        ];
        for (bytes, expect) in table {
            assert_eq!(Scanner::default().find_end(bytes, LIMIT), expect);
        }
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_end_as_the_whole(bytes in "[a-c:\r\n ]{0,80}|([a-c]{0,5}\r\n){0,12}", cut in 0_usize..80) {
            let bytes = bytes.as_bytes();
            let whole = Scanner::default().find_end(bytes, LIMIT);
            let mut scanner = Scanner::default();
            let first = scanner.find_end(&bytes[..cut.min(bytes.len())], LIMIT);
            let pieces = if first == Ok(None) { scanner.find_end(bytes, LIMIT) } else { first };
            prop_assert_eq!(pieces, whole);
        }
    }
}

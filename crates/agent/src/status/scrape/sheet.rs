//! What a page of metrics is written on: pieces of bounded size, compressed if the scraper can read that.
//!
//! [`Metrics`](crate::status::Metrics) chooses by the scrape's headers and sends the pieces. A page of many series compresses to less
//! than a tenth, so it is never in memory as a whole where the scraper accepts that, as Prometheus does.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header::ACCEPT_ENCODING};

/// How a page is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// Compressed (RFC 1952).
    Gzip,
}

/// Takes a page.
pub enum Sheet {
    /// As it is.
    Plain(Pieces),
    /// Compressed on the way.
    Compressed(Box<GzEncoder<Pieces>>),
}

/// Bytes in pieces of one size, the last one aside.
#[derive(Debug, Default)]
pub struct Pieces {
    full: VecDeque<Bytes>,
    last: Vec<u8>,
}

/// What one write to a socket takes without pushing back, about.
const PIECE: usize = 32 * 1024;

// === impl Coding ===

impl Coding {
    /// What a scraper with these headers reads best.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_ENCODING).into_iter();
        let mut codings = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        match codings.any(accepts_gzip) {
            true => Self::Gzip,
            false => Self::Identity,
        }
    }
}

/// Whether an element of `Accept-Encoding` names gzip and does not refuse it (RFC 9110, section 12.5.3).
fn accepts_gzip(element: &str) -> bool {
    let (name, weight) = match element.split_once(';') {
        Some((name, weight)) => (name, weight.trim()),
        None => (element, ""),
    };
    let weight = weight.strip_prefix("q=").or(weight.strip_prefix("Q="));
    let is_refused = weight
        .and_then(|weight| weight.trim().parse::<f32>().ok())
        .is_some_and(|weight| weight == 0.0);
    matches!(name.trim(), "gzip" | "x-gzip" | "*") && !is_refused
}

// === impl Sheet ===

impl Sheet {
    /// An empty one.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        let pieces = Pieces::default();
        match coding {
            Coding::Identity => Self::Plain(pieces),
            // The fastest level: names and labels repeat so much that the others save little.
            Coding::Gzip => Self::Compressed(Box::new(GzEncoder::new(pieces, Compression::fast()))),
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// None that happens: memory takes everything.
    pub fn finish(self) -> io::Result<VecDeque<Bytes>> {
        let mut pieces = match self {
            Self::Plain(pieces) => pieces,
            Self::Compressed(encoder) => encoder.finish()?,
        };
        if !pieces.last.is_empty() {
            pieces.full.push_back(pieces.last.into());
        }
        Ok(pieces.full)
    }
}

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(pieces) => pieces.write(bytes),
            Self::Compressed(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Pieces ===

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.last.capacity() == 0 {
            self.last.reserve_exact(PIECE);
        }
        let n = bytes.len().min(PIECE - self.last.len());
        self.last
            .extend_from_slice(bytes.get(..n).unwrap_or_default());
        if self.last.len() == PIECE {
            self.full.push_back(mem::take(&mut self.last).into());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_accept_it() {
        for (accepted, expected) in [
            ("gzip", Coding::Gzip),
            ("deflate, gzip;q=1.0, *;q=0.5", Coding::Gzip),
            ("zstd, x-gzip", Coding::Gzip),
            ("*", Coding::Gzip),
            ("gzip;q=0", Coding::Identity),
            ("gzip; q=0.000", Coding::Identity),
            ("identity", Coding::Identity),
            ("gzipped", Coding::Identity),
            ("", Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(Coding::of(&headers), expected, "{accepted}");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), Coding::Identity);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50_000), 0..5)) {
            let whole = parts.concat();
            for coding in [Coding::Identity, Coding::Gzip] {
                let mut sheet = Sheet::new(coding);
                for part in &parts {
                    sheet.write_all(part).unwrap();
                }
                let pieces = sheet.finish().unwrap();
                prop_assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
                let sent: Vec<u8> = pieces.into_iter().flatten().collect();
                let mut read = Vec::new();
                match coding {
                    Coding::Identity => read = sent,
                    Coding::Gzip => _ = GzDecoder::new(&*sent).read_to_end(&mut read).unwrap(),
                }
                prop_assert!(read == whole);
            }
        }
    }
}

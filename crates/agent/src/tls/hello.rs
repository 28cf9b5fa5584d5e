//! What a connection's first bytes say, if they are the hello of a TLS client.
//!
//! Protocol detection asks [`read`] before it decides whether to take part in the handshake or to pass it through untouched; nothing is
//! consumed. Only what is needed for that is looked at: the name of the server and the protocols that are offered (RFC 8446, section
//! 4.1.2; RFC 6066, section 3; RFC 7301). Any bytes are allowed to come in; the work and the memory are bounded.

use std::borrow::Cow;

use super::alpn;

/// What the first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detected {
    /// Not the beginning of TLS, or of TLS so unusual that it is nobody's of the mesh.
    NotTls,
    /// The beginning of a hello.
    NeedMore,
    /// A whole hello.
    Tls(Hello),
}

/// What a client says first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The server that it wants, as it wrote it; `None` if it says nothing, or no text.
    pub sni: Option<Box<str>>,
    /// It offers a protocol of sidecars (`istio…`), so the handshake is for us.
    pub is_mesh: bool,
    /// It offers a name that we agree to as a server.
    pub offers_ours: bool,
}

/// Largest hello that is waited for. Those of sidecars have a few hundred bytes, with a post-quantum key share below 2 KiB.
pub const MAX_HELLO: usize = 16 * 1024;

/// Record type of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Handshake type of the hello (RFC 8446, section 4).
const CLIENT_HELLO: u8 = 1;
/// Most plaintext of a record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const PROTOCOLS: u16 = 16;

/// Judges the first bytes of a connection. The answer for a beginning holds, [`Detected::NeedMore`] aside, whatever follows.
#[must_use]
pub fn read(bytes: &[u8]) -> Detected {
    let message = match message(bytes) {
        Ok(message) => message,
        // In the smallest of records a hello of all bounds takes far more.
        Err(Detected::NeedMore) if bytes.len() >= 2 * MAX_HELLO => return Detected::NotTls,
        Err(other) => return other,
    };
    hello(Reader(&message)).map_or(Detected::NotTls, Detected::Tls)
}

/// The handshake message that the records at the beginning carry, without its header.
fn message(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Detected> {
    let mut rest = bytes;
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        let (fragment, following) = record(rest)?;
        rest = following;
        if joined.is_empty() {
            joined = Cow::Borrowed(fragment);
        } else {
            joined.to_mut().extend_from_slice(fragment);
        }
        if joined.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Detected::NotTls);
        }
        let Some([_, high, middle, low]) = joined.first_chunk::<4>() else {
            continue;
        };
        let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        if len > MAX_HELLO {
            return Err(Detected::NotTls);
        }
        if joined.len() < 4 + len {
            continue;
        }
        // Nothing may share the hello's record: keys change after it (RFC 8446, section 5.1).
        if joined.len() > 4 + len {
            return Err(Detected::NotTls);
        }
        return Ok(match joined {
            Cow::Borrowed(joined) => Cow::Borrowed(joined.get(4..).unwrap_or_default()),
            Cow::Owned(mut joined) => Cow::Owned(joined.split_off(4)),
        });
    }
}

/// The first record's content, whole or what is there of it, and what follows.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8]), Detected> {
    // Each byte is judged as soon as it is there: a client of another protocol may be waiting for an answer.
    let fits =
        |idx: usize, allowed: fn(u8) -> bool| bytes.get(idx).is_none_or(|byte| allowed(*byte));
    if !(fits(0, |kind| kind == HANDSHAKE)
        && fits(1, |major| major == 3)
        && fits(2, |minor| minor <= 4))
    {
        return Err(Detected::NotTls);
    }
    let Some(([_, _, _, high, low], rest)) = bytes.split_first_chunk::<5>() else {
        return Err(Detected::NeedMore);
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if len == 0 || len > MAX_RECORD {
        return Err(Detected::NotTls);
    }
    match rest.split_at_checked(len) {
        Some(parts) => Ok(parts),
        None => Err(Detected::NeedMore),
    }
}

fn hello(mut message: Reader<'_>) -> Option<Hello> {
    let _version = message.take(2)?;
    let _random = message.take(32)?;
    let _session = message.vector8()?;
    let _suites = message.vector16()?;
    let _compression = message.vector8()?;
    let mut hello = Hello::default();
    if message.0.is_empty() {
        // A client of old that has no extensions.
        return Some(hello);
    }
    let mut extensions = Reader(message.vector16()?);
    if !message.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.number16()?;
        let content = Reader(extensions.vector16()?);
        match kind {
            SERVER_NAME => hello.sni = server_name(content)?,
            PROTOCOLS => protocols(content, &mut hello)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The first host name of the list; other kinds of names do not exist.
fn server_name(mut content: Reader<'_>) -> Option<Option<Box<str>>> {
    let mut names = Reader(content.vector16()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?;
        let name = names.vector16()?;
        if kind == [HOST_NAME] {
            return Some(std::str::from_utf8(name).ok().map(Into::into));
        }
    }
    Some(None)
}

fn protocols(mut content: Reader<'_>, hello: &mut Hello) -> Option<()> {
    let mut names = Reader(content.vector16()?);
    while !names.0.is_empty() {
        let name = names.vector8()?;
        hello.is_mesh |= name.starts_with(alpn::MESH_PREFIX);
        hello.offers_ours |= alpn::SPOKEN.contains(&name);
    }
    Some(())
}

/// Bytes that are taken from the front.
struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number16(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// Bytes behind their number in one byte.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        self.0 = rest;
        self.take(usize::from(*len))
    }

    /// Bytes behind their number in two bytes.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.number16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests;

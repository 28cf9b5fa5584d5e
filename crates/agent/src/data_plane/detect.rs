//! Which protocol a connection speaks, from its first bytes.
//!
//! [`captured`](super::captured) reads until this module has an answer or the detection time is over; nothing is consumed.
//! Only a complete HTTP/1 request line counts as HTTP, so that line-based protocols (SMTP, Redis, SSH) stay opaque.

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detection {
    /// A request line of HTTP/1.
    Http1,
    /// Anything else: TLS, the HTTP/2 preface, unknown protocols.
    Opaque,
    /// The beginning of what may become a request line.
    NeedMore,
}

/// Longest method that is waited for; the registered ones end at 17 (`UPDATEREDIRECTREF`).
const MAX_METHOD: usize = 32;

/// Judges the first bytes of a connection.
///
/// `GET / HTTP/1.1\r\n` is [`Detection::Http1`], and so is a request line that the parser refuses later, such as one that ends
/// in a bare LF or names `HTTP/1.7`: whoever says HTTP is answered in HTTP.
pub(crate) fn detect(bytes: &[u8]) -> Detection {
    // Empty lines before a request line are allowed (RFC 9112 section 2.2).
    let blank = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let (_, line) = bytes.split_at(blank);
    let method = line
        .iter()
        .take(MAX_METHOD + 1)
        .take_while(|byte| is_token(**byte))
        .count();
    if method > MAX_METHOD {
        return Detection::Opaque;
    }
    let Some(after_method) = line.get(method) else {
        return Detection::NeedMore;
    };
    if *after_method != b' ' || method == 0 {
        return Detection::Opaque;
    }
    // A zero byte is nobody's text: whatever follows, it is not waited for.
    match memchr::memchr2(b'\n', 0, line) {
        Some(end) if names_http1(line.get(..=end).unwrap_or_default()) => Detection::Http1,
        Some(_) => Detection::Opaque,
        None => Detection::NeedMore,
    }
}

fn names_http1(line: &[u8]) -> bool {
    line.ends_with(b"\n")
        && line
            .rsplit(|byte| *byte == b' ')
            .next()
            .is_some_and(|version| version.starts_with(b"HTTP/1."))
}

/// A `tchar` of RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_whole_http1_request_line_is_http() {
        let table: [(&[u8], Detection); 21] = [
            (b"", Detection::NeedMore),
            (b"G", Detection::NeedMore),
            (b"GET /", Detection::NeedMore),
            (b"GET / HTTP/1.1", Detection::NeedMore),
            (b"GET / HTTP/1.1\r\n", Detection::Http1),
            (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Detection::Http1),
            (b"\r\nGET / HTTP/1.1\r\n", Detection::Http1),
            (b"GET / HTTP/1.1\n", Detection::Http1),
            (b"GET / HTTP/1.7\r\n", Detection::Http1),
            (b"CONNECT a:443 HTTP/1.1\r\n", Detection::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detection::Opaque),
            (b"\x16\x03\x01\x02\x00", Detection::Opaque),
            (b"EHLO mail.example.com\r\n", Detection::Opaque),
            (b"PING\r\n", Detection::Opaque),
            (b"SSH-2.0-client\r\n", Detection::Opaque),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Detection::Opaque),
            (b"GET \0", Detection::Opaque),
            (b"GET \0 HTTP/1.1\r\n", Detection::Opaque),
            (b" GET / HTTP/1.1\r\n", Detection::Opaque),
            (&[b'A'; 33], Detection::Opaque),
            (
                b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n",
                Detection::Opaque,
            ),
        ];
        for (bytes, expect) in table {
            assert_eq!(
                detect(bytes),
                expect,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    proptest! {
        #[test]
        fn an_answer_does_not_change_when_more_bytes_come(bytes in "[ -~\r\n\0]{0,60}", more in "[ -~\r\n]{0,20}") {
            let first = detect(bytes.as_bytes());
            let then = detect(format!("{bytes}{more}").as_bytes());
            prop_assert!(first == Detection::NeedMore || first == then);
        }
    }
}

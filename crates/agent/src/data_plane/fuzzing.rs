//! What must hold of HTTP/1 and of protocol detection for arbitrary bytes.
//!
//! Compiled for tests, which replay the corpora, and for libFuzzer (`cargo xtask fuzz`), never into the program: what is tried here is
//! the data plane's own. A body panics where a promise is broken; what two receivers could frame differently is looked for with a reader
//! that shares no code with the one on trial.

mod lenient;

use super::{
    detect::{Detection, detect},
    http1::{
        body::Body,
        head::{FieldSet, HeadError, Length, Method, Request, edit, parse_request, parse_response},
        scan::Scanner,
    },
};
use crate::tls::hello::{self, Detected};
use lenient::Lenient;

/// Limit of heads here, low enough that inputs reach it.
const HEAD_LIMIT: usize = 4096;

/// The bytes begin with a request or an answer: its end does not depend on how it came, and what is accepted has one framing, which
/// taking the sidecars' fields out and putting one in does not change.
pub fn http1_head(bytes: &[u8]) {
    let Some(len) = head_len(bytes) else {
        return;
    };
    let (head, rest) = bytes.split_at(len);
    if let Ok(request) = parse_request(head) {
        let lenient = Lenient::read(head);
        lenient.assert_one_framing(request.length);
        assert!(lenient.count("host") <= 1);
        spans_are_inside(&request, head);
        stays_the_same(&request, head, rest);
    }
    for method in [Method::Get, Method::Head, Method::Connect, Method::Other] {
        if let Ok(answer) = parse_response(head, method) {
            assert!((100..=999).contains(&answer.status));
            if answer.length != Length::Empty {
                Lenient::read(head).assert_one_framing(answer.length);
            }
            let mut buffer = bytes.to_vec();
            let end = edit(&mut buffer, 0..len, FieldSet::SIDECARS, &[], &mut []);
            let edited = parse_response(&buffer[..end], method).expect("still an answer");
            assert_eq!(
                (edited.status, edited.length, edited.persistent),
                (answer.status, answer.length, answer.persistent)
            );
            assert_eq!(&buffer[end..], rest);
        }
    }
}

/// Where the head at the start of `bytes` ends, if it does, whether it comes whole or byte by byte.
fn head_len(bytes: &[u8]) -> Option<usize> {
    let whole = Scanner::default().find_end(bytes, HEAD_LIMIT);
    let mut scanner = Scanner::default();
    let mut step = |n: usize| scanner.find_end(&bytes[..n], HEAD_LIMIT);
    let first = (1..=bytes.len())
        .map(&mut step)
        .find(|end| *end != Ok(None));
    // A limit that is passed in one piece is reported before a later line's fault is seen, and the other way round.
    match (whole, first.unwrap_or(Ok(None))) {
        (Err(_), Err(_)) => None,
        (whole, pieces) => {
            assert_eq!(whole, pieces);
            assert!(whole.ok().flatten().is_none_or(|len| len <= HEAD_LIMIT));
            whole.ok().flatten()
        }
    }
}

fn spans_are_inside(request: &Request, head: &[u8]) {
    let first_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (method, target) = (request.method_text.of(head), request.target.of(head));
    let start = [method, b" ", target, b" HTTP/1."].concat();
    assert!(first_line.starts_with(&start), "{first_line:?}");
    for span in [
        request.authority,
        request.user_agent,
        request.forwarded_for,
        request.request_id,
        request.peer_metadata,
        request.client_cert,
    ] {
        let value = span.of(head);
        assert!(!value.contains(&b'\n') && !value.contains(&b'\r'));
    }
}

/// Takes the sidecars' fields out and adds one, as the proxy does.
fn stays_the_same(request: &Request, head: &[u8], rest: &[u8]) {
    let mut buffer = [head, rest].concat();
    let mut edited = *request;
    let added = b"x-added: 1\r\n";
    let end = edited.edit(&mut buffer, head.len(), FieldSet::SIDECARS, &[added]);
    let (now, body) = buffer.split_at(end);
    assert_eq!(body, rest, "not a byte behind the head has changed");
    let again = match parse_request(now) {
        Ok(again) => again,
        // One line more than there may be.
        Err(HeadError::TooManyFields) => return,
        Err(error) => panic!("{error} after the edit"),
    };
    assert!(FieldSet::SIDECARS.among(again.present).is_empty());
    assert_eq!(
        (again.method, again.version, again.length),
        (request.method, request.version, request.length)
    );
    assert_eq!(
        (again.persistent, again.upgrade, again.repeatable),
        (request.persistent, request.upgrade, request.repeatable)
    );
    // The places that were carried along are those that a parser finds.
    for (carried, found) in [
        (edited.target, again.target),
        (edited.authority, again.authority),
        (edited.user_agent, again.user_agent),
        (edited.forwarded_for, again.forwarded_for),
        (edited.request_id, again.request_id),
    ] {
        assert_eq!(carried.of(now), found.of(now));
    }
    let kept = |head: &[u8]| -> Vec<Vec<u8>> {
        let lenient = Lenient::read(head);
        let fields = lenient.fields.into_iter();
        let fields = fields.filter(|(name, _)| {
            FieldSet::named(name).among(FieldSet::SIDECARS).is_empty() && name != b"x-added"
        });
        fields.map(|(name, value)| [name, value].concat()).collect()
    };
    assert_eq!(kept(head), kept(now), "other fields and their order stay");
}

/// The first byte says how long a body is, the second how it is cut, the rest is the body and what follows: pieces are followed like
/// the whole, and chunks end where a reader sees the end that takes them as they come.
pub fn http1_body(bytes: &[u8]) {
    let [length, cut, bytes @ ..] = bytes else {
        return;
    };
    let length = match length {
        0..=127 => Length::Chunked,
        128..=191 => Length::Exactly(u64::from(length - 128)),
        192..=223 => Length::UntilClose,
        224.. => Length::Empty,
    };
    let mut whole = Body::new(length);
    let expect = whole.advance(bytes);
    let mut body = Body::new(length);
    let (mut consumed, mut content, mut error) = (0, 0, None);
    for piece in bytes.chunks(usize::from(*cut).max(1)) {
        match body.advance(piece) {
            Ok(seen) => {
                assert!(seen.consumed <= piece.len() && seen.content <= seen.consumed as u64);
                consumed += seen.consumed;
                content += seen.content;
            }
            Err(found) => error = Some(found),
        }
        if error.is_some() || body.is_done() {
            break;
        }
    }
    let Ok(seen) = expect else {
        assert_eq!(error, expect.err());
        return;
    };
    assert_eq!(
        (error, consumed, content),
        (None, seen.consumed, seen.content)
    );
    assert_eq!(body, whole);
    if length == Length::Chunked && whole.is_done() {
        let lenient = lenient::chunked(bytes);
        assert_eq!(lenient, Some((seen.consumed, seen.content)));
    }
}

/// The bytes are the first of a connection: what is said of a beginning holds for everything that begins so, and what is said to be
/// HTTP looks like it.
pub fn detection(bytes: &[u8]) {
    let whole = detect(bytes);
    let mut earlier = Detection::NeedMore;
    for cut in 0..bytes.len().min(256) {
        let now = detect(&bytes[..cut]);
        assert!(earlier == Detection::NeedMore || earlier == now);
        earlier = now;
    }
    assert!(earlier == Detection::NeedMore || earlier == whole);
    if whole == Detection::Http1 {
        let line = String::from_utf8_lossy(bytes);
        let line = line.trim_start_matches(['\r', '\n']);
        let line = line.split('\n').next().unwrap_or_default();
        assert!(line.contains(" HTTP/1."), "{line:?}");
        assert_eq!(hello::read(bytes), Detected::NotTls);
    }
}

#[cfg(test)]
mod tests {
    use testkit::corpus::replay;

    #[test]
    fn a_head_that_is_accepted_has_one_framing_before_and_after_its_edit() {
        replay("http1_head", super::http1_head);
    }

    #[test]
    fn a_body_ends_where_every_reader_sees_its_end() {
        replay("http1_body", super::http1_body);
    }

    #[test]
    fn a_protocol_is_judged_alike_however_its_first_bytes_come() {
        replay("detection", super::detection);
    }
}

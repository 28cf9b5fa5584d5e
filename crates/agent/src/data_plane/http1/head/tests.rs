use proptest::prelude::*;

use super::*;

fn request(fields: &str) -> Result<Request, HeadError> {
    parse_request(format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes())
}

fn response(status: &str, fields: &str, method: Method) -> Result<Response, HeadError> {
    parse_response(
        format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes(),
        method,
    )
}

/// Every request with the fields must be refused for the reason.
#[track_caller]
fn check_refused(table: &[(&str, HeadError)]) {
    for (fields, expect) in table {
        assert_eq!(request(fields), Err(*expect), "{fields:?}");
    }
}

#[test]
fn a_length_that_receivers_read_differently_is_refused() {
    check_refused(&[
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            HeadError::TwoLengths,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            HeadError::TwoLengths,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            HeadError::ContentLength,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            HeadError::ContentLength,
        ),
        ("Content-Length: 5, 5\r\n", HeadError::ContentLength),
        ("Content-Length: +5\r\n", HeadError::ContentLength),
        ("Content-Length: -5\r\n", HeadError::ContentLength),
        ("Content-Length: 0x5\r\n", HeadError::ContentLength),
        ("Content-Length: 5 5\r\n", HeadError::ContentLength),
        ("Content-Length:\r\n", HeadError::ContentLength),
        (
            "Content-Length: 18446744073709551616\r\n",
            HeadError::ContentLength,
        ),
    ]);
}

#[test]
fn a_coding_that_receivers_read_differently_is_refused() {
    check_refused(&[
        (
            "Transfer-Encoding: chunked, gzip\r\n",
            HeadError::TransferEncoding,
        ),
        ("Transfer-Encoding: gzip\r\n", HeadError::TransferEncoding),
        (
            "Transfer-Encoding: identity\r\n",
            HeadError::TransferEncoding,
        ),
        (
            "Transfer-Encoding: xchunked\r\n",
            HeadError::TransferEncoding,
        ),
        (
            "Transfer-Encoding: \"chunked\"\r\n",
            HeadError::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked;a=b\r\n",
            HeadError::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            HeadError::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            HeadError::TransferEncoding,
        ),
        ("Transfer-Encoding:\r\n", HeadError::TransferEncoding),
    ]);
}

#[test]
fn fields_outside_of_the_grammar_are_refused() {
    check_refused(&[
        ("Transfer-Encoding : chunked\r\n", HeadError::Syntax),
        ("Content-Length : 5\r\n", HeadError::Syntax),
        (" Content-Length: 5\r\n", HeadError::Syntax),
        ("A: b\r\n c\r\n", HeadError::Syntax),
        ("A: b\r\n\tc\r\n", HeadError::Syntax),
        ("A: b\0c\r\n", HeadError::Syntax),
        ("A\0: b\r\n", HeadError::Syntax),
        ("A: b\rc\r\n", HeadError::Syntax),
        ("no colon\r\n", HeadError::Syntax),
        (": empty name\r\n", HeadError::Syntax),
        ("Host: other\r\n", HeadError::Host),
    ]);
}

#[test]
fn start_lines_outside_of_the_grammar_are_refused() {
    let table = [
        ("GET / HTTP/1.1\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", HeadError::Version),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", HeadError::Version),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::Syntax),
        ("GET / x HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::Version),
        ("GET /\r\n\r\n", HeadError::Syntax),
        ("G\u{e9}T / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::Syntax),
        (
            "CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n",
            HeadError::ConnectBody,
        ),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            HeadError::TransferEncoding,
        ),
    ];
    for (head, expect) in table {
        assert_eq!(parse_request(head.as_bytes()), Err(expect), "{head:?}");
    }
}

#[test]
fn the_length_of_a_request_follows_its_fields() {
    let table = [
        ("", Length::Empty),
        ("Content-Length: 0\r\n", Length::Empty),
        ("content-length:\t5 \r\n", Length::Exactly(5)),
        ("TRANSFER-ENCODING: Chunked\r\n", Length::Chunked),
        ("Transfer-Encoding: gzip, chunked\r\n", Length::Chunked),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            Length::Chunked,
        ),
    ];
    for (fields, expect) in table {
        assert_eq!(
            request(fields).map(|head| head.length),
            Ok(expect),
            "{fields:?}"
        );
    }
}

#[test]
fn the_length_of_an_answer_follows_status_and_method() {
    let body = "Content-Length: 5\r\n";
    let table = [
        ("200 OK", body, Method::Idempotent, Length::Exactly(5)),
        ("200 OK", body, Method::Head, Length::Empty),
        (
            "200 OK",
            "Transfer-Encoding: chunked\r\n",
            Method::Head,
            Length::Empty,
        ),
        ("204 No Content", body, Method::Idempotent, Length::Empty),
        ("304 Not Modified", body, Method::Idempotent, Length::Empty),
        ("103 Early Hints", "", Method::Idempotent, Length::Empty),
        (
            "101 Switching Protocols",
            "",
            Method::Idempotent,
            Length::Empty,
        ),
        ("200 OK", "", Method::Connect, Length::Empty),
        ("403 Forbidden", body, Method::Connect, Length::Exactly(5)),
        ("200 OK", "", Method::Idempotent, Length::UntilClose),
        (
            "200 OK",
            "Transfer-Encoding: chunked\r\n",
            Method::Other,
            Length::Chunked,
        ),
    ];
    for (status, fields, method, expect) in table {
        let length = response(status, fields, method).map(|head| head.length);
        assert_eq!(length, Ok(expect), "{status} {fields:?} {method:?}");
    }
}

#[test]
fn answers_are_held_to_the_same_rules() {
    let table = [
        (
            "200 OK",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            HeadError::TwoLengths,
        ),
        (
            "200 OK",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            HeadError::ContentLength,
        ),
        (
            "200 OK",
            "Transfer-Encoding: chunked, gzip\r\n",
            HeadError::TransferEncoding,
        ),
        ("200 OK", "A: b\r\n c\r\n", HeadError::Syntax),
        ("200 OK", "A : b\r\n", HeadError::Syntax),
        ("099 Odd", "", HeadError::Status),
        ("20 Odd", "", HeadError::Syntax),
    ];
    for (status, fields, expect) in table {
        let parsed = response(status, fields, Method::Idempotent);
        assert_eq!(parsed, Err(expect), "{status} {fields:?}");
    }
}

#[test]
fn persistence_follows_version_and_connection_options() {
    let table = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, fields, expect) in table {
        let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        let persistent = parse_request(head.as_bytes()).map(|head| head.persistent);
        assert_eq!(persistent, Ok(expect), "{head:?}");
    }
}

#[test]
fn an_upgrade_needs_both_fields() {
    let both = request("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n").unwrap();
    let alone = request("Upgrade: websocket\r\n").unwrap();
    assert_eq!((both.upgrade, alone.upgrade), (true, false));
}

#[test]
fn logged_fields_are_found_in_place() {
    let text = b"GET /path?q HTTP/1.1\r\nHost: shop:80\r\nUser-Agent: wget\r\nX-Forwarded-For: 10.0.0.1\r\nX-Request-Id: 7\r\n\r\n";
    let head = parse_request(text).unwrap();
    let places = [
        (head.method_text, "GET"),
        (head.target, "/path?q"),
        (head.authority, "shop:80"),
        (head.user_agent, "wget"),
        (head.forwarded_for, "10.0.0.1"),
        (head.request_id, "7"),
    ];
    for (span, expect) in places {
        assert_eq!(span.of(text), expect.as_bytes());
    }
}

#[test]
fn too_many_fields_are_told_apart() {
    let fields = "A: b\r\n".repeat(MAX_FIELDS);
    assert_eq!(request(&fields), Err(HeadError::TooManyFields));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_request(&bytes);
        let _ = parse_response(&bytes, Method::Other);
    }

    #[test]
    fn arbitrary_fields_never_give_two_lengths(fields in "((Content-Length|Transfer-Encoding): ?[0-9a-z, ]{0,8}\r\n){0,3}") {
        if let Ok(head) = request(&fields) {
            let lower = fields.to_ascii_lowercase();
            prop_assert!(!(lower.contains("content-length") && lower.contains("transfer-encoding")), "{head:?}");
        }
    }
}

//! Hellos as rustls writes them, hellos in odd pieces, and what is no hello.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs, version::TLS13};

use super::*;

/// The first flight of a real client.
fn client(name: &'static str, protocols: &[&str]) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of `size` bytes.
fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let (header, message) = bytes.split_at(5);
    message
        .chunks(size)
        .flat_map(|piece| {
            let len = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&header[..3], &len, piece].concat()
        })
        .collect()
}

fn hello_of(bytes: &[u8]) -> Hello {
    match read(bytes) {
        Detected::Tls(hello) => hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_offered_protocols_tell_sidecars_from_applications() {
    let name = "outbound_.8080_._.web.default.svc.cluster.local";
    for (protocols, is_mesh, offers_ours) in [
        (&["istio-peer-exchange", "istio"][..], true, true),
        (&["istio-http/1.1", "istio", "http/1.1"], true, true),
        (&["istio-http/1.0", "istio", "http/1.0"], true, true),
        (&["istio-h2", "istio", "h2"], true, true),
        (&["istio-peer-exchange"], true, false),
        (&["istio-h2", "h2"], true, false),
        (&["h2", "http/1.1"], false, true),
        (&["h2"], false, false),
        (&["not-istio"], false, false),
        (&[], false, false),
    ] {
        let expected = Hello {
            sni: Some(name.into()),
            is_mesh,
            offers_ours,
        };
        assert_eq!(
            hello_of(&client(name, protocols)),
            expected,
            "{protocols:?}"
        );
    }
}

#[test]
fn a_client_may_name_no_server() {
    let hello = hello_of(&client("127.0.0.1", &["istio"]));
    assert_eq!(hello.sni, None);
    assert!(hello.is_mesh);
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x00",
        b"\x16\x02",
        b"\x16\x03\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x15\x03\x01\x00\x02\x01\x00",
        // A server's hello, a message beyond all bounds, and an empty hello.
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    ] {
        assert_eq!(read(bytes), Detected::NotTls, "{bytes:x?}");
    }
    assert_eq!(read(b""), Detected::NeedMore);
    assert_eq!(read(b"\x16\x03\x01\x02"), Detected::NeedMore);
}

#[test]
fn a_record_with_more_than_the_hello_is_not_ours() {
    let mut bytes = client("a.b", &["istio"]);
    let len = u16::from_be_bytes([bytes[3], bytes[4]]) + 4;
    bytes[3..5].copy_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    assert_eq!(read(&bytes), Detected::NotTls);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(size in 1_usize..600, cut in 0_usize..2000, behind in any::<[u8; 8]>()) {
        let bytes = client("a.b.c", &["istio", "h2"]);
        let pieces = in_records(&bytes, size);
        let expected = Detected::Tls(hello_of(&bytes));
        prop_assert_eq!(read(&pieces), expected.clone());
        if let Some(beginning) = pieces.get(..cut.min(pieces.len() - 1)) {
            prop_assert_eq!(read(beginning), Detected::NeedMore);
        }
        prop_assert_eq!(read(&[&pieces[..], &behind].concat()), expected);
    }

    #[test]
    fn a_damaged_hello_does_no_harm(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let mut bytes = client("a.b.c", &["istio", "h2"]);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = read(&bytes);
        let _ = read(&bytes[..cut.min(bytes.len())]);
    }

    #[test]
    fn an_answer_does_not_change_when_more_bytes_come(bytes in prop::collection::vec(any::<u8>(), 0..64), more in any::<[u8; 16]>()) {
        for bytes in [bytes.clone(), [&b"\x16\x03\x01\x00\x20\x01\x00"[..], &bytes].concat()] {
            let first = read(&bytes);
            let then = read(&[&bytes[..], &more].concat());
            prop_assert!(first == Detected::NeedMore || first == then);
        }
    }
}

//! Peers that break off, say nonsense, or go on for ever.

use std::io::{Read, Write};

use agent::{data_plane::net::stream::Stream, tls::TlsError};
use testkit::pki::Root;
use tokio::net::TcpListener;

use crate::harness::{API, LIMIT, credentials};

/// How accepting ends if the client sends `bytes` and ends, and whether it was told why.
async fn accept(bytes: Vec<u8>, first: Vec<u8>) -> (Result<Stream, TlsError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        // The server may have had enough in the middle.
        let _ = tcp.write_all(&bytes);
        let _ = tcp.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer);
        answer
    });
    let api = credentials(&Root::new("mesh").workload(API));
    let stream = Stream::new(listener.accept().await.unwrap().0);
    let accepting = stream.accept_tls(&api, first);
    let accepted = tokio::time::timeout(LIMIT, accepting).await.unwrap();
    (accepted, client.join().unwrap())
}

/// The hello of a client that offers `istio`, made by hand: one cipher suite, no key share worth the name.
fn hello() -> Vec<u8> {
    let extension = |kind: u16, content: &[u8]| {
        let len = u16::try_from(content.len()).unwrap();
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), content].concat()
    };
    let extensions = [
        extension(16, b"\x00\x06\x05istio"),
        extension(43, b"\x02\x03\x04"),
        extension(13, b"\x00\x02\x04\x03"),
        extension(10, b"\x00\x02\x00\x1d"),
        extension(
            51,
            b"\x00\x24\x00\x1d\x00\x20nothing that is a key, but it is",
        ),
    ]
    .concat();
    let mut message = b"\x03\x03".to_vec();
    message.extend([7; 32]);
    message.extend(b"\x00\x00\x02\x13\x01\x01\x00");
    message.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    message.extend(extensions);
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let message = [&[1], &len[1..], &message].concat();
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    [b"\x16\x03\x01", &len[..], &message].concat()
}

#[tokio::test(flavor = "current_thread")]
async fn a_handshake_that_breaks_off_ends() {
    let hello = hello();
    for cut in [0, 1, 5, 6, hello.len() / 2, hello.len() - 1, hello.len()] {
        let (accepted, _) = accept(hello[..cut].to_vec(), Vec::new()).await;
        let error = accepted.unwrap_err();
        assert!(
            matches!(error, TlsError::Closed | TlsError::Refused(_)),
            "{cut}: {error:?}"
        );
        // The same if some of it was read before.
        let (accepted, _) = accept(Vec::new(), hello[..cut].to_vec()).await;
        assert!(accepted.is_err(), "{cut}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_hello_is_told_from_a_handshake_that_fails() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
    ] {
        let (accepted, _) = accept(bytes.to_vec(), Vec::new()).await;
        assert!(matches!(accepted.unwrap_err(), TlsError::NotTls));
    }
    // Records of one byte each that never come to an end.
    let endless: Vec<u8> = std::iter::once(&b"\x16\x03\x01\x00\x04\x01\x00\x3f\xff"[..])
        .chain(std::iter::repeat_n(
            &b"\x16\x03\x01\x00\x01\x00"[..],
            20_000,
        ))
        .flatten()
        .copied()
        .collect();
    let (accepted, _) = accept(endless, Vec::new()).await;
    assert!(matches!(accepted.unwrap_err(), TlsError::NotTls));
}

#[tokio::test(flavor = "current_thread")]
async fn nonsense_behind_a_hello_is_answered_with_an_alert() {
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 100],
        b"\x17\x03\x03\x00\x20................................",
        b"\x17\x03\x03\x50\x00",
        b"\x16\x03\x03\x00\x04\x14\x00\x00\x00",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let (accepted, answer) = accept([&hello()[..], nonsense].concat(), Vec::new()).await;
        assert!(
            matches!(accepted.unwrap_err(), TlsError::Refused(_)),
            "{nonsense:x?}"
        );
        assert!(
            answer.starts_with(b"\x16\x03\x03"),
            "{nonsense:x?}: {answer:x?}"
        );
    }
}

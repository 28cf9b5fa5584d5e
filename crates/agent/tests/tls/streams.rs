//! Two of our own ends: bytes, ends and idleness of a secured connection.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, Waker},
};

use crate::harness::{API, WEB, pair, read, read_all, read_exact, shut_down, tcp, write_all};

#[tokio::test(flavor = "current_thread")]
async fn both_ends_know_each_other_and_what_they_speak() {
    let (client, server) = pair().await;
    assert_eq!(client.peer().unwrap().spiffe_id().as_str(), API);
    let peer = server.peer().unwrap();
    assert_eq!(peer.spiffe_id().as_str(), WEB);
    assert_eq!(peer.certificate_sha256().len(), 64);
    assert_eq!(client.alpn(), Some(&b"istio-http/1.1"[..]));
    assert_eq!(server.alpn(), client.alpn());
    let (plain, _other) = tcp().await;
    assert!(plain.peer().is_none() && plain.alpn().is_none());
}

#[tokio::test(flavor = "current_thread")]
async fn small_messages_go_both_ways() {
    let (mut client, mut server) = pair().await;
    for _ in 0..100 {
        write_all(&mut client, b"ping").await.unwrap();
        assert_eq!(read(&mut server, 4096).await.unwrap(), b"ping");
        write_all(&mut server, b"pong!").await.unwrap();
        assert_eq!(read(&mut client, 16 * 1024).await.unwrap(), b"pong!");
    }
}

/// Reading buffers from one byte to more than four records, so that records are split, joined, and too large for the buffer.
#[tokio::test(flavor = "current_thread")]
async fn bulk_arrives_whole_in_buffers_of_any_size() {
    let bytes: Vec<u8> = (0..1_000_003_u32).flat_map(u32::to_be_bytes).collect();
    for capacity in [1_000, 16 * 1024, 16 * 1024 + 1, 65 * 1024, 300_000] {
        let (mut client, mut server) = pair().await;
        let (sent, received) = tokio::join!(
            write_all(&mut client, &bytes),
            read_exact(&mut server, bytes.len(), capacity)
        );
        sent.unwrap();
        assert!(received.unwrap() == bytes, "{capacity}");
    }
    let (mut client, mut server) = pair().await;
    write_all(&mut client, &bytes[..40_000]).await.unwrap();
    assert!(read_exact(&mut server, 40_000, 1).await.unwrap() == bytes[..40_000]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_buffer_is_no_end() {
    let (mut client, mut server) = pair().await;
    write_all(&mut client, b"abc").await.unwrap();
    let mut full = Vec::new();
    assert_eq!(
        poll_fn(|cx| server.poll_read(cx, &mut full)).await.unwrap(),
        0
    );
    assert_eq!(read(&mut server, 8).await.unwrap(), b"abc");
}

#[tokio::test(flavor = "current_thread")]
async fn each_direction_ends_on_its_own() {
    let (mut client, mut server) = pair().await;
    write_all(&mut client, b"question").await.unwrap();
    shut_down(&mut client).await.unwrap();
    assert_eq!(read_all(&mut server).await.unwrap(), b"question");
    assert_eq!(read(&mut server, 1).await.unwrap(), b"", "the end stays");
    write_all(&mut server, b"answer").await.unwrap();
    shut_down(&mut server).await.unwrap();
    shut_down(&mut server).await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"answer");
}

#[tokio::test(flavor = "current_thread")]
async fn an_end_that_the_peer_did_not_say_is_an_error() {
    let (mut client, mut server) = pair().await;
    write_all(&mut client, b"half of it").await.unwrap();
    drop(client);
    assert_eq!(read(&mut server, 100).await.unwrap(), b"half of it");
    let error = read(&mut server, 100).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test(flavor = "current_thread")]
async fn a_connection_that_was_closed_has_a_proper_end() {
    let (mut client, mut server) = pair().await;
    write_all(&mut client, b"all of it").await.unwrap();
    client.close();
    drop(client);
    assert_eq!(read_all(&mut server).await.unwrap(), b"all of it");
}

#[tokio::test(flavor = "current_thread")]
async fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (mut client, mut server) = pair().await;
    let bytes = vec![7; 60_000];
    let mut n_written = 0;
    // Until the kernel's buffers are full.
    let idle = Context::from_waker(Waker::noop());
    let mut cx = idle;
    let pending = loop {
        match client.poll_write(&mut cx, &bytes) {
            Poll::Ready(n) => n_written += n.unwrap(),
            Poll::Pending => break bytes.len(),
        }
        tokio::task::yield_now().await;
    };
    // What could not be written at once is not lost, and not doubled.
    let (rest, received) = tokio::join!(
        async {
            write_all(&mut client, &bytes).await.unwrap();
            shut_down(&mut client).await
        },
        read_all(&mut server)
    );
    rest.unwrap();
    let received = received.unwrap();
    assert_eq!(received.len(), n_written + pending);
    assert!(received.iter().all(|byte| *byte == 7));
}

#[tokio::test(flavor = "current_thread")]
async fn an_idle_connection_is_stale_once_it_has_ended_or_speaks_unasked() {
    let (mut client, mut server) = pair().await;
    assert!(!client.is_stale() && !server.is_stale());
    write_all(&mut client, b"x").await.unwrap();
    poll_fn(|cx| server.poll_readable(cx)).await.unwrap();
    assert!(server.is_stale());
    server.close();
    poll_fn(|cx| client.poll_readable(cx)).await.unwrap();
    assert!(client.is_stale());
}

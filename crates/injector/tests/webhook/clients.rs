//! Clients that mean no good, or know no better.

use std::{any::Any, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::{
    client::{HTTP_1, HTTP_2, handshake},
    fixture::{Fixture, LIMIT, pod, review_of},
};

/// The `idx`th of seven ways to be a bad client; it stays connected for as long as the value lives.
async fn bad_client(fixture: &Fixture, idx: usize) -> io::Result<Box<dyn Any>> {
    let plain = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(fixture.address).await?;
        stream.write_all(bytes).await?;
        io::Result::Ok(Box::new(stream) as Box<dyn Any>)
    };
    let encrypted = async |speech, bytes: &[u8]| {
        let mut stream = handshake(fixture.address, &fixture.certificate, speech).await?;
        stream.write_all(bytes).await?;
        io::Result::Ok(Box::new(stream) as Box<dyn Any>)
    };
    match idx % 7 {
        0 => plain(b"").await,
        // Half a TLS record.
        1 => plain(&[0x16, 3, 1, 2, 0, 1]).await,
        2 => plain(b"POST /inject HTTP/1.1\r\n\r\n").await,
        3 => encrypted(HTTP_2, b"").await,
        4 => encrypted(HTTP_1, b"POST /inject HTTP/1.1\r\nHost:").await,
        // A body that never comes.
        5 => {
            let head = b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n\r\n{";
            encrypted(HTTP_1, head).await
        }
        // Goes away in the middle.
        _ => {
            drop(encrypted(HTTP_1, b"POST /inject").await?);
            Ok(Box::new(()))
        }
    }
}

#[tokio::test]
async fn seventy_idle_and_broken_clients_hurt_nobody() {
    let fixture = Fixture::start().await;
    let mut bad = Vec::new();
    for idx in 0..70 {
        bad.push(bad_client(&fixture, idx).await.unwrap());
    }
    for speech in [HTTP_1, HTTP_2] {
        let mut client = fixture.client(speech).await;
        let review = review_of(&pod());
        let answer = time::timeout(Duration::from_secs(5), client.review("/inject", &review));
        let (_, answer) = answer.await.expect("an answer in time");
        assert_eq!(answer["response"]["allowed"], true);
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_at_once() {
    let fixture = Fixture::start().await;
    let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
        .await
        .unwrap();
    stream
        .write_all(
            b"POST /inject HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 7000000\r\n\r\n",
        )
        .await
        .unwrap();
    let mut answer = [0; 12];
    time::timeout(LIMIT, stream.read_exact(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let fixture = Fixture::start().await;
    let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
        .await
        .unwrap();
    stream
        .write_all(
            b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    let mut answers = String::new();
    // The server ends with the second answer; how it says so is its affair.
    let _ = time::timeout(LIMIT, stream.read_to_string(&mut answers)).await;
    let first = answers.find("HTTP/1.1 200").expect("the first answer");
    let second = answers.find("HTTP/1.1 404").expect("the second answer");
    assert!(first < second);
}

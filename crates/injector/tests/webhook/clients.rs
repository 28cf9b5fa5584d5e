//! Clients that mean no good, or know no better.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::{
    client::{HTTP_1, HTTP_2, handshake},
    fixture::{Fixture, LIMIT, pod, review_of},
};

#[tokio::test]
async fn seventy_idle_and_broken_clients_hurt_nobody() {
    let fixture = Fixture::start().await;
    let mut silent = Vec::new();
    let mut handshaken = Vec::new();
    for idx in 0..70 {
        match idx % 7 {
            // Says nothing at all.
            0 => silent.push(TcpStream::connect(fixture.address).await.unwrap()),
            // Half a TLS record.
            1 => {
                let mut stream = TcpStream::connect(fixture.address).await.unwrap();
                stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
                silent.push(stream);
            }
            // Plain HTTP where TLS is spoken.
            2 => {
                let mut stream = TcpStream::connect(fixture.address).await.unwrap();
                stream
                    .write_all(b"POST /inject HTTP/1.1\r\n\r\n")
                    .await
                    .unwrap();
                silent.push(stream);
            }
            // Shakes hands and says nothing.
            3 => handshaken.push(
                handshake(fixture.address, &fixture.certificate, HTTP_2)
                    .await
                    .unwrap(),
            ),
            // Half a head.
            4 => {
                let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
                    .await
                    .unwrap();
                stream
                    .write_all(b"POST /inject HTTP/1.1\r\nHost:")
                    .await
                    .unwrap();
                handshaken.push(stream);
            }
            // A body that never comes.
            5 => {
                let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
                    .await
                    .unwrap();
                stream
                    .write_all(
                        b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n\r\n{",
                    )
                    .await
                    .unwrap();
                handshaken.push(stream);
            }
            // Goes away in the middle.
            _ => {
                let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
                    .await
                    .unwrap();
                stream.write_all(b"POST /inject").await.unwrap();
            }
        }
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

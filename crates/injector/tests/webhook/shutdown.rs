//! How the injector ends.

use http::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::{
    client::{Client, HTTP_1, HTTP_2, handshake},
    fixture::{Fixture, LIMIT, pod, review_of},
};

#[tokio::test]
async fn requests_under_way_are_answered_and_idle_connections_do_not_delay() {
    let fixture = Fixture::start().await;
    let mut idle = fixture.client(HTTP_1).await;
    idle.get("/ready").await;
    let mut idle = fixture.client(HTTP_2).await;
    idle.get("/ready").await;

    let review = review_of(&pod()).to_string();
    let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
        .await
        .unwrap();
    let head = format!(
        "POST /inject HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        review.len()
    );
    let (first, rest) = review.split_at(100);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    // The request counts as under way once its head has arrived.
    while fixture.metric("sidecar_injection_requests_total").await != Some(1.0) {
        tokio::task::yield_now().await;
    }

    fixture.life.drain("test");
    time::timeout(LIMIT, async {
        while TcpStream::connect(fixture.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the listener closes");
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.to_ascii_lowercase().contains("connection: close"),
        "{head}"
    );
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["response"]["allowed"], true);
    assert!(
        time::timeout(LIMIT, fixture.ended())
            .await
            .expect("it ends")
    );
}

#[tokio::test]
async fn readiness_goes_first_and_reviews_are_answered_until_the_delay_is_over() {
    let fixture = Fixture::start_with(&["--shutdown-delay=1h", "--drain-duration=2h"]).await;
    let mut kept = fixture.client(HTTP_1).await;
    kept.get("/ready").await;
    fixture.life.drain("test");

    let (status, body) = fixture.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("draining"), "{body}");
    // Both a new connection and a kept one.
    for client in [&mut fixture.client(HTTP_2).await, &mut kept] {
        let (_, answer) = client.review("/inject", &review_of(&pod())).await;
        assert_eq!(answer["response"]["allowed"], true);
    }
    fixture.life.stop("test");
    assert!(
        time::timeout(LIMIT, fixture.ended())
            .await
            .expect("it ends")
    );
    assert!(
        Client::connect(fixture.address, &fixture.certificate, HTTP_1)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_deadline_cuts_off_what_does_not_end() {
    let fixture = Fixture::start_with(&["--drain-duration=50ms"]).await;
    let mut stream = handshake(fixture.address, &fixture.certificate, HTTP_1)
        .await
        .unwrap();
    stream
        .write_all(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n{")
        .await
        .unwrap();
    while fixture.metric("sidecar_injection_requests_total").await != Some(1.0) {
        tokio::task::yield_now().await;
    }
    fixture.life.drain("test");
    assert!(
        time::timeout(LIMIT, fixture.ended())
            .await
            .expect("it ends")
    );
}

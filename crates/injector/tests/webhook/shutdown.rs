//! How the injector ends.

use axum::body::Body;
use http::{Method, StatusCode, header};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::{
    client::{Client, HTTP_1, HTTP_2, Speech, handshake},
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

/// Asks until the listener has closed; gives the number of answers. Every review that was sent must be answered.
async fn load(fixture: &Fixture, speech: Speech) -> usize {
    let review = review_of(&pod());
    let mut n_answers = 0;
    while let Ok(mut client) = Client::connect(fixture.address, &fixture.certificate, speech).await
    {
        // Few on each connection, so that many connections fall into the end.
        for _ in 0..3 {
            let body = Body::from(review.to_string());
            let answer = client
                .send(Method::POST, "/inject", "application/json", body)
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                // The connection ended before anything was sent on it.
                Err(error) if n_answers > 0 && (error.is_closed() || error.is_canceled()) => break,
                Err(error) => panic!("a review is not answered: {error:?}"),
            };
            assert_eq!(answer.status, StatusCode::OK);
            let text = answer.text();
            assert!(text.contains("\"allowed\":true"), "{text}");
            n_answers += 1;
            if answer.headers.contains_key(header::CONNECTION) {
                break;
            }
        }
    }
    n_answers
}

#[tokio::test]
async fn under_load_no_review_is_lost() {
    let fixture = Fixture::start_with(&["--shutdown-delay=500ms"]).await;
    let drain = async {
        while fixture
            .metric("sidecar_injection_success_total")
            .await
            .is_none_or(|answered| answered < 20.0)
        {
            tokio::task::yield_now().await;
        }
        fixture.life.drain("test");
    };
    let all = async {
        tokio::join!(
            drain,
            load(&fixture, HTTP_1),
            load(&fixture, HTTP_1),
            load(&fixture, HTTP_2),
            load(&fixture, HTTP_2),
        )
    };
    let ended = time::timeout(LIMIT, Box::pin(all)).await;
    let ((), first, second, third, fourth) = ended.expect("it ends");
    assert!([first, second, third, fourth].iter().all(|n| *n > 3));
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

use std::{net::SocketAddr, time::Duration};

use axum::routing::get;
use runtime::readiness::Readiness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const SOON: Duration = Duration::from_secs(20);

struct Fixture {
    address: SocketAddr,
    life: Lifecycle,
    tasks: Group,
}

async fn start(limits: Limits) -> Fixture {
    let life = Lifecycle::new(Readiness::new(), SOON);
    let listener = Listener::bind("test", "--addr", "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.address();
    let router = Router::new().route("/", get(async || "here\n"));
    let tasks = Group::new();
    let drain = Drain {
        life: life.clone(),
        delay: Duration::ZERO,
    };
    tasks.spawn("server", async move {
        let served = listener.serve(router, None, limits, drain).await;
        served.expect("the socket works");
    });
    Fixture {
        address,
        life,
        tasks,
    }
}

fn limits() -> Limits {
    Limits {
        first_request: SOON,
        idle: SOON,
        linger: SOON,
        ..Limits::default()
    }
}

impl Fixture {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn has_ended(&self) -> bool {
        self.tasks.join(SOON).await.is_ok()
    }
}

/// Asks for the page and reads it.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"here\n") {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    String::from_utf8(answer).ok()
}

/// Waits until the server has closed the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let closed = async { matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)) };
    time::timeout(SOON, closed).await.unwrap_or(false)
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed() {
    let fixture = start(Limits {
        first_request: Duration::from_millis(20),
        ..limits()
    })
    .await;
    assert!(is_closed(&mut fixture.connect().await).await);
    let mut halting = fixture.connect().await;
    halting.write_all(b"GET / HT").await.unwrap();
    assert!(is_closed(&mut halting).await);
}

#[tokio::test]
async fn a_connection_that_asks_no_more_is_closed() {
    let fixture = start(Limits {
        idle: Duration::from_millis(20),
        ..limits()
    })
    .await;
    let mut stream = fixture.connect().await;
    assert!(ask(&mut stream).await.is_some());
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn when_all_seats_are_taken_the_idle_make_room() {
    let fixture = start(Limits {
        connections: 2,
        ..limits()
    })
    .await;
    let mut used = fixture.connect().await;
    assert!(ask(&mut used).await.is_some());
    let mut silent = fixture.connect().await;
    let mut third = fixture.connect().await;
    assert!(ask(&mut third).await.is_some());
    assert!(is_closed(&mut silent).await);
    assert!(ask(&mut used).await.is_some(), "one that was used stays");
}

#[tokio::test]
async fn a_connection_that_was_accepted_before_the_end_is_still_served() {
    let fixture = start(limits()).await;
    let mut idle = fixture.connect().await;
    assert!(ask(&mut idle).await.is_some());
    let mut fresh = fixture.connect().await;
    fixture.life.drain("test");
    assert!(is_closed(&mut idle).await, "one that was used ends");
    let answer = ask(&mut fresh).await.expect("an answer");
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert!(is_closed(&mut fresh).await);
    assert!(fixture.has_ended().await);
}

#[tokio::test]
async fn a_fresh_connection_does_not_hold_up_the_end() {
    let fixture = start(Limits {
        linger: Duration::from_millis(20),
        ..limits()
    })
    .await;
    let _silent = fixture.connect().await;
    fixture.life.drain("test");
    assert!(fixture.has_ended().await);
}

#[tokio::test]
async fn a_busy_address_is_an_error_that_names_the_flag() {
    let first = start(limits()).await;
    let error = Listener::bind("test", "--addr", first.address)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the test cannot listen on {} (--addr)", first.address)
    );
}

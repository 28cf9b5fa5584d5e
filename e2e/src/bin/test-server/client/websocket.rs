//! A WebSocket client that checks that every message comes back.
//!
//! Messages grow from one byte to some ten thousand, so that all three lengths of a frame's header occur, and text alternates with binary.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{duration, report::Report, target::Target};

/// Flags of `test-server websocket`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the echo is: `ws://HOST:PORT/PATH`, without port and path 80 and `/`.
    url: String,
    /// How many messages to send.
    #[arg(
        long,
        env = "TEST_MESSAGES",
        default_value_t = 100,
        value_name = "NUMBER"
    )]
    messages: usize,
    /// How long all of it may take.
    #[arg(long, env = "TEST_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
}

/// Has the messages echoed.
///
/// # Errors
/// The URL makes no sense.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let target = Target::parse_url(&args.url)?;
    let mut report = Report::default();
    let result = match timeout(args.timeout, echo(&target, args, &mut report)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("not done in {:?}", args.timeout)),
    };
    if let Err(error) = result {
        report.fail(format!("{error:#}"));
    }
    Ok(report)
}

async fn echo(target: &Target, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let stream = target.connect(args.timeout).await?;
    report.connected();
    let url = format!("ws://{}{}", target.authority, target.path);
    let (mut socket, response) = client_async(url, stream).await.context("upgrade")?;
    ensure!(
        response.status() == 101,
        "the upgrade was answered with {}",
        response.status()
    );
    for index in 0..args.messages {
        let start = Instant::now();
        let message = message(index);
        let length = message.len() as u64;
        socket.send(message.clone()).await.context("send")?;
        let answer = socket.next().await.context("closed early")?;
        ensure!(
            answer.context("receive")? == message,
            "message {index} came back changed"
        );
        report.succeeded(length, start.elapsed());
    }
    socket.close(None).await.context("close")
}

/// The message of this number.
fn message(index: usize) -> Message {
    let length = 1 + index * index * 7 % 70_000;
    if index.is_multiple_of(2) {
        Message::text("t".repeat(length))
    } else {
        Message::binary(vec![0xb1; length])
    }
}

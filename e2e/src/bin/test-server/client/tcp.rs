//! A TCP client that checks that every byte comes back.
//!
//! It writes and reads at the same time, so a proxy that holds back one direction until the other is done would block it for ever,
//! and ends its sending side, so the half-close has to pass as well.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{duration, report::Report, target::Target};

/// Flags of `test-server tcp-echo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the echo is, HOST:PORT.
    address: String,
    /// How many bytes to send.
    #[arg(
        long,
        env = "TEST_BYTES",
        default_value_t = 1024,
        value_name = "NUMBER"
    )]
    bytes: u64,
    /// How long all of it may take.
    #[arg(long, env = "TEST_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
}

/// Has the bytes echoed.
///
/// # Errors
/// The address makes no sense.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let target = Target::parse_address(&args.address)?;
    let mut report = Report::default();
    let start = Instant::now();
    let result = match timeout(args.timeout, echo(&target, args, &mut report)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("not echoed in {:?}", args.timeout)),
    };
    match result {
        Ok(()) => report.succeeded(args.bytes, start.elapsed()),
        Err(error) => report.fail(format!("{error:#}")),
    }
    Ok(report)
}

async fn echo(target: &Target, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let mut stream = target.connect(args.timeout).await?;
    report.connected();
    let (mut read, mut write) = stream.split();
    let send = async {
        let mut sent = 0;
        while sent < args.bytes {
            let chunk = chunk(sent, args.bytes);
            write.write_all(&chunk).await.context("write")?;
            sent += chunk.len() as u64;
        }
        write.shutdown().await.context("shutdown")
    };
    let receive = async {
        let (mut received, mut buffer) = (0, vec![0; 16 * 1024]);
        loop {
            let n = read.read(&mut buffer).await.context("read")?;
            if n == 0 {
                break;
            }
            for byte in buffer.iter().take(n) {
                ensure!(*byte == at(received), "byte {received} came back changed");
                received += 1;
            }
        }
        if received != args.bytes {
            bail!("{received} bytes came back");
        }
        Ok(())
    };
    tokio::try_join!(send, receive).map(|_| ())
}

/// The next bytes to send, a few at most.
fn chunk(from: u64, end: u64) -> Vec<u8> {
    (from..end.min(from + 16 * 1024)).map(at).collect()
}

/// The byte at `position`; 251 is prime, so a shift by a buffer's length shows.
fn at(position: u64) -> u8 {
    (position % 251) as u8
}

//! The clients of a soak that carry opaque bytes.
//!
//! What is sent comes back, all of it, after the client has ended its direction; some ask the server for a reset instead, and must not
//! take it for a proper end.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::{Stop, client::Dice, server::bytes_of, tally::Tally};

/// First byte of a connection that the server is to reset.
pub(super) const RESET: u8 = 0;
const LIMIT: Duration = Duration::from_secs(60);
const MOST_BYTES: u64 = 300_000;

/// Carries bytes until the soak is over.
pub(super) fn carry(address: SocketAddr, tally: &Tally, stop: &Stop, seed: u64) {
    let mut dice = Dice(seed);
    while !stop.is_asked_for() {
        let outcome = if dice.below(5) == 0 {
            be_reset(address).map(|()| tally.broken())
        } else {
            let n = usize::try_from(dice.below(MOST_BYTES)).unwrap_or_default() + 1;
            there_and_back(address, &mut dice, n).map(|()| tally.carried())
        };
        if let Err(error) = outcome {
            tally.wrong(format!("opaque connection: {error:#}"));
        }
        stop.pause(Duration::from_millis(dice.below(20)));
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn there_and_back(address: SocketAddr, dice: &mut Dice, n: usize) -> anyhow::Result<()> {
    let mut stream = connect(address).context("no connection")?;
    let mut bytes = bytes_of(dice.below(u64::MAX), n);
    // Not the byte that asks for a reset.
    bytes[0] = 1;
    let mut writer = stream.try_clone()?;
    let mut back = Vec::new();
    let (written, read) = thread::scope(|scope| {
        let written = scope.spawn(|| {
            writer.write_all(&bytes)?;
            writer.shutdown(Shutdown::Write)
        });
        let read = stream.read_to_end(&mut back);
        (written.join(), read)
    });
    ensure!(matches!(written, Ok(Ok(()))), "not everything was taken");
    read.context("not everything came back")?;
    ensure!(
        back == bytes,
        "{} of {n} bytes came back, or others",
        back.len()
    );
    Ok(())
}

fn be_reset(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = connect(address).context("no connection")?;
    stream.write_all(&[RESET; 100])?;
    let mut back = Vec::new();
    // A reset, or where it has overtaken everything the end; but nothing that anybody has said.
    let _ = stream.read_to_end(&mut back);
    ensure!(back.is_empty(), "bytes came from nowhere");
    Ok(())
}

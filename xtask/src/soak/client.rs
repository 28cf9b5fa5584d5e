//! The clients of a soak that ask for something.
//!
//! [`ask`] keeps connections as browsers and libraries do, pauses in between, pipelines now and then, and checks every byte of every answer.
//! [`misbehave`] is everybody else: clients that say half of something, read slowly, or are gone before their answer comes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use super::{
    Stop,
    server::{Kind, bytes_of, reset},
    tally::Tally,
};

/// Where the servers of a pair are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Servers {
    /// Keeps its connections, so what is to be done once can be asked for here.
    pub(super) steady: SocketAddr,
    /// Ends or resets connections as it is told.
    pub(super) fickle: SocketAddr,
    pub(super) opaque: SocketAddr,
}

/// A request that was sent and is to be answered.
#[derive(Clone, Copy, Debug)]
struct Sent {
    is_post: bool,
    kind: Kind,
    id: u64,
    n: usize,
}

/// A client's connection.
struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

/// What a connection came to.
enum Answer {
    /// Whole and right; the connection may go on or not.
    Whole { persistent: bool },
    /// The sidecar's own word for a failure.
    Refused(String),
}

/// Longer than anything takes here, on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(60);
const MOST_BYTES: u64 = 64 * 1024;

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// Asks one request after the other until the soak is over. `seed` makes clients differ.
pub(super) fn ask(servers: Servers, tally: &Tally, stop: &Stop, seed: u64) {
    let mut dice = Dice(seed);
    while !stop.is_asked_for() {
        let is_steady = dice.below(3) > 0;
        let address = if is_steady {
            servers.steady
        } else {
            servers.fickle
        };
        if let Err(error) = visit(address, is_steady, tally, stop, &mut dice) {
            tally.wrong(format!("{error:#}"));
        }
    }
}

/// One connection.
fn visit(
    address: SocketAddr,
    is_steady: bool,
    tally: &Tally,
    stop: &Stop,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let mut client = Client::connect(address).context("no connection")?;
    for _ in 0..=dice.below(40) {
        if stop.is_asked_for() {
            return Ok(());
        }
        // A reset takes whatever is behind it along.
        let n_at_once = if dice.below(8) == 0 { 3 } else { 1 };
        let sent: Vec<Sent> = (0..n_at_once)
            .map(|_| Sent::any(is_steady, n_at_once == 1, dice))
            .collect();
        let bytes: Vec<u8> = sent.iter().flat_map(Sent::bytes).collect();
        let written = client.writer.write_all(&bytes);
        for sent in sent {
            let answer = client.answer(sent);
            if sent.kind == Kind::Reset {
                return sent.judge_broken(&answer, tally);
            }
            let what = || format!("request {} for {:?} to {address}", sent.id, sent.kind);
            match answer.with_context(what)? {
                Answer::Whole { persistent: true } => {}
                Answer::Whole { .. } => bail!("{}: the connection was closed", what()),
                Answer::Refused(reason) => bail!("{}: refused, {reason}", what()),
            }
            if sent.is_post {
                tally.crossed_out(sent.id);
            }
            tally.answered();
        }
        written?;
        let pause = match dice.below(60) {
            // Longer than a sidecar keeps ready for the next request.
            0 => 1500 + dice.below(1500),
            1..=20 => dice.below(30),
            _ => continue,
        };
        stop.pause(Duration::from_millis(pause));
    }
    Ok(())
}

/// Does what peers do that have broken, or worse.
pub(super) fn misbehave(servers: Servers, tally: &Tally, stop: &Stop, seed: u64) {
    let mut dice = Dice(seed);
    while !stop.is_asked_for() {
        // What becomes of such a connection is nobody's concern.
        let _ = offend(servers, stop, &mut dice);
        tally.odd();
    }
}

fn offend(servers: Servers, stop: &Stop, dice: &mut Dice) -> io::Result<()> {
    let address = [servers.steady, servers.fickle, servers.opaque];
    let address = address[usize::try_from(dice.below(3)).unwrap_or_default()];
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let get = |n: u64| format!("GET /plain/{}/{n} HTTP/1.1\r\nhost: s\r\n\r\n", next_id());
    match dice.below(6) {
        // Says nothing for a while.
        0 => {
            stop.pause(Duration::from_millis(dice.below(2000)));
        }
        // Half of a head.
        1 => {
            stream.write_all(get(10).get(..20).unwrap_or_default().as_bytes())?;
            stop.pause(Duration::from_millis(dice.below(1000)));
        }
        // Half of a body that is announced.
        2 => {
            stream
                .write_all(b"PUT /none HTTP/1.1\r\nhost: s\r\ncontent-length: 100\r\n\r\nhalf")?;
            stop.pause(Duration::from_millis(dice.below(500)));
        }
        // No request at all.
        3 => stream.write_all(b"\x00\x01 nonsense HTTP/9\r\n\r\n")?,
        // Gone before the answer.
        4 => stream.write_all(get(MOST_BYTES).as_bytes())?,
        // Reads slowly.
        _ => {
            stream.write_all(get(4 * 1024 * 1024).as_bytes())?;
            let mut some = vec![0; 4096];
            for _ in 0..dice.below(40) {
                if stream.read(&mut some)? == 0 || !stop.pause(Duration::from_millis(20)) {
                    break;
                }
            }
        }
    }
    if dice.below(2) == 0 {
        reset(&stream)?;
    }
    Ok(())
}

fn next_id() -> u64 {
    LAST_ID.fetch_add(1, Ordering::Relaxed)
}

// === impl Sent ===

impl Sent {
    /// A request that the server of that kind is good for.
    fn any(is_steady: bool, is_alone: bool, dice: &mut Dice) -> Self {
        let kind = match dice.below(10) {
            0 if is_steady => Kind::Slow,
            0 | 1 if !is_steady && is_alone => Kind::Reset,
            2..=4 if !is_steady && is_alone => Kind::Closing,
            _ => Kind::Plain,
        };
        // Who sends several at once does not read meanwhile.
        let most = if is_alone && dice.below(10) == 0 {
            MOST_BYTES
        } else {
            3000
        };
        Self {
            is_post: is_steady && dice.below(3) == 0,
            kind,
            id: next_id(),
            n: usize::try_from(dice.below(most)).unwrap_or_default(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let method = if self.is_post { "POST" } else { "GET" };
        let (kind, id, n) = (self.kind.as_str(), self.id, self.n);
        let mut bytes = format!("{method} /{kind}/{id}/{n} HTTP/1.1\r\nhost: s\r\n").into_bytes();
        if self.is_post {
            bytes.extend(format!("content-length: {n}\r\n\r\n").bytes());
            bytes.extend(bytes_of(id, n));
        } else {
            bytes.extend(b"\r\n");
        }
        bytes
    }

    /// An answer that was broken off is cut, or the sidecar says so; it never looks whole.
    fn judge_broken(self, answer: &anyhow::Result<Answer>, tally: &Tally) -> anyhow::Result<()> {
        match answer {
            Ok(Answer::Whole { .. }) => {
                bail!("request {} was broken off and looks whole", self.id)
            }
            Ok(Answer::Refused(_)) | Err(_) => {
                tally.broken();
                Ok(())
            }
        }
    }
}

// === impl Client ===

impl Client {
    fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let writer = TcpStream::connect_timeout(&address, LIMIT)?;
        writer.set_read_timeout(Some(LIMIT))?;
        writer.set_write_timeout(Some(LIMIT))?;
        writer.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(writer.try_clone()?),
            writer,
        })
    }

    /// Reads the answer to a request and checks every byte of it.
    fn answer(&mut self, sent: Sent) -> anyhow::Result<Answer> {
        let status = self.line()?;
        let (mut length, mut is_chunked, mut persistent) = (None, false, true);
        let (mut reason, mut id) = (None, None);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                ensure!(line.is_empty(), "a field without a value: {line:?}");
                break;
            };
            match name {
                "content-length" => length = Some(value.parse::<usize>()?),
                "transfer-encoding" => is_chunked = value == "chunked",
                "connection" => persistent = value != "close",
                "x-mesh-error" => reason = Some(value.to_owned()),
                "x-id" => id = Some(value.parse::<u64>()?),
                _ => {}
            }
        }
        let body = match length {
            Some(length) => self.exactly(length)?,
            None => {
                ensure!(is_chunked, "an answer without a length: {status:?}");
                self.chunks()?
            }
        };
        if let Some(reason) = reason {
            return Ok(Answer::Refused(reason));
        }
        ensure!(status.starts_with("HTTP/1.1 200 "), "status {status:?}");
        ensure!(id == Some(sent.id), "the answer is that to request {id:?}");
        ensure!(
            body == bytes_of(sent.id, sent.n),
            "the answer has another body"
        );
        Ok(Answer::Whole { persistent })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n");
        Ok(line.context("the connection ended in a head")?.to_owned())
    }

    fn exactly(&mut self, n: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.reader
            .read_exact(&mut bytes)
            .context("the connection ended in a body")?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16)?;
            ensure!(body.len() + size <= 8 * 1024 * 1024, "a chunk without end");
            body.extend(self.exactly(size)?);
            ensure!(self.line()?.is_empty(), "a chunk that goes on");
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// What makes clients different from each other, and a run like the one before.
pub(super) struct Dice(pub(super) u64);

// === impl Dice ===

impl Dice {
    /// A number below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % n.max(1)
    }
}

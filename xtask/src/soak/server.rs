//! The servers of a soak: one for requests, one for opaque bytes.
//!
//! A request's path says what becomes of it: `/KIND/ID/N`. The bytes of a body follow from the ID, so whoever reads them knows whether they
//! are whole and whose they are. Each connection has a thread, and ends when its peer does or the soak is over.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    thread::{self, Scope},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::Linger};

use super::{Stop, tally::Tally};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answered, and the connection goes on.
    Plain,
    /// Answered, and the connection ends without a word.
    Closing,
    /// Answered after a while, and in pieces.
    Slow,
    /// Reset after so many bytes of the answer.
    Reset,
}

/// A request, as far as the server is concerned.
struct Asked {
    is_post: bool,
    kind: Kind,
    id: u64,
    n: usize,
    body: Vec<u8>,
}

/// How often those who wait look whether the soak is over.
const LOOK: Duration = Duration::from_millis(200);

/// Serves on `port` of this network namespace until the soak is over.
pub(super) fn serve<'s>(
    scope: &'s Scope<'s, '_>,
    port: u16,
    stop: &'s Stop,
    answer: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 's,
) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    listener.set_nonblocking(true)?;
    scope.spawn(move || {
        while !stop.is_asked_for() {
            match listener.accept() {
                Ok((stream, _)) => {
                    // Whatever ends a connection is its client's to judge.
                    scope.spawn(move || {
                        drop(stream.set_nonblocking(false).and_then(|()| answer(stream)))
                    });
                }
                Err(_) => thread::park_timeout(Duration::from_millis(2)),
            }
        }
    });
    Ok(())
}

/// Answers every request of a connection.
pub(super) fn requests(stream: TcpStream, tally: &Tally, stop: &Stop) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        while reader.fill_buf().is_err_and(|error| is_a_wait(&error)) {
            if stop.is_asked_for() {
                return Ok(());
            }
        }
        let Some(asked) = read_request(&mut reader)? else {
            return Ok(());
        };
        if asked.is_post && asked.kind != Kind::Reset {
            if asked.body != bytes_of(asked.id, asked.n) {
                tally.wrong(format!("request {} came with another body", asked.id));
            }
            tally.done(asked.id);
        }
        let answer = answer_to(&asked);
        match asked.kind {
            Kind::Plain => writer.write_all(&answer)?,
            // Who sends another request right now finds nobody who reads it.
            Kind::Closing => return writer.write_all(&answer),
            Kind::Slow => {
                for piece in answer.chunks(answer.len() / 4 + 1) {
                    stop.pause(Duration::from_millis(40));
                    writer.write_all(piece)?;
                }
            }
            Kind::Reset => {
                let sent = asked.n.min(answer.len().saturating_sub(1));
                writer.write_all(answer.get(..sent).unwrap_or_default())?;
                return reset(&writer);
            }
        }
    }
}

/// Gives back what comes, until the client ends its direction. The first byte may ask for a reset instead.
pub(super) fn opaque(mut stream: TcpStream, stop: &Stop) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    let mut buffer = vec![0; 32 * 1024];
    let mut is_first = true;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return stream.shutdown(Shutdown::Both),
            Ok(_) if is_first && buffer.first() == Some(&super::tcp::RESET) => {
                return reset(&stream);
            }
            Ok(n) => stream.write_all(buffer.get(..n).unwrap_or_default())?,
            Err(error) if is_a_wait(&error) && !stop.is_asked_for() => continue,
            Err(error) => return Err(error),
        }
        is_first = false;
    }
}

/// Makes the close that follows a reset.
pub(super) fn reset(stream: &TcpStream) -> io::Result<()> {
    let now = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    Ok(setsockopt(&stream.as_fd(), Linger, &now)?)
}

/// The body that belongs to an ID.
pub(super) fn bytes_of(id: u64, n: usize) -> Vec<u8> {
    let mut word = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        // xorshift64: no byte tells the next one to whoever mixes connections up.
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(n);
    bytes
}

/// Every other answer is chunked.
fn answer_to(asked: &Asked) -> Vec<u8> {
    let body = bytes_of(asked.id, asked.n);
    let mut answer = format!("HTTP/1.1 200 OK\r\nx-id: {}\r\n", asked.id).into_bytes();
    if asked.id.is_multiple_of(2) {
        answer.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
        answer.extend(body);
        return answer;
    }
    answer.extend(b"transfer-encoding: chunked\r\n\r\n");
    for chunk in body.chunks(1000) {
        answer.extend(format!("{:x}\r\n", chunk.len()).bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if read_line(reader, &mut line)? == 0 {
        return Ok(None);
    }
    let mut asked = parse(&line).ok_or(io::ErrorKind::InvalidData)?;
    let mut length = 0;
    loop {
        line.clear();
        read_line(reader, &mut line)?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    asked.body = vec![0; length];
    let mut read = 0;
    while let Some(rest) = asked.body.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => read += n,
            Err(error) if is_a_wait(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(asked))
}

/// As `read_line`, which keeps what it has read where it has to wait.
fn read_line(reader: &mut impl BufRead, line: &mut String) -> io::Result<usize> {
    loop {
        match reader.read_line(line) {
            Err(error) if is_a_wait(&error) => {}
            other => return other,
        }
    }
}

fn parse(line: &str) -> Option<Asked> {
    let mut words = line.split(' ');
    let is_post = words.next()? == "POST";
    let mut parts = words.next()?.split('/').skip(1);
    let kind = match parts.next()? {
        "plain" => Kind::Plain,
        "closing" => Kind::Closing,
        "slow" => Kind::Slow,
        "reset" => Kind::Reset,
        _ => return None,
    };
    Some(Asked {
        is_post,
        kind,
        id: parts.next()?.parse().ok()?,
        n: parts.next()?.parse().ok()?,
        body: Vec::new(),
    })
}

pub(super) fn is_a_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

// === impl Kind ===

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Closing => "closing",
            Self::Slow => "slow",
            Self::Reset => "reset",
        }
    }
}

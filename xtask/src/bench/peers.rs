//! Applications of the bench: a server and a client for what nginx and wrk do not do.
//!
//! Started by the bench inside pods as hidden commands of this program. The server gives and takes any number of bytes and holds
//! requests until enough have come; the client moves bytes one way, or opens many connections and keeps them idle.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Arguments of the server.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Port to listen on, all addresses.
    #[arg(long)]
    port: u16,
}

/// Arguments of the client.
#[derive(clap::Args)]
pub(crate) struct CallArgs {
    /// Address of the server.
    #[arg(long)]
    ip: IpAddr,
    /// Port of the server.
    #[arg(long)]
    port: u16,
    #[command(subcommand)]
    what: Call,
}

#[derive(clap::Subcommand)]
enum Call {
    /// Fetch bytes; prints how many seconds it took.
    Pull { bytes: u64 },
    /// Send bytes; prints how many seconds it took.
    Push { bytes: u64 },
    /// Make a request on each of so many connections, all at once, say `held`, and keep them until standard input ends.
    Hold { count: usize },
}

/// Requests that wait for each other.
#[derive(Default)]
struct Barrier {
    waiting: Mutex<(usize, u64)>,
    opened: Condvar,
}

/// Enough that system calls are no part of what is measured.
const CHUNK: usize = 256 * 1024;
/// Longest that anything here waits for another.
const LIMIT: Duration = Duration::from_secs(30);

/// Serves until it is killed.
pub(crate) fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    raise_limit()?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, args.port))
        .with_context(|| format!("cannot listen on port {}", args.port))?;
    let barrier = Barrier::default();
    thread::scope(|scope| {
        loop {
            let (stream, _) = listener.accept().context("the listener failed")?;
            // A client that goes away in the middle is its own affair.
            scope.spawn(|| drop(answer(stream, &barrier)));
        }
    })
}

/// Does what the arguments say, once.
pub(crate) fn call(args: &CallArgs) -> anyhow::Result<()> {
    let address = SocketAddr::new(args.ip, args.port);
    match args.what {
        Call::Pull { bytes } => println!("{}", pull(address, bytes)?.as_secs_f64()),
        Call::Push { bytes } => println!("{}", push(address, bytes)?.as_secs_f64()),
        Call::Hold { count } => hold(address, count)?,
    }
    Ok(())
}

/// Lets this process and its children have as many descriptors as the machine allows.
pub(super) fn raise_limit() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the number of open files")
}

fn pull(address: SocketAddr, bytes: u64) -> anyhow::Result<Duration> {
    let mut stream = connect(address)?;
    let start = Instant::now();
    write!(stream, "GET /bytes/{bytes} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(CHUNK, stream);
    let length = read_head(&mut reader)?
        .context("the server gave no answer")?
        .length;
    ensure!(
        length == bytes,
        "the server gives {length} bytes instead of {bytes}"
    );
    discard(&mut reader, bytes)?;
    Ok(start.elapsed())
}

fn push(address: SocketAddr, bytes: u64) -> anyhow::Result<Duration> {
    let mut stream = connect(address)?;
    let start = Instant::now();
    write!(
        stream,
        "PUT / HTTP/1.1\r\nHost: bench\r\nContent-Length: {bytes}\r\n\r\n"
    )?;
    send(&mut stream, bytes)?;
    let head = read_head(&mut BufReader::new(stream))?.context("the server gave no answer")?;
    ensure!(
        head.first.contains(" 204 "),
        "the server answered {}",
        head.first
    );
    Ok(start.elapsed())
}

fn hold(address: SocketAddr, count: usize) -> anyhow::Result<()> {
    raise_limit()?;
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address)?;
        write!(stream, "GET /wait/{count} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        streams.push(stream);
    }
    for stream in &streams {
        let head = read_head(&mut BufReader::new(stream))?.context("a connection was closed")?;
        ensure!(
            head.first.contains(" 204 "),
            "the server answered {}",
            head.first
        );
    }
    println!("held");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn answer(stream: TcpStream, barrier: &Barrier) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(CHUNK, stream);
    while let Some(head) = read_head(&mut reader)? {
        let path = head.first.split(' ').nth(1).unwrap_or_default();
        discard(&mut reader, head.length)?;
        if let Some(bytes) = path.strip_prefix("/bytes/") {
            let bytes = bytes.parse()?;
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
            send(&mut writer, bytes)?;
            continue;
        }
        if let Some(count) = path.strip_prefix("/wait/") {
            barrier.wait_for(count.parse()?)?;
        }
        writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
    Ok(())
}

/// The first line of a message, and how long its body is.
struct Head {
    first: String,
    length: u64,
}

/// `None` where the connection ends between two messages.
fn read_head(reader: &mut impl BufRead) -> anyhow::Result<Option<Head>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(
            reader.read_line(&mut line)? > 0,
            "the connection ended in a head"
        );
        if line.trim().is_empty() {
            return Ok(Some(Head { first, length }));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
}

fn send(stream: &mut TcpStream, mut bytes: u64) -> anyhow::Result<()> {
    let chunk = vec![b'x'; CHUNK];
    while bytes > 0 {
        let len = usize::try_from(bytes).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(chunk.get(..len).unwrap_or_default())?;
        bytes -= len as u64;
    }
    Ok(())
}

fn discard(reader: &mut impl BufRead, mut bytes: u64) -> anyhow::Result<()> {
    while bytes > 0 {
        let len = reader.fill_buf()?.len();
        if len == 0 {
            bail!("the connection ended {bytes} bytes early");
        }
        let len = usize::try_from(bytes).unwrap_or(len).min(len);
        reader.consume(len);
        bytes -= len as u64;
    }
    Ok(())
}

// === impl Barrier ===

impl Barrier {
    /// Returns once `count` requests have come here.
    fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let panicked = "another request panicked";
        let Ok(mut waiting) = self.waiting.lock() else {
            bail!(panicked);
        };
        waiting.0 += 1;
        let round = waiting.1;
        if waiting.0 >= count {
            *waiting = (0, round + 1);
            self.opened.notify_all();
            return Ok(());
        }
        let Ok((_waiting, outcome)) = self
            .opened
            .wait_timeout_while(waiting, LIMIT, |waiting| waiting.1 == round)
        else {
            bail!(panicked);
        };
        ensure!(!outcome.timed_out(), "only some of {count} requests came");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_move_both_ways_and_requests_wait_for_each_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let barrier = Barrier::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for stream in listener.incoming().take(4) {
                    let stream = stream.unwrap();
                    scope.spawn(|| drop(answer(stream, &barrier)));
                }
            });
            pull(address, 1_000_001).unwrap();
            push(address, 1_000_001).unwrap();
            let mut waiting: Vec<TcpStream> = (0..2)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            for stream in &mut waiting {
                stream.write_all(b"GET /wait/2 HTTP/1.1\r\n\r\n").unwrap();
            }
            for stream in waiting {
                let head = read_head(&mut BufReader::new(stream)).unwrap().unwrap();
                assert_eq!(head.first, "HTTP/1.1 204 No Content\r\n");
            }
        });
    }
}

//! Bulk bytes from one socket to another without passing through the proxy's memory.
//!
//! HTTP bodies and opaque connections try a [`Shortcut`] before they read; it takes effect once there is enough to move and both sides
//! are plaintext. Its pipe is lent by the worker's [`Pipes`] and given back while there is nothing to move. The kernel hands pages on by reference (splice(2)), so a byte is
//! copied twice less, and what is inside a pipe is bounded by the pipe.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll, ready},
};

use nix::{
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use tokio::{io::Interest, net::TcpStream};

use super::Stream;

/// Free pipes of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: RefCell<Vec<Pipe>>,
    /// Fewest free ones since the last trim: so many nobody needed.
    unused: Cell<usize>,
}

/// The way of one direction's bytes past the proxy's memory; holds a pipe only while there is something to move.
#[derive(Debug, Default)]
pub(crate) struct Shortcut {
    pipe: Option<Pipe>,
}

/// What a [`Shortcut`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes have left the sender's socket. They count as passed on, and will be, unless the receiver breaks.
    Taken(usize),
    /// So many of those have reached the receiver's socket.
    Given(usize),
    /// The sender has ended; everything before was given.
    SenderEnded,
    /// The sender's socket failed.
    SenderBroken,
    /// The receiver's socket failed.
    ReceiverBroken,
}

/// A pipe with the bytes that one side has given and the other not yet taken.
#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

/// Fewest bytes for which turning to a pipe pays: below it, the calls cost what the copies would.
const WORTHWHILE: u64 = 64 * 1024;
/// Free pipes that are kept: each is two descriptors, and bulk flows are few.
const MAX_FREE: usize = 8;
/// What a pipe may hold: as much as any user may ask for by default (`fs.pipe-max-size`), so that a call moves what a socket has.
const CAPACITY: i32 = 1024 * 1024;

// === impl Pipes ===

impl Pipes {
    /// An empty pipe.
    ///
    /// # Errors
    /// When no more descriptors may be opened; bytes can be copied instead.
    fn take(&self) -> io::Result<Pipe> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop();
        self.unused.set(self.unused.get().min(free.len()));
        match taken {
            Some(pipe) => Ok(pipe),
            None => Pipe::new(),
        }
    }

    /// Closes what nobody needed since the last call; called about once a second.
    pub(super) fn trim(&self) {
        let mut free = self.free.borrow_mut();
        let keep = free.len().saturating_sub(self.unused.get());
        free.truncate(keep);
        self.unused.set(free.len());
    }

    /// Takes a pipe back; one that still holds bytes is closed.
    fn give(&self, pipe: Pipe) {
        let mut free = self.free.borrow_mut();
        if pipe.is_empty() && free.len() < MAX_FREE {
            free.push(pipe);
        }
    }
}

// === impl Shortcut ===

impl Shortcut {
    /// Moves bytes, or says `None` where they have to be read; then nothing is on its way.
    ///
    /// `ahead` is how many bytes may pass without a look, `is_bulk` whether as many have come lately as a buffer holds.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        (from, to): (&Stream, &Stream),
        ahead: u64,
        is_bulk: bool,
    ) -> Option<Poll<Moved>> {
        let (Some(from), Some(to)) = (from.plain(), to.plain()) else {
            return None;
        };
        if self.is_empty() && !self.is_worthwhile(ahead, is_bulk) {
            self.give_back(pipes);
            return None;
        }
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            // Out of descriptors: copying needs none.
            none => none.insert(pipes.take().ok()?),
        };
        if !pipe.is_empty() {
            return Some(pipe.poll_drain(cx, to).map(|moved| match moved {
                Ok(n) if n > 0 => Moved::Given(n),
                Ok(_) | Err(_) => Moved::ReceiverBroken,
            }));
        }
        let filled = pipe.poll_fill(cx, from, ahead);
        if filled.is_pending() {
            self.give_back(pipes);
        }
        Some(filled.map(|moved| match moved {
            Ok(0) => Moved::SenderEnded,
            Ok(n) => Moved::Taken(n),
            Err(_) => Moved::SenderBroken,
        }))
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Gives the pipe up, and what may be in it.
    pub(crate) fn give_back(&mut self, pipes: &Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.give(pipe);
        }
    }

    fn is_worthwhile(&self, ahead: u64, is_bulk: bool) -> bool {
        let goes_on = self.pipe.is_some() && ahead > 0;
        goes_on || (is_bulk && ahead >= WORTHWHILE)
    }
}

// === impl Pipe ===

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Refused where the user has too many pipes; a small one works as well.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self {
            reader,
            writer,
            held: 0,
        })
    }

    /// Whether everything that was put in has come out.
    fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves up to `limit` bytes of `from` into the pipe, which must be empty; 0 is the end of the stream.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(CAPACITY as usize);
        loop {
            ready!(from.poll_read_ready(cx))?;
            let moved = from.try_io(Interest::READABLE, || transfer(from, &self.writer, limit));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) => {
                    self.held += n;
                    return Poll::Ready(Ok(n));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves bytes out of the pipe to `to`.
    fn poll_drain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            let moved = to.try_io(Interest::WRITABLE, || transfer(&self.reader, to, self.held));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) => {
                    self.held = self.held.saturating_sub(n);
                    return Poll::Ready(Ok(n));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn transfer(from: impl AsFd, to: impl AsFd, limit: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        match splice(&from, None, &to, None, limit, flags) {
            Err(nix::Error::EINTR) => {}
            moved => return Ok(moved?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, net::TcpListener, thread};

    use tokio::io::AsyncReadExt;

    use super::*;

    /// A socket of ours and the peer's end of it.
    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = TcpStream::connect(address).await.unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn bytes_come_out_as_they_went_in_up_to_the_limit_and_the_end() {
        const LEN: usize = 3_000_000;
        let (from, mut sender) = pair().await;
        let (to, receiver) = pair().await;
        let sent: Vec<u8> = (0..LEN).map(|i| (i * 7 % 251) as u8).collect();
        let expected = sent.clone();
        let sending = thread::spawn(move || sender.write_all(&sent));
        receiver.set_nonblocking(true).unwrap();
        let mut receiver = TcpStream::from_std(receiver).unwrap();
        let pipes = Pipes::default();
        let mut received = Vec::new();
        let moving = async {
            let mut pipe = pipes.take().unwrap();
            let mut left = LEN as u64 - 1;
            while left > 0 {
                left -= poll_fn(|cx| pipe.poll_fill(cx, &from, left)).await.unwrap() as u64;
                while !pipe.is_empty() {
                    poll_fn(|cx| pipe.poll_drain(cx, &to)).await.unwrap();
                }
            }
            assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 9)).await.unwrap(), 1);
            assert_eq!(poll_fn(|cx| pipe.poll_drain(cx, &to)).await.unwrap(), 1);
            assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 9)).await.unwrap(), 0);
            drop(to);
        };
        let (_, outcome) = tokio::join!(moving, receiver.read_to_end(&mut received));
        outcome.unwrap();
        sending.join().unwrap().unwrap();
        assert!(received == expected);
    }

    #[test]
    fn pipes_that_nobody_needs_any_more_are_closed() {
        let pipes = Pipes::default();
        let burst: Vec<_> = (0..4).map(|_| pipes.take().unwrap()).collect();
        burst.into_iter().for_each(|pipe| pipes.give(pipe));
        pipes.trim();
        assert_eq!(pipes.free.borrow().len(), 4, "they were all in use");
        pipes.give(pipes.take().unwrap());
        pipes.trim();
        assert_eq!(pipes.free.borrow().len(), 1);
        pipes.trim();
        assert_eq!(pipes.free.borrow().len(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_pipe_with_bytes_of_one_connection_is_never_lent_to_another() {
        let (from, mut sender) = pair().await;
        sender.write_all(b"secret").unwrap();
        let pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        poll_fn(|cx| pipe.poll_fill(cx, &from, 6)).await.unwrap();
        pipes.give(pipe);
        assert!(pipes.take().unwrap().is_empty());
    }
}

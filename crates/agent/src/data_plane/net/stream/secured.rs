//! Reading and writing through TLS.
//!
//! [`Stream`](super::Stream) comes here once a handshake has succeeded. One call of the kernel for what is read and one for what is
//! written, as without TLS: records pass through memory of the worker, and a connection holds bytes of its own only while a record
//! is incomplete or the peer does not take what it is sent. An idle one holds none.

use std::{
    fmt::{self, Formatter},
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::BufMut;
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::records::{MAX_WRITE, with_received, with_to_send, worth_reading};
use crate::tls::{
    PeerIdentity,
    session::{HEADER, OVERHEAD, Session, Step, is_whole, record_len},
};

/// TLS on a connection whose handshake is over.
pub(super) struct Secured {
    session: Session,
    peer: Arc<PeerIdentity>,
    /// Records, or a part of one, that were read and not decrypted.
    received: Vec<u8>,
    /// Whether a whole record is among them.
    has_record: bool,
    /// Plaintext that the buffer at hand had no room for.
    surplus: Vec<u8>,
    /// The peer has said, or shown, that nothing more will come.
    end: Option<End>,
    outgoing: Outgoing,
}

/// Records that the kernel has not taken yet.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// How many bytes of plaintext the writer is told once everything is sent.
    stands_for: usize,
    has_said_goodbye: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By its own word.
    Proper,
    /// Bytes that are not the peer's, or against the rules.
    Broken,
}

// === impl Secured ===

impl Secured {
    /// Goes on after a handshake. `received` may hold records behind it, `early` what was in one of them.
    pub(super) fn new(
        session: Session,
        peer: Arc<PeerIdentity>,
        received: Vec<u8>,
        early: Vec<u8>,
        is_over: bool,
    ) -> Self {
        Self {
            session,
            peer,
            received: without_spare(received),
            has_record: false,
            surplus: early,
            end: is_over.then_some(End::Proper),
            outgoing: Outgoing::default(),
        }
    }

    pub(super) fn peer(&self) -> &Arc<PeerIdentity> {
        &self.peer
    }

    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn()
    }

    /// Whether a read gives something without the kernel's help.
    pub(super) fn has_more(&self) -> bool {
        self.has_record || !self.surplus.is_empty() || self.end.is_some()
    }

    /// As [`Stream::poll_read`](super::Stream::poll_read), into a buffer that has room.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        tcp: &mut TcpStream,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.len();
        loop {
            if !self.surplus.is_empty() {
                return Poll::Ready(Ok(self.move_surplus(buffer)));
            }
            match self.end {
                Some(End::Proper) => return Poll::Ready(Ok(0)),
                Some(End::Broken) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                None => {}
            }
            if !self.has_record {
                // Waits before the worker's memory is filled with what is there already.
                ready!(tcp.poll_read_ready(cx))?;
            }
            ready!(with_received(
                |scratch| self.read_through(cx, scratch, tcp, buffer)
            ))?;
            // It may have been a part of a record, or none with data.
            if buffer.len() > before {
                return Poll::Ready(Ok(buffer.len() - before));
            }
        }
    }

    /// Reads what the kernel has, unless a whole record is at hand, and decrypts what fits into `buffer`. A read that does not fill its
    /// buffer is known to have emptied the socket, so that the next one costs no call.
    fn read_through(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Vec<u8>,
        tcp: &mut TcpStream,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.capacity() - buffer.len();
        if !self.has_record {
            let most = worth_reading(room).max(self.received.len() + OVERHEAD);
            scratch.reserve(most);
            scratch.extend_from_slice(&self.received);
            let mut room = scratch.limit(most - self.received.len());
            let n = ready!(pin!(tcp.read_buf(&mut room)).poll(cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        } else {
            scratch.extend_from_slice(&self.received);
        }
        let used = self.decrypt(scratch, tcp, buffer);
        let rest = scratch.get(used..).unwrap_or_default();
        self.received.clear();
        if rest.is_empty() {
            // An idle connection holds nothing.
            self.received = Vec::new();
        } else {
            self.received.extend_from_slice(rest);
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts records into `buffer` until they are used up or it is full; gives how many bytes of them are used up.
    fn decrypt(&mut self, records: &mut [u8], tcp: &TcpStream, buffer: &mut Vec<u8>) -> usize {
        let (before, mut used) = (buffer.len(), 0);
        let mut reply = Vec::new();
        self.has_record = false;
        while self.end.is_none() {
            let rest = records.get_mut(used..).unwrap_or_default();
            let room = buffer.capacity() - buffer.len();
            if buffer.len() > before && !fits(rest, room) {
                self.has_record = is_whole(rest);
                break;
            }
            let surplus = &mut self.surplus;
            let mut take = |bytes: &[u8]| {
                let (now, later) = bytes.split_at(bytes.len().min(room));
                buffer.extend_from_slice(now);
                surplus.extend_from_slice(later);
            };
            let (n, step) = self.session.step(rest, &mut reply, &mut take);
            used += n;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => self.end = Some(End::Proper),
                Ok(Step::Established | Step::Handshaking) => {
                    let rest = records.get(used..).unwrap_or_default();
                    self.end = is_whole(rest).then_some(End::Broken);
                    break;
                }
                Err(_) => {
                    self.session.last_words(&mut reply);
                    self.end = Some(End::Broken);
                }
            }
        }
        self.outgoing.send_along(tcp, &reply);
        used
    }

    fn move_surplus(&mut self, buffer: &mut Vec<u8>) -> usize {
        let n = self.surplus.len().min(buffer.capacity() - buffer.len());
        buffer.extend(self.surplus.drain(..n));
        if self.surplus.is_empty() {
            self.surplus = Vec::new();
        }
        n
    }

    /// As [`Stream::poll_write`](super::Stream::poll_write).
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        tcp: &TcpStream,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let n = ready!(self.outgoing.poll_owed(cx, tcp))?;
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
            let bytes = bytes.get(..MAX_WRITE).unwrap_or(bytes);
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            // Nothing is encrypted that cannot be sent.
            ready!(tcp.poll_write_ready(cx))?;
            if self.end == Some(End::Broken) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let sent = with_to_send(|room| {
                let len = self
                    .session
                    .encrypt(bytes, room)
                    .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                let records = room.get(..len).unwrap_or_default();
                self.outgoing.send(tcp, records, bytes.len())
            });
            if sent? {
                return Poll::Ready(Ok(bytes.len()));
            }
        }
    }

    /// Says that nothing more will follow, after what is on its way.
    pub(super) fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        tcp: &TcpStream,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.outgoing.is_pending() {
                ready!(self.outgoing.poll_send(cx, tcp))?;
            }
            if self.outgoing.has_said_goodbye {
                return Poll::Ready(Ok(()));
            }
            self.say_goodbye(tcp)?;
        }
    }

    /// The same without waiting.
    pub(super) fn close(&mut self, tcp: &TcpStream) {
        if !self.outgoing.is_pending() && !self.outgoing.has_said_goodbye {
            // The peer may be gone already.
            let _ = self.say_goodbye(tcp);
        }
    }

    fn say_goodbye(&mut self, tcp: &TcpStream) -> io::Result<()> {
        self.outgoing.has_said_goodbye = true;
        // A broken session has nothing to say any more.
        if self.end == Some(End::Broken) {
            return Ok(());
        }
        with_to_send(|room| match self.session.close(room) {
            Ok(len) => {
                let records = room.get(..len).unwrap_or_default();
                self.outgoing.send(tcp, records, 0).map(|_| ())
            }
            Err(_) => Ok(()),
        })
    }

    /// As [`Stream::is_stale`](super::Stream::is_stale). Messages of TLS itself, such as tickets, do not make it so.
    pub(super) fn is_stale(&mut self, tcp: &mut TcpStream) -> bool {
        // Nobody waits on an idle connection; whoever uses it next asks to be woken anew.
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            if self.has_more() {
                return true;
            }
            let mut byte = Vec::with_capacity(1);
            match with_received(|scratch| self.read_through(cx, scratch, tcp, &mut byte)) {
                Poll::Ready(Ok(())) if byte.is_empty() => {}
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured")
            .field("peer", &self.peer)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

// === impl Outgoing ===

impl Outgoing {
    fn is_pending(&self) -> bool {
        self.sent < self.bytes.len()
    }

    /// Sends `records`, behind which nothing waits, and keeps what the kernel does not take; true if it takes all.
    fn send(&mut self, tcp: &TcpStream, records: &[u8], stands_for: usize) -> io::Result<bool> {
        let sent = match tcp.try_write(records) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let rest = records.get(sent..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(true);
        }
        self.bytes.extend_from_slice(rest);
        self.stands_for = stands_for;
        Ok(false)
    }

    /// Sends what TLS itself has to say, behind what waits, or leaves it for the next write.
    fn send_along(&mut self, tcp: &TcpStream, reply: &[u8]) {
        if !reply.is_empty() {
            self.bytes.extend_from_slice(reply);
            // What goes wrong shows at the next write.
            let _ = self.try_send(tcp);
        }
    }

    /// Ready once nothing waits any more, with the number of bytes of plaintext that the writer has not been told of yet. Others may have
    /// sent the last of their records meanwhile.
    fn poll_owed(&mut self, cx: &mut Context<'_>, tcp: &TcpStream) -> Poll<io::Result<usize>> {
        if self.is_pending() {
            ready!(self.poll_send(cx, tcp))?;
        }
        Poll::Ready(Ok(std::mem::take(&mut self.stands_for)))
    }

    fn try_send(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.is_pending() {
            let rest = self.bytes.get(self.sent..).unwrap_or_default();
            match tcp.try_write(rest) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        (self.bytes, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    /// Ready once nothing waits any more.
    fn poll_send(&mut self, cx: &mut Context<'_>, tcp: &TcpStream) -> Poll<io::Result<()>> {
        loop {
            self.try_send(tcp)?;
            if !self.is_pending() {
                return Poll::Ready(Ok(()));
            }
            ready!(tcp.poll_write_ready(cx))?;
        }
    }
}

/// What may be kept for long needs no more memory than it takes.
fn without_spare(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.shrink_to_fit();
    bytes
}

/// Whether `room` takes the plaintext of the record that `bytes` begin with.
fn fits(bytes: &[u8], room: usize) -> bool {
    record_len(bytes).is_some_and(|len| len <= room + OVERHEAD - HEADER)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::TcpListener};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_reply_that_takes_the_writers_last_records_along_leaves_nothing_to_be_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (peer, _) = listener.accept().unwrap();
        let records = vec![7; 16 << 20];
        let mut outgoing = Outgoing::default();
        ours.writable().await.unwrap();
        assert!(!outgoing.send(&ours, &records, 1000).unwrap());
        // The peer takes what waits while the writer is not asked.
        peer.set_nonblocking(true).unwrap();
        let peer = TcpStream::from_std(peer).unwrap();
        let mut received = Vec::with_capacity(records.len() + 5);
        outgoing.send_along(&ours, b"alert");
        while received.len() < records.len() + 5 {
            tokio::select! {
                ready = peer.readable() => ready.unwrap(),
                ready = ours.writable(), if outgoing.is_pending() => ready.unwrap(),
            }
            let _ = peer.try_read_buf(&mut received);
            outgoing.try_send(&ours).unwrap();
        }
        assert!(!outgoing.is_pending());
        assert!(received.ends_with(b"\x07alert"));
        let owed = poll_fn(|cx| outgoing.poll_owed(cx, &ours));
        assert_eq!(owed.await.unwrap(), 1000, "the writer is told once");
        let owed = poll_fn(|cx| outgoing.poll_owed(cx, &ours));
        assert_eq!(owed.await.unwrap(), 0);
    }
}

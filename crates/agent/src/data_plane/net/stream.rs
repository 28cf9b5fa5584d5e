//! One connection as the protocols see it.
//!
//! The transport is plain TCP or TLS on top of it, and neither HTTP nor the TCP pump can tell which, but by [`Stream::peer`].
//! Reads and writes are tried at once where the kernel has said that they will succeed, and a read that does not fill its buffer is
//! known to have emptied the socket, so no call is spent on being told to wait.

mod handshake;
mod records;
mod secured;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
};

use crate::tls::{Credentials, Offer, PeerIdentity, TlsError};
use secured::Secured;

/// A connection to a peer.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    secured: Option<Box<Secured>>,
}

// === impl Stream ===

impl Stream {
    /// Takes over a connected socket.
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, secured: None }
    }

    /// Performs the server's side of a handshake with a workload of the mesh. `first` was already read from the connection: nothing,
    /// a part of the client's hello, or more than that.
    ///
    /// Takes as long as the peer does, so the caller limits the time. The connection is closed when the future is dropped.
    ///
    /// # Errors
    /// [`TlsError`]; the peer was told the reason, as far as it listens.
    pub async fn accept_tls(
        mut self,
        credentials: &Credentials,
        first: Vec<u8>,
    ) -> Result<Self, TlsError> {
        let secured = handshake::accept(&mut self.tcp, credentials, first).await?;
        self.secured = Some(Box::new(secured));
        Ok(self)
    }

    /// Performs the client's side of a handshake. The peer must be one of `expected`, SPIFFE IDs that are compared byte by byte; none
    /// means that nobody is good enough. `sni` is sent as it is, or not at all if no DNS name can look so.
    ///
    /// Takes as long as the peer does, so the caller limits the time. The connection is closed when the future is dropped.
    ///
    /// # Errors
    /// [`TlsError`]; nothing but the handshake was sent.
    pub async fn connect_tls(
        mut self,
        credentials: &Credentials,
        expected: &[Arc<str>],
        sni: Option<&str>,
        offer: Offer,
    ) -> Result<Self, TlsError> {
        let secured = handshake::connect(&mut self.tcp, credentials, expected, sni, offer).await?;
        self.secured = Some(Box::new(secured));
        Ok(self)
    }

    /// Who the other one is, if the connection is secured: its identity was verified.
    #[must_use]
    pub fn peer(&self) -> Option<&Arc<PeerIdentity>> {
        self.secured.as_ref().map(|secured| secured.peer())
    }

    /// The protocol that the handshake agreed on (ALPN), if the connection is secured and it did.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.secured.as_ref()?.alpn()
    }

    /// The socket's own address; costs a system call.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok().map(super::canonical)
    }

    /// Waits until a read would give bytes, the end or an error; needs no buffer meanwhile.
    ///
    /// On a secured connection a read may have to wait all the same: what has come may be a part of a record, or none of the peer's
    /// bytes.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.secured {
            Some(secured) if secured.has_more() => Poll::Ready(Ok(())),
            _ => self.tcp.poll_read_ready(cx),
        }
    }

    /// Appends to `buffer` up to its capacity; 0 is the end of the stream or a full buffer.
    ///
    /// # Errors
    /// What the kernel says; `UnexpectedEof` where the end of a secured stream is not the peer's own word (RFC 8446, section 6.1), and
    /// `InvalidData` where its bytes are not the peer's.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if buffer.len() == buffer.capacity() {
            return Poll::Ready(Ok(0));
        }
        match &mut self.secured {
            Some(secured) => secured.poll_read(cx, &mut self.tcp, buffer),
            None => pin!(self.tcp.read_buf(buffer)).poll(cx),
        }
    }

    /// Writes some of `bytes`. Where it has to wait, the next call must begin with the same bytes: some of them may be on their way.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.secured {
            Some(secured) => secured.poll_write(cx, &self.tcp, bytes),
            None => Pin::new(&mut self.tcp).poll_write(cx, bytes),
        }
    }

    /// The socket, where its bytes are the stream's own: the kernel may then move them by itself.
    pub(crate) fn plain(&self) -> Option<&TcpStream> {
        self.secured.is_none().then_some(&self.tcp)
    }

    /// Ends the writing direction; the peer reads the end of the stream.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(secured) = &mut self.secured {
            std::task::ready!(secured.poll_close(cx, &self.tcp))?;
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// Says goodbye where both sides are done with the connection, as far as that goes without waiting; then it is to be dropped.
    ///
    /// A secured connection that is dropped without it has been cut, as its peer can tell.
    pub fn close(&mut self) {
        if let Some(secured) = &mut self.secured {
            secured.close(&self.tcp);
        }
    }

    /// Whether an idle connection is of no more use: ended, broken, or with bytes that nobody asked for.
    ///
    /// Costs no system call while the event loop has seen nothing on it.
    pub fn is_stale(&mut self) -> bool {
        if let Some(secured) = &mut self.secured {
            return secured.is_stale(&mut self.tcp);
        }
        let mut byte = [0];
        !matches!(self.tcp.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer had closed before bytes of ours reached it, so that it cannot have acted on them.
    ///
    /// The kernel notes `EPIPE` when a reset arrives on a connection whose peer had already ended it: our bytes met a closed socket.
    #[must_use]
    pub fn was_closed_before_use(&self) -> bool {
        matches!(self.tcp.take_error(), Ok(Some(error)) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Makes the coming close a reset, so that the peer cannot take it for a proper end.
    pub fn reset_on_close(&self) {
        // Failing means that the connection is gone already.
        let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Read, net::TcpListener};

    use super::*;

    /// A connected pair, our end first.
    async fn pair() -> (Stream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (Stream::new(ours), listener.accept().unwrap().0)
    }

    async fn send_and_read_the_end(stream: &mut Stream, peer_reads: Option<std::net::TcpStream>) {
        let n = poll_fn(|cx| stream.poll_write(cx, b"x")).await.unwrap();
        assert_eq!(n, 1);
        if let Some(mut peer) = peer_reads {
            peer.read_exact(&mut [0]).unwrap();
        }
        let mut buffer = Vec::with_capacity(1);
        assert_eq!(
            poll_fn(|cx| stream.poll_read(cx, &mut buffer))
                .await
                .unwrap(),
            0
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_kernel_tells_whether_a_closed_peer_can_have_read_our_bytes() {
        let (mut stream, peer) = pair().await;
        drop(peer);
        send_and_read_the_end(&mut stream, None).await;
        assert!(stream.was_closed_before_use());
        let (mut stream, peer) = pair().await;
        send_and_read_the_end(&mut stream, Some(peer)).await;
        assert!(!stream.was_closed_before_use());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_ended_connection_is_stale_and_a_quiet_one_is_not() {
        let (mut stream, peer) = pair().await;
        assert!(!stream.is_stale());
        drop(peer);
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        assert!(stream.is_stale());
    }
}

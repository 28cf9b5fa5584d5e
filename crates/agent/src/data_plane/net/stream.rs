//! One connection as the protocols see it.
//!
//! The transport is plain TCP; a secured transport takes its place here, and neither HTTP nor the TCP pump can tell.
//! Reads and writes are tried at once where the kernel has said that they will succeed, and a read that does not fill its buffer is
//! known to have emptied the socket, so no call is spent on being told to wait.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
};

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
}

// === impl Stream ===

impl Stream {
    /// Takes over a connected socket.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp }
    }

    /// The socket's own address; costs a system call.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok().map(super::canonical)
    }

    /// Waits until a read would give bytes, the end or an error; needs no buffer meanwhile.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_read_ready(cx)
    }

    /// Appends to `buffer` up to its capacity; 0 is the end of the stream or a full buffer.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if buffer.len() == buffer.capacity() {
            return Poll::Ready(Ok(0));
        }
        pin!(self.tcp.read_buf(buffer)).poll(cx)
    }

    /// Writes some of `bytes`.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    /// Ends the writing direction; the peer reads the end of the stream.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// Whether an idle connection is of no more use: ended, broken, or with bytes that nobody asked for.
    ///
    /// Costs no system call while the event loop has seen nothing on it.
    pub(crate) fn is_stale(&self) -> bool {
        let mut byte = [0];
        !matches!(self.tcp.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer had closed before bytes of ours reached it, so that it cannot have acted on them.
    ///
    /// The kernel notes `EPIPE` when a reset arrives on a connection whose peer had already ended it: our bytes met a closed socket.
    pub(crate) fn was_closed_before_use(&self) -> bool {
        matches!(self.tcp.take_error(), Ok(Some(error)) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Makes the coming close a reset, so that the peer cannot take it for a proper end.
    pub(crate) fn reset_on_close(&self) {
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
        let (stream, peer) = pair().await;
        assert!(!stream.is_stale());
        drop(peer);
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
        assert!(stream.is_stale());
    }
}

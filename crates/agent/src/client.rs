//! One request over one connection, or one after the other, without tasks.
//!
//! Used by the probes and by the subcommands `wait` and `request`. The connection is driven by whoever waits for the answer, so
//! dropping the future closes it and nothing goes on behind the caller's back.

use std::{
    future::poll_fn,
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Which HTTP to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1; the request bears its path only and a `Host`.
    Http1,
    /// HTTP/2 without upgrade; the request bears a whole URL.
    Http2,
}

/// A connection of HTTP/1.1 that takes one request after the other.
pub struct Kept {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Nothing once it has ended.
    connection: Option<Connected>,
}

type Connected = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Futures that hyper's HTTP/2 wants to run beside the exchange.
type Queue = Mutex<Vec<Task>>;

/// Hands hyper's futures to the one who drives the exchange. It does not own the queue, because the futures hold executors.
#[derive(Clone)]
struct Beside(Weak<Queue>);

/// No larger head of an answer is read.
const HEAD_LIMIT: usize = 64 * 1024;
/// The same for HTTP/2, counted as its RFC does.
const HEADER_LIST_LIMIT: u32 = 64 * 1024;

// === impl Beside ===

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Beside {
    fn execute(&self, future: F) {
        if let Some(queue) = self.0.upgrade() {
            queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Box::pin(future));
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Begins on a connection that nothing was said on.
    ///
    /// # Errors
    /// What hyper says of it.
    pub async fn begin<IO>(io: IO) -> Result<Self, hyper::Error>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(io)).await?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
        })
    }

    /// As [`exchange`]; the connection may be of use afterwards. Where the future is dropped, it is not.
    ///
    /// # Errors
    /// As [`exchange`].
    pub async fn ask<F, R, T>(
        &mut self,
        request: Request<Full<Bytes>>,
        read: R,
    ) -> Result<T, hyper::Error>
    where
        R: FnOnce(Response<Incoming>) -> F,
        F: Future<Output = Result<T, hyper::Error>>,
    {
        let (sender, connection) = (&mut self.sender, &mut self.connection);
        let answer = async {
            sender.ready().await?;
            read(sender.send_request(request).await?).await
        };
        let connection = poll_fn(|cx| poll_once_more(connection, cx));
        drive(connection, &Queue::default(), answer).await
    }

    /// Whether another request may be sent: the last answer was read to its end, and the peer has not ended the connection.
    pub async fn is_ready(&mut self) -> bool {
        // What has come is looked at, and nothing is waited for.
        let connection = &mut self.connection;
        let ended = poll_fn(|cx| Poll::Ready(poll_once_more(connection, cx).is_ready())).await;
        !ended && self.sender.is_ready()
    }
}

/// Moves a connection on, and lets go of it once it has ended.
fn poll_once_more(connection: &mut Option<Connected>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(open) = connection else {
        return Poll::Ready(());
    };
    let ended = open.as_mut().poll(cx).map(|_| ());
    if ended.is_ready() {
        *connection = None;
    }
    ended
}

async fn handshake<IO>(
    io: IO,
) -> Result<
    (
        http1::SendRequest<Full<Bytes>>,
        http1::Connection<IO, Full<Bytes>>,
    ),
    hyper::Error,
>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(io)
        .await
}

/// Connects to `port` of `host`. `localhost` is known without asking anybody: a minimal image may have no resolver.
///
/// # Errors
/// What the resolver or the kernel says, of the last address tried.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    if host.eq_ignore_ascii_case("localhost") {
        let local: [SocketAddr; 2] = [
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ];
        return TcpStream::connect(&local[..]).await;
    }
    TcpStream::connect((host, port)).await
}

/// Sends `request` over `io` and gives the answer to `read`, which takes as much of the body as it wants.
///
/// Dropping the future closes the connection.
///
/// # Errors
/// What hyper says of the connection, the answer's head, or, through `read`, of its body.
pub async fn exchange<IO, F, R, T>(
    version: Version,
    io: IO,
    request: Request<Full<Bytes>>,
    read: R,
) -> Result<T, hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: FnOnce(Response<Incoming>) -> F,
    F: Future<Output = Result<T, hyper::Error>>,
{
    let io = TokioIo::new(io);
    let queue = Arc::new(Queue::default());
    match version {
        Version::Http1 => {
            let (mut sender, connection) = handshake(io).await?;
            let answer = async { read(sender.send_request(request).await?).await };
            drive(connection, &queue, answer).await
        }
        Version::Http2 => {
            let (mut sender, connection) = http2::Builder::new(Beside(Arc::downgrade(&queue)))
                .max_header_list_size(HEADER_LIST_LIMIT)
                .handshake(io)
                .await?;
            let answer = async { read(sender.send_request(request).await?).await };
            drive(connection, &queue, answer).await
        }
    }
}

/// Reads `body` up to `limit` bytes; what comes after is not read.
///
/// # Errors
/// When the body breaks off before the limit.
pub async fn read_up_to(mut body: Incoming, limit: usize) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        let Some(frame) = body.frame().await else {
            break;
        };
        if let Ok(data) = frame?.into_data() {
            let room = limit - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
    }
    Ok(bytes)
}

/// Waits for `answer` and moves `connection` and whatever is queued on meanwhile. An error of the connection reaches the answer
/// through hyper.
async fn drive<T>(connection: impl Future, queue: &Queue, answer: impl Future<Output = T>) -> T {
    let mut connection = pin!(connection);
    let mut answer = pin!(answer);
    let mut is_open = true;
    let mut beside = Vec::new();
    poll_fn(|cx: &mut Context<'_>| -> Poll<T> {
        if is_open && connection.as_mut().poll(cx).is_ready() {
            is_open = false;
        }
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        beside.retain_mut(|task: &mut Task| task.as_mut().poll(cx).is_pending());
        // A task that has just been queued would not be woken before its first poll, and may queue another.
        loop {
            let mut fresh = take(queue);
            if fresh.is_empty() {
                break;
            }
            fresh.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            beside.append(&mut fresh);
        }
        Poll::Pending
    })
    .await
}

fn take(queue: &Queue) -> Vec<Task> {
    mem::take(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))
}

//! A connection that gRPC calls are made on.
//!
//! [`Channel`] is the service that the generated clients take. A server that is gone is noticed by pings, also while a stream is silent; what it
//! may make us keep is bounded by the windows. Once it is closed, every call fails, and whoever wants to go on connects anew.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{error::chain, task::Group};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tower_service::Service;
use tracing::debug;

/// A connection to the control plane; clones share it.
#[derive(Clone, Debug)]
pub struct Channel(SendRequest<Body>);

/// Runs hyper's tasks in a group.
#[derive(Clone)]
struct Tasks(Group);

/// As Istio's agents do (`pilot/pkg/grpc`).
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);
/// What may be under way to us in a stream. Within a cluster the next bytes come in less than a millisecond, so this is no brake.
const STREAM_WINDOW: u32 = 64 << 10;
/// The same for all streams of a connection; there is one, mostly.
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// What may wait to be sent in a stream.
const SEND_BUFFER: usize = 64 << 10;
/// Header fields of an answer, those of a long error message included.
const HEADER_LIST_LIMIT: u32 = 32 << 10;
/// Streams that the server may open: none, gRPC does not push.
const PUSHED_STREAMS: u32 = 0;
const TASK: &str = "control plane connection";

// === impl Channel ===

impl Channel {
    /// Begins HTTP/2 on `stream`.
    pub(crate) async fn over<S>(stream: S, group: &Group) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let tasks = Tasks(group.clone());
        let (sender, connection) = http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST_LIMIT)
            .max_concurrent_streams(PUSHED_STREAMS)
            .handshake(TokioIo::new(stream))
            .await?;
        tasks.execute(async move {
            if let Err(error) = connection.await {
                debug!(error = %chain(&error), "the connection to the control plane broke");
            }
        });
        Ok(Self(sender))
    }

    /// Whether the connection has ended, so that every call will fail.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

// === impl Tasks ===

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let token = self.0.token().clone();
        self.0.spawn(TASK, async move {
            token.run_until_cancelled(future).await;
        });
    }
}

//! Opaque connections: bytes both ways, each direction ended on its own.
//!
//! [`serve`] carries a connection whose protocol is not HTTP; [`pump`] is also what an upgraded or CONNECTed HTTP connection becomes.
//! A direction holds a buffer only while the other side does not take its bytes, and larger ones only while it fills them.

mod record;

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use record::Record;

use super::{
    captured::{Connection, Decision, Dialled, Use},
    error::Failure,
    net::{
        Buffers, Size, Stream,
        splice::{Moved, Shortcut},
    },
    target::Target,
    telemetry::TcpSeries,
};

/// Bytes that a connection has carried.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Where they are counted while the connection is open, too; an HTTP request is counted when it ends.
    series: Option<Arc<TcpSeries>>,
}

/// One direction.
#[derive(Debug)]
struct Flow<'a> {
    buffers: &'a Buffers,
    buffer: Vec<u8>,
    written: usize,
    size: Size,
    shortcut: Shortcut,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has ended; the receiver is told once it has everything.
    Ended,
    Shut,
}

/// Whose socket an error came from.
enum Broken {
    Sender,
    Receiver,
}

// === impl Traffic ===

impl Traffic {
    fn counted_in(series: Arc<TcpSeries>) -> Self {
        Self {
            series: Some(series),
            ..Self::default()
        }
    }

    /// Bytes from the client.
    pub(crate) fn received(&self) -> u64 {
        self.received.get()
    }

    /// Bytes to the client.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    fn receive(&self, n: usize) {
        self.received.set(self.received.get() + n as u64);
        if let Some(series) = &self.series {
            series.received(n);
        }
    }

    fn send(&self, n: usize) {
        self.sent.set(self.sent.get() + n as u64);
        if let Some(series) = &self.series {
            series.sent(n);
        }
    }
}

// === impl Flow ===

impl<'a> Flow<'a> {
    fn new(buffers: &'a Buffers, first: Vec<u8>) -> Self {
        Self {
            buffers,
            buffer: first,
            written: 0,
            size: Size::Small,
            shortcut: Shortcut::default(),
            state: State::Open,
        }
    }

    /// Moves bytes until one side has to wait; ready once the receiver was told the end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        note: impl Fn(usize),
    ) -> Poll<Result<(), Broken>> {
        loop {
            if let Some(rest) = self
                .buffer
                .get(self.written..)
                .filter(|rest| !rest.is_empty())
            {
                match ready!(to.poll_write(cx, rest)) {
                    Ok(n) if n > 0 => {
                        self.written += n;
                        note(n);
                    }
                    Ok(_) | Err(_) => return Poll::Ready(Err(Broken::Receiver)),
                }
                continue;
            }
            self.written = 0;
            self.buffer.clear();
            if self.state == State::Open
                && let Some(moved) = self.pass(cx, from, to, &note)
            {
                ready!(moved)?;
                continue;
            }
            match self.state {
                State::Open => match self.read(cx, from) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Sender)),
                    Poll::Pending => {
                        self.give_back();
                        return Poll::Pending;
                    }
                },
                State::Ended => {
                    self.give_back();
                    if ready!(to.poll_shutdown(cx)).is_err() {
                        return Poll::Ready(Err(Broken::Receiver));
                    }
                    self.state = State::Shut;
                }
                State::Shut => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Moves bytes from socket to socket; `None` where they have to be read.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        note: impl Fn(usize),
    ) -> Option<Poll<Result<(), Broken>>> {
        let is_bulk = self.size == Size::Large;
        let pipes = self.buffers.pipes();
        let moved = self
            .shortcut
            .poll(cx, pipes, (from, to), u64::MAX, is_bulk)?;
        self.buffers.give(std::mem::take(&mut self.buffer));
        Some(moved.map(|moved| {
            match moved {
                Moved::Taken(_) => {}
                Moved::Given(n) => note(n),
                Moved::SenderEnded => self.state = State::Ended,
                Moved::SenderBroken => return Err(Broken::Sender),
                Moved::ReceiverBroken => return Err(Broken::Receiver),
            }
            Ok(())
        }))
    }

    fn read(&mut self, cx: &mut Context<'_>, from: &mut Stream) -> Poll<io::Result<()>> {
        ready!(from.poll_readable(cx))?;
        if self.buffer.capacity() == 0 {
            self.buffer = self.buffers.take(self.size);
        }
        let n = ready!(from.poll_read(cx, &mut self.buffer))?;
        if n == 0 {
            self.state = State::Ended;
        }
        self.size = Size::next(n, self.buffer.capacity());
        Poll::Ready(Ok(()))
    }

    fn give_back(&mut self) {
        self.buffers.give(std::mem::take(&mut self.buffer));
        self.shortcut.give_back(self.buffers.pipes());
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Carries an opaque connection to wherever it is routed. `first` was already read; `dialled` is where protocol detection has tried
/// to reach the upstream, and what came of it.
pub(crate) async fn serve(
    connection: &Connection,
    mut downstream: Stream,
    first: Vec<u8>,
    dialled: Option<(Target, Result<Dialled, Failure>)>,
) {
    let mut record = Record::new(connection);
    let dialled = match dialled {
        Some((target, dialled)) => {
            record.target(&target);
            dialled.map(|dialled| (target, dialled))
        }
        None => dial(connection, &mut record).await,
    };
    // The target is held as long as the connection is load of its endpoint.
    let (
        _target,
        Dialled {
            mut upstream,
            early,
        },
    ) = match dialled {
        Ok(dialled) => dialled,
        Err(failure) => {
            record.fail(&failure);
            // The client sees what it would have seen from a refusing host.
            downstream.reset_on_close();
            return;
        }
    };
    let traffic = record.open(&upstream);
    let to = &mut upstream.stream;
    let carried = pump(connection, &mut downstream, to, first, early, traffic).await;
    match carried {
        Ok(()) => record.end(),
        Err(failure) => record.fail(&failure),
    }
}

/// Reports a connection that was not served at all.
pub(crate) fn refuse(connection: &Connection, failure: &Failure) {
    Record::new(connection).fail(failure);
}

/// Reaches the upstream of a connection that nobody has routed yet.
async fn dial(
    connection: &Connection,
    record: &mut Record<'_>,
) -> Result<(Target, Dialled), Failure> {
    match connection.route_tcp() {
        Decision::Forward(mut target) => {
            record.target(&target);
            let upstream = connection.upstream(&mut target, Use::Opaque).await?;
            Ok((target, Dialled::from(upstream)))
        }
        Decision::Refuse(service, failure) => {
            record.service = service;
            Err(failure)
        }
    }
}

/// Carries bytes both ways until both directions have ended, one breaks, or nothing moves for too long.
///
/// `to_upstream` and `to_downstream` go first. A broken connection is reset on both sides. What is in flight is lost when the future is
/// dropped.
///
/// # Errors
/// Who broke it.
pub(crate) async fn pump(
    connection: &Connection,
    downstream: &mut Stream,
    upstream: &mut Stream,
    to_upstream: Vec<u8>,
    to_downstream: Vec<u8>,
    traffic: &Traffic,
) -> Result<(), Failure> {
    let worker = connection.worker();
    let (slot, idle) = (connection.slot(), worker.timeouts.tcp_idle);
    let mut up = Flow::new(&worker.buffers, to_upstream);
    let mut down = Flow::new(&worker.buffers, to_downstream);
    slot.expire_after(idle);
    let carried = poll_fn(|cx| {
        if slot.poll_expired(cx).is_ready() {
            return Poll::Ready(Err(Failure::IdleTimeout));
        }
        if connection.is_denied() {
            tracing::info!(
                peer = %connection.peer(), destination = %connection.destination(),
                "a connection is ended, mutual TLS has become STRICT"
            );
            return Poll::Ready(Err(Failure::PlaintextRefused));
        }
        let up = up.poll(cx, downstream, upstream, |n| {
            traffic.receive(n);
            slot.expire_after(idle);
        });
        let down = down.poll(cx, upstream, downstream, |n| {
            traffic.send(n);
            slot.expire_after(idle);
        });
        match (up, down) {
            (Poll::Ready(Err(Broken::Sender)), _) | (_, Poll::Ready(Err(Broken::Receiver))) => {
                Poll::Ready(Err(Failure::ClientClosed))
            }
            (Poll::Ready(Err(Broken::Receiver)), _) | (_, Poll::Ready(Err(Broken::Sender))) => {
                Poll::Ready(Err(Failure::UpstreamClosed))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    })
    .await;
    if carried.is_err() {
        downstream.reset_on_close();
        upstream.reset_on_close();
    }
    carried
}

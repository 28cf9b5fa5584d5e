//! The request's way: from the client to the upstream.
//!
//! [`Exchange`] polls this half first. What came with the head, and the rest of a short body, is sent from the record, which keeps it for
//! another attempt; longer bodies go through a lent buffer. An upstream that takes no more is no error yet: its answer, or its silence,
//! decides.

use std::task::{Context, Poll};

use super::{End, Exchange};
use crate::data_plane::{
    error::Failure,
    http1::body::Body,
    net::{
        Buffers, Size,
        splice::{Moved, Shortcut},
    },
};

/// Where the request stands.
#[derive(Debug, Default)]
pub(super) struct Sending {
    phase: Phase,
    /// The part of the body that the record does not hold.
    body: Body,
    /// How much of the record's bytes, or of `buffer` later on, the upstream has taken.
    sent: usize,
    /// Body bytes that are not kept.
    buffer: Vec<u8>,
    /// Where the request ends in `buffer`.
    end: usize,
    size: Size,
    /// For body bytes that need no look.
    shortcut: Shortcut,
    /// Bytes were sent that the record does not hold.
    has_read_on: bool,
    /// The client has ended its direction.
    client_ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Sending what the record holds, and reading into it as long as it keeps what comes.
    #[default]
    First,
    /// Reading on and sending on.
    Rest,
    /// All of it was sent; watching whether the client goes away or pipelines.
    Done,
    /// The upstream takes no more.
    Refused,
}

// === impl Sending ===

impl Sending {
    /// Whether the client has sent, and the upstream has taken, the whole request.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether the upstream may serve another request over the connection.
    pub(super) fn left_upstream_open(&self) -> bool {
        self.phase == Phase::Done && !self.client_ended
    }

    /// Whether the upstream has refused the rest of the request.
    pub(super) fn is_refused(&self) -> bool {
        self.phase == Phase::Refused
    }

    /// Whether all that was sent is still in the record.
    pub(super) fn can_repeat(&self) -> bool {
        !self.has_read_on
    }

    /// Whether not one byte left this machine.
    pub(super) fn nothing_sent(&self) -> bool {
        self.phase == Phase::Refused && self.sent == 0
    }

    /// Gives up whatever is on its way.
    pub(super) fn give_back(&mut self, buffers: &Buffers) {
        buffers.give(std::mem::take(&mut self.buffer));
        self.shortcut.give_back(buffers.pipes());
    }
}

// === impl Exchange ===

impl Exchange<'_, '_> {
    /// Moves the request. `Ok` when it has to wait, or is over while the answer is not.
    pub(super) fn poll_sending(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let moved = match self.sending.phase {
                Phase::First => self.send_first(cx)?,
                Phase::Rest => self.send_rest(cx)?,
                Phase::Done => self.watch_client(cx)?,
                Phase::Refused => Poll::Pending,
            };
            if moved.is_pending() {
                return Ok(());
            }
            self.note_progress();
        }
    }

    fn send_first(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        let (sending, record) = (&mut self.sending, &mut *self.record);
        if sending.sent == record.end {
            return self.read_first(cx);
        }
        let bytes = record.buffer.get(sending.sent..record.end);
        match self
            .upstream
            .stream
            .poll_write(cx, bytes.unwrap_or_default())
        {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(_)) => {
                // What the upstream has to say to this is in its answer, or in its silence.
                sending.phase = Phase::Refused;
                Ok(Poll::Pending)
            }
            Poll::Ready(Ok(n)) => {
                sending.sent += n;
                if sending.sent == record.end && !record.keeps_on() {
                    sending.body = record.body;
                    sending.phase = if sending.body.is_done() {
                        Phase::Done
                    } else {
                        Phase::Rest
                    };
                    sending.sent = 0;
                }
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Reads more of a body that is short enough to be kept.
    fn read_first(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.downstream.poll_readable(cx).is_pending() {
            return Ok(Poll::Pending);
        }
        self.record.make_room();
        match self.downstream.poll_read(cx, &mut self.record.buffer) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(n)) if n > 0 => match self.record.follow_body() {
                Ok(()) => Ok(Poll::Ready(())),
                Err(error) => Err(self.failure(Failure::RequestBody(error))),
            },
            Poll::Ready(_) => Err(End::Aborted(Failure::ClientClosed)),
        }
    }

    fn send_rest(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        let sending = &mut self.sending;
        if sending.sent < sending.end {
            let bytes = sending.buffer.get(sending.sent..sending.end);
            return Ok(
                match self
                    .upstream
                    .stream
                    .poll_write(cx, bytes.unwrap_or_default())
                {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(n)) => {
                        sending.sent += n;
                        Poll::Ready(())
                    }
                    Poll::Ready(Err(_)) => {
                        sending.phase = Phase::Refused;
                        Poll::Pending
                    }
                },
            );
        }
        if let Some(moved) = self.pass_rest(cx)? {
            return Ok(moved);
        }
        let sending = &mut self.sending;
        let buffers = &self.connection.worker().buffers;
        if sending.body.is_done() {
            // The record's own bytes end with this request, so what is pipelined behind it goes there.
            let next = sending.buffer.get(sending.end..).unwrap_or_default();
            self.record.buffer.extend_from_slice(next);
            sending.give_back(buffers);
            sending.phase = Phase::Done;
            return Ok(Poll::Ready(()));
        }
        match self.downstream.poll_readable(cx) {
            Poll::Ready(_) => {}
            Poll::Pending => {
                sending.give_back(buffers);
                return Ok(Poll::Pending);
            }
        }
        if sending.buffer.capacity() == 0 {
            sending.buffer = buffers.take(sending.size);
        }
        self.read_rest(cx)
    }

    /// Moves body bytes from socket to socket; `None` where they have to be read.
    fn pass_rest(&mut self, cx: &mut Context<'_>) -> Result<Option<Poll<()>>, End> {
        let sending = &mut self.sending;
        let ahead = if sending.end == sending.buffer.len() {
            sending.body.content_ahead()
        } else {
            // What is pipelined behind a request is in the buffer, so the request is over.
            0
        };
        let buffers = &self.connection.worker().buffers;
        let between = (&*self.downstream, &self.upstream.stream);
        let is_bulk = sending.size == Size::Large;
        let shortcut = &mut sending.shortcut;
        let Some(moved) = shortcut.poll(cx, buffers.pipes(), between, ahead, is_bulk) else {
            return Ok(None);
        };
        buffers.give(std::mem::take(&mut sending.buffer));
        (sending.sent, sending.end) = (0, 0);
        let Poll::Ready(moved) = moved else {
            return Ok(Some(Poll::Pending));
        };
        match moved {
            Moved::Taken(n) => {
                sending.body.skip(n as u64);
                self.record.request_bytes += n as u64;
            }
            Moved::Given(_) => {}
            Moved::SenderEnded | Moved::SenderBroken => {
                return Err(End::Aborted(Failure::ClientClosed));
            }
            Moved::ReceiverBroken => {
                sending.phase = Phase::Refused;
                return Ok(Some(Poll::Pending));
            }
        }
        Ok(Some(Poll::Ready(())))
    }

    fn read_rest(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        let sending = &mut self.sending;
        sending.buffer.clear();
        (sending.sent, sending.end) = (0, 0);
        match self.downstream.poll_read(cx, &mut sending.buffer) {
            Poll::Pending => {
                let buffers = &self.connection.worker().buffers;
                sending.give_back(buffers);
                return Ok(Poll::Pending);
            }
            Poll::Ready(Ok(n)) if n > 0 => {
                sending.size = Size::next(n, sending.buffer.capacity());
            }
            Poll::Ready(_) => return Err(End::Aborted(Failure::ClientClosed)),
        }
        sending.has_read_on = true;
        match sending.body.advance(&sending.buffer) {
            Ok(seen) => {
                sending.end = seen.consumed;
                self.record.request_bytes += seen.content;
                Ok(Poll::Ready(()))
            }
            Err(error) => Err(self.failure(Failure::RequestBody(error))),
        }
    }

    /// Reads what the client pipelines, up to a buffer full, and tells the upstream if the client ends its direction:
    /// whether an answer is still worth the work is the application's decision, as it would be without a proxy.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.receiving.is_over() {
            return Err(self.complete());
        }
        let buffer = &mut self.record.buffer;
        if self.sending.client_ended || buffer.len() >= buffer.capacity() {
            return Ok(Poll::Pending);
        }
        if self.downstream.poll_readable(cx).is_pending() {
            return Ok(Poll::Pending);
        }
        match self.downstream.poll_read(cx, buffer) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(0)) => {
                self.sending.client_ended = true;
                // Fails only where the upstream is gone, which the answer's side sees.
                let _ = self.upstream.stream.poll_shutdown(cx);
                Ok(Poll::Pending)
            }
            Poll::Ready(Ok(_)) => Ok(Poll::Ready(())),
            Poll::Ready(Err(_)) => Err(End::Aborted(Failure::ClientClosed)),
        }
    }
}

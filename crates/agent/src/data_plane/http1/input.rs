//! What a client has sent and nobody has served yet.
//!
//! [`serve`](super::serve) waits here for the next head and puts back what was pipelined behind a request.
//! A connection without a byte of a request holds no buffer, and every wait has a deadline that a trickle does not put off.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::scan::{Scanner, blank_lines};
use crate::data_plane::{
    captured::Connection,
    connections::Ticks,
    error::Failure,
    net::{Size, Stream},
};

/// Bytes between two requests, or the beginning of the next one. Holds no buffer while there are none.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Vec<u8>,
    scanner: Scanner,
    deadline: Deadline,
}

/// Which deadline the wait that is going on has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    /// None yet.
    Unset,
    /// For the first byte of a head.
    Idle,
    /// For its last one.
    Head,
}

/// What comes next on a connection.
#[derive(Debug)]
pub(super) enum Next {
    /// A request whose head takes so many bytes.
    Head(usize),
    /// Something that is no request.
    Refused(Failure),
    /// Not a byte within the time.
    Quiet,
    /// Nothing more, or nothing more that will be served.
    End,
}

// === impl Input ===

impl Input {
    /// Begins with what was already read.
    pub(super) fn new(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            scanner: Scanner::default(),
            deadline: Deadline::Unset,
        }
    }

    /// The bytes, for the time of one request.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.scanner = Scanner::default();
        self.deadline = Deadline::Unset;
        std::mem::take(&mut self.buffer)
    }

    /// Takes back what followed a request; the buffer is given away if nothing did.
    pub(super) fn put_back(&mut self, connection: &Connection, rest: Vec<u8>) {
        if rest.is_empty() {
            connection.worker().buffers.give(rest);
        } else {
            self.buffer = rest;
        }
    }

    /// Waits for a complete head, and up to `limit` for its first byte. Ends without a word when the proxy closes idle connections.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        downstream: &mut Stream,
        limit: Ticks,
    ) -> Poll<Next> {
        loop {
            if let Some(next) = self.find_head(connection) {
                return Poll::Ready(next);
            }
            self.set_deadline(connection, limit);
            if self.buffer.is_empty() && connection.is_closing() {
                return Poll::Ready(Next::End);
            }
            if connection.slot().poll_expired(cx).is_ready() {
                return Poll::Ready(if self.buffer.is_empty() {
                    self.deadline = Deadline::Unset;
                    Next::Quiet
                } else {
                    Next::Refused(Failure::HeadTimeout)
                });
            }
            match self.poll_read(cx, connection, downstream) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Next::End),
                Poll::Pending => {
                    if self.buffer.is_empty() {
                        let buffer = std::mem::take(&mut self.buffer);
                        connection.worker().buffers.give(buffer);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        downstream: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        ready!(downstream.poll_readable(cx))?;
        self.make_room(connection);
        downstream.poll_read(cx, &mut self.buffer)
    }

    fn find_head(&mut self, connection: &Connection) -> Option<Next> {
        let blank = blank_lines(&self.buffer);
        if blank > 0 {
            self.buffer.drain(..blank);
            self.scanner = Scanner::default();
        }
        let limit = connection.worker().config.limits.head_bytes;
        match self.scanner.find_end(&self.buffer, limit) {
            Ok(len) => len.map(Next::Head),
            Err(error) => Some(Next::Refused(Failure::RequestHead(error))),
        }
    }

    /// Each deadline runs from the beginning of its wait, so neither empty lines nor a trickle of bytes puts it off.
    fn set_deadline(&mut self, connection: &Connection, limit: Ticks) {
        if self.deadline == Deadline::Unset {
            self.deadline = Deadline::Idle;
            connection.slot().expire_after(limit);
        }
        if self.deadline == Deadline::Idle && !self.buffer.is_empty() {
            self.deadline = Deadline::Head;
            let timeouts = &connection.worker().timeouts;
            connection.slot().expire_after(timeouts.head);
        }
    }

    fn make_room(&mut self, connection: &Connection) {
        if self.buffer.capacity() == 0 {
            self.buffer = connection.worker().buffers.take(Size::Small);
        } else if self.buffer.len() == self.buffer.capacity() {
            // The scanner has made sure that the head is still below its limit.
            let buffers = &connection.worker().buffers;
            self.buffer = buffers.grown(std::mem::take(&mut self.buffer));
        }
    }
}

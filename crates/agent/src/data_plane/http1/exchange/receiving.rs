//! The answer's way: from the upstream to the client.
//!
//! [`Exchange`] polls this half after the sending one; bytes go out as soon as their framing was followed.
//! Nothing reaches the client before the final head was accepted, so that the proxy can still answer in the upstream's place.

use std::{
    ops::Range,
    task::{Context, Poll},
};

use super::{End, Exchange};
use crate::data_plane::{
    error::Failure,
    http1::{
        body::Body,
        head::{self, FieldSet, Length, Method, Response, Version},
        scan::Scanner,
    },
    net::{
        Buffers, Size,
        splice::{Moved, Shortcut},
    },
};

/// Where the answer stands.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    phase: Phase,
    scanner: Scanner,
    /// Bytes of the upstream. Those before `flushed` the client has, those before `followed` belong to the answer.
    buffer: Vec<u8>,
    flushed: usize,
    followed: usize,
    size: Size,
    /// For bytes of the body that need no look.
    shortcut: Shortcut,
    /// The upstream has said something.
    has_begun: bool,
    /// The upstream will take another request, as far as its head says.
    persistent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Waiting for the head, or the next one after an interim answer.
    #[default]
    Head,
    Body(Body),
    /// The head that switches protocols was the last of HTTP.
    Switched,
    /// Everything was passed on, but the client is still sending its request.
    Over,
}

/// What becomes of the client's connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    /// What the upstream's answer says, which is passed on.
    Upstreams,
    /// It lives on, whatever becomes of the upstream's.
    KeepAlive,
    /// It ends, and the client is told so.
    Close,
}

const CLOSE: &[u8] = b"connection: close\r\n";

// === impl Receiving ===

impl Receiving {
    /// Whether the final answer has begun.
    pub(super) fn has_answered(&self) -> bool {
        self.phase != Phase::Head
    }

    /// Whether the answer was passed on.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the client would take the end of the connection for the end of the answer.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.phase, Phase::Body(body) if !body.is_done() && body.ends_with_connection())
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        (self.flushed, self.followed) = (0, 0);
        std::mem::take(&mut self.buffer)
    }

    /// Gives up whatever is on its way.
    pub(super) fn give_back(&mut self, buffers: &Buffers) {
        buffers.give(self.take_buffer());
        self.shortcut.give_back(buffers.pipes());
    }

    /// Bytes of the upstream that are at hand.
    pub(super) fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.buffer.get(at).unwrap_or_default()
    }

    /// Whether all bytes are accounted for and the client has them.
    fn is_empty(&self) -> bool {
        self.flushed == self.buffer.len()
    }
}

// === impl Exchange ===

impl Exchange<'_, '_> {
    /// Moves the answer. `Ok` when it has to wait.
    pub(super) fn poll_receiving(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.receiving.flushed < self.receiving.followed {
                if self.flush(cx)?.is_pending() {
                    return Ok(());
                }
                continue;
            }
            match self.receiving.phase {
                Phase::Body(body) if body.is_done() && self.receiving.shortcut.is_empty() => {
                    self.finish_answer()?;
                }
                Phase::Switched => {
                    let early = self.receiving.flushed;
                    return Err(End::Tunnel(self.receiving.buffer.split_off(early)));
                }
                _ => {}
            }
            if let Some(moved) = self.pass_answer(cx)? {
                if moved.is_pending() {
                    return Ok(());
                }
                continue;
            }
            if !self.receiving.is_empty() && self.follow()? {
                continue;
            }
            if self.read_answer(cx)?.is_pending() {
                return Ok(());
            }
            self.note_progress();
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        let receiving = &mut self.receiving;
        let bytes = receiving.buffer.get(receiving.flushed..receiving.followed);
        match self.downstream.poll_write(cx, bytes.unwrap_or_default()) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(n)) if n > 0 => {
                receiving.flushed += n;
                self.note_progress();
                Ok(Poll::Ready(()))
            }
            Poll::Ready(_) => Err(End::Aborted(Failure::ClientClosed)),
        }
    }

    /// Moves body bytes from socket to socket; `None` where they have to be read.
    fn pass_answer(&mut self, cx: &mut Context<'_>) -> Result<Option<Poll<()>>, End> {
        let receiving = &mut self.receiving;
        let ahead = match receiving.phase {
            Phase::Body(body) if receiving.flushed == receiving.buffer.len() => {
                body.content_ahead()
            }
            _ => 0,
        };
        let buffers = &self.connection.worker().buffers;
        let between = (&self.upstream.stream, &*self.downstream);
        let is_bulk = receiving.size == Size::Large;
        let shortcut = &mut receiving.shortcut;
        let Some(moved) = shortcut.poll(cx, buffers.pipes(), between, ahead, is_bulk) else {
            return Ok(None);
        };
        buffers.give(receiving.take_buffer());
        let Poll::Ready(moved) = moved else {
            return Ok(Some(Poll::Pending));
        };
        match moved {
            Moved::Taken(n) => {
                if let Phase::Body(body) = &mut receiving.phase {
                    body.skip(n as u64);
                }
                self.record.response_bytes += n as u64;
            }
            Moved::Given(_) => {}
            Moved::SenderEnded => return Err(self.upstream_ended(true)),
            Moved::SenderBroken => return Err(self.upstream_ended(false)),
            Moved::ReceiverBroken => return Err(End::Aborted(Failure::ClientClosed)),
        }
        self.note_progress();
        Ok(Some(Poll::Ready(())))
    }

    /// Decides about bytes that were read; false if a head is still incomplete.
    fn follow(&mut self) -> Result<bool, End> {
        let receiving = &mut self.receiving;
        let rest = receiving
            .buffer
            .get(receiving.followed..)
            .unwrap_or_default();
        match &mut receiving.phase {
            Phase::Head => {
                let limit = self.connection.worker().config.limits.head_bytes;
                match receiving.scanner.find_end(rest, limit) {
                    Ok(None) => Ok(false),
                    Ok(Some(len)) => self.follow_head(len),
                    Err(error) => Err(self.failure(Failure::UpstreamHead(error))),
                }
            }
            Phase::Body(body) => match body.advance(rest) {
                Ok(seen) => {
                    receiving.followed += seen.consumed;
                    self.record.response_bytes += seen.content;
                    Ok(true)
                }
                Err(error) => Err(self.failure(Failure::UpstreamBody(error))),
            },
            // Bytes after the answer: whoever sends them is not trusted with another request.
            Phase::Switched | Phase::Over => Err(self.complete()),
        }
    }

    fn follow_head(&mut self, len: usize) -> Result<bool, End> {
        let receiving = &mut self.receiving;
        let end = receiving.followed + len;
        let bytes = receiving.buffer.get(receiving.followed..end);
        let answer = head::parse_response(bytes.unwrap_or_default(), self.head.method)
            .map_err(|error| End::Failed(Failure::UpstreamHead(error)))?;
        receiving.scanner = Scanner::default();
        let not_carried = self.not_carried(&answer, end - len..end);
        if not_carried.is_some_and(|reason| self.moves_on(reason)) {
            return Err(End::MovedOn);
        }
        let connect = self.head.method == Method::Connect;
        let tunnel = connect && matches!(answer.status, 200..=299);
        let persistence = self.persistence(&answer);
        let asked = !FieldSet::PEER_METADATA.among(self.head.present).is_empty();
        let edit = self.connection.answer_edit(self.upstream, asked);
        let (added, close) = match answer.status {
            // Only the final answer is the proxy's to speak in.
            100 | 102..=199 => (&[][..], &[][..]),
            _ if persistence == Persistence::Close => (&*edit.added, CLOSE),
            _ => (&*edit.added, &[][..]),
        };
        let hop = match persistence {
            Persistence::Upstreams => FieldSet::default(),
            Persistence::KeepAlive | Persistence::Close => FieldSet::CONNECTION,
        };
        let removed = edit.removed.and(hop).among(answer.present);
        let (start, receiving) = (self.receiving.followed, &mut self.receiving);
        let lines = &[added, close];
        let end = head::edit(&mut receiving.buffer, start..end, removed, lines, &mut []);
        receiving.followed = end;
        match answer.status {
            100 | 102..=199 => return Ok(true),
            101 if !self.head.upgrade => return Err(End::Failed(Failure::UnaskedUpgrade)),
            101 => receiving.phase = Phase::Switched,
            _ if tunnel => receiving.phase = Phase::Switched,
            _ => {
                // What came of the body goes to the client in the same write.
                let mut body = Body::new(answer.length);
                let rest = receiving.buffer.get(end..).unwrap_or_default();
                let seen = body
                    .advance(rest)
                    .map_err(|error| End::Failed(Failure::UpstreamBody(error)))?;
                receiving.followed += seen.consumed;
                receiving.phase = Phase::Body(body);
                self.record.response_bytes += seen.content;
            }
        }
        // A refused tunnel leaves open whose bytes come next.
        receiving.persistent = answer.persistent && (tunnel || !connect);
        let keep_alive = match persistence {
            Persistence::Upstreams => receiving.persistent,
            Persistence::KeepAlive => true,
            Persistence::Close => false,
        };
        self.record.answered(answer.status, keep_alive);
        if let Some(reason) = not_carried {
            self.record.not_carried(reason);
        }
        Ok(true)
    }

    /// Who decides how long the client's connection lives.
    fn persistence(&self, answer: &Response) -> Persistence {
        let is_ours = answer.version == Version::Http11
            && !self.head.hop_fields().is_empty()
            && answer.may_lose_connection();
        if !is_ours {
            return Persistence::Upstreams;
        }
        let close = !self.head.persistent
            || answer.length == Length::UntilClose
            || self.connection.is_closing();
        if close {
            Persistence::Close
        } else {
            Persistence::KeepAlive
        }
    }

    /// The client has the whole answer.
    fn finish_answer(&mut self) -> Result<(), End> {
        let sending = &self.sending;
        if sending.is_done() || sending.is_refused() || !self.receiving.persistent {
            return Err(self.complete());
        }
        // An answer may come before the end of the request; the upstream still reads the rest.
        self.receiving.phase = Phase::Over;
        Ok(())
    }

    /// The end of an exchange whose answer was passed on.
    pub(super) fn complete(&self) -> End {
        End::Complete {
            reuse: self.receiving.persistent
                && self.receiving.is_empty()
                && !self.head.closes_upstream()
                && self.sending.left_upstream_open(),
            request_is_over: self.sending.is_done(),
        }
    }

    fn read_answer(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        let buffers = &self.connection.worker().buffers;
        let receiving = &mut self.receiving;
        if self.upstream.stream.poll_readable(cx).is_pending() {
            if receiving.is_empty() {
                buffers.give(receiving.take_buffer());
            }
            return Ok(Poll::Pending);
        }
        if receiving.is_empty() {
            receiving.buffer.clear();
            if receiving.buffer.capacity() == 0 {
                receiving.buffer = buffers.take(receiving.size);
            }
        } else {
            receiving.buffer.drain(..receiving.flushed);
            if receiving.buffer.len() == receiving.buffer.capacity() {
                // A head that is still below its limit.
                let grown = buffers.grown(std::mem::take(&mut receiving.buffer));
                receiving.buffer = grown;
            }
        }
        (receiving.flushed, receiving.followed) = (0, 0);
        let room = receiving.buffer.capacity() - receiving.buffer.len();
        match self.upstream.stream.poll_read(cx, &mut receiving.buffer) {
            Poll::Pending => {
                if receiving.is_empty() {
                    buffers.give(receiving.take_buffer());
                }
                Ok(Poll::Pending)
            }
            Poll::Ready(Ok(n)) if n > 0 => {
                receiving.has_begun = true;
                receiving.size = Size::next(n, room);
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Ok(_)) => Err(self.upstream_ended(true)),
            Poll::Ready(Err(_)) => Err(self.upstream_ended(false)),
        }
    }

    /// The upstream has ended the connection, `properly` or by a reset.
    fn upstream_ended(&mut self, properly: bool) -> End {
        match self.receiving.phase {
            Phase::Head if !self.receiving.has_begun => End::Silent {
                may_repeat: self.sending.can_repeat() && self.was_not_served(properly),
            },
            Phase::Body(body) if properly && body.ends_with_connection() => self.complete(),
            Phase::Over => End::Complete {
                reuse: false,
                request_is_over: false,
            },
            Phase::Head | Phase::Body(_) | Phase::Switched => {
                self.failure(Failure::UpstreamTruncated)
            }
        }
    }
}

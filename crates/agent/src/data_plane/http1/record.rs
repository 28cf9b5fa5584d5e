//! What is known of one request, reported once when it is over.
//!
//! Every layer that learns something of a request notes it in its [`Record`]; telemetry and access log are told by nobody else.
//! Exactly one report is made, also when the task of the request is dropped.

use std::{
    cell::Cell,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use super::{
    body::{Body, BodyError},
    head::{Request, Span},
};
use crate::data_plane::{
    access_log::{Http, Line},
    captured::Connection,
    edits::Edit,
    error::{Failure, Flag},
    net::Size,
    pool::Upstream,
    target::Target,
    tcp::Traffic,
    telemetry::{Code, Key, Security, Service},
};
use crate::peer::Party;

/// One request, from its head to the last byte of its answer.
///
/// Dropping it reports it, so a request whose task ends early is counted and logged, too.
pub(super) struct Record<'a> {
    connection: &'a Connection,
    /// The request's head, the beginning of its body, all of it where it is short, and whatever was pipelined behind.
    pub(super) buffer: Vec<u8>,
    /// Where the request ends in `buffer`.
    pub(super) end: usize,
    /// Where its body stands there.
    pub(super) body: Body,
    /// The client's connection can serve another request after this one.
    pub(super) keep_alive: bool,
    /// Content bytes of the request's body.
    pub(super) request_bytes: u64,
    /// Content bytes of the answer's body.
    pub(super) response_bytes: u64,
    /// The status that the client was sent.
    pub(super) status: u16,
    pub(super) service: Service,
    peer: Party,
    security: Security,
    /// Bytes of the tunnel that the request became.
    pub(super) traffic: Traffic,
    head: Option<Request>,
    details: &'static str,
    transport_failure: Option<&'static str>,
    flag: Flag,
    /// The request was sent more than once.
    is_retried: bool,
    upstream: Option<(SocketAddr, Option<SocketAddr>)>,
    first_byte: Option<Instant>,
    started: Instant,
    ended: Cell<Option<Instant>>,
    is_reported: bool,
}

// === impl Record ===

impl<'a> Record<'a> {
    /// A request begins; `head` is `None` if it could not be understood.
    pub(super) fn new(connection: &'a Connection, buffer: Vec<u8>, head: Option<&Request>) -> Self {
        let buffer = connection.worker().buffers.settled(buffer);
        Self {
            connection,
            end: buffer.len(),
            body: Body::default(),
            keep_alive: head.is_some_and(|head| head.persistent),
            request_bytes: 0,
            response_bytes: 0,
            status: 0,
            service: connection.service(),
            peer: connection.client(head.map_or(&[], |head| head.peer_metadata.of(&buffer))),
            security: Security::of(connection.identity().is_some()),
            traffic: Traffic::default(),
            head: head.copied(),
            details: "via_upstream",
            transport_failure: None,
            // Whoever drops the record without another word has lost the client.
            flag: Flag::DownstreamClosed,
            is_retried: false,
            upstream: None,
            first_byte: None,
            started: Instant::now(),
            ended: Cell::new(None),
            is_reported: false,
            buffer,
        }
    }

    /// Notes where the request goes.
    pub(super) fn target(&mut self, target: &Target) {
        self.service = target.service.clone();
        self.peer = self.connection.peer_of(&self.peer, target);
        self.is_retried = target.n_retries() > 0;
        self.upstream = None;
    }

    /// Notes who serves the request.
    pub(super) fn upstream(&mut self, upstream: &Upstream) {
        if self.connection.calls() {
            self.peer = upstream.party.clone();
            self.security = Security::of(upstream.stream.peer().is_some());
        }
        self.upstream = Some((upstream.key.address, upstream.local));
    }

    /// The final answer has begun.
    pub(super) fn answered(&mut self, status: u16, persistent: bool) {
        self.status = status;
        self.keep_alive &= persistent;
        self.flag = Flag::None;
        if self.connection.logs() {
            self.first_byte = Some(Instant::now());
        }
    }

    /// The answer that has begun is another sidecar's own, which could not carry the request for this reason.
    pub(super) fn not_carried(&mut self, reason: &'static str) {
        self.details = reason;
        if self.is_retried {
            self.flag = Flag::RetryLimit;
        }
    }

    /// The request went wrong.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.flag = match self.is_retried {
            true => failure.flag().after_retries(),
            false => failure.flag(),
        };
        self.details = failure.code();
        self.transport_failure = failure.transport_failure();
    }

    /// The request was answered by the proxy itself.
    pub(super) fn refused(&mut self, failure: &Failure, body_bytes: usize) {
        self.fail(failure);
        self.status = failure.status();
        self.response_bytes = body_bytes as u64;
    }

    /// Whether the request was a HEAD request, whose answers have no body.
    pub(super) fn wants_no_body(&self) -> bool {
        self.head
            .is_some_and(|head| head.method == super::head::Method::Head)
    }

    /// When the request ended; the first call decides.
    pub(super) fn ended(&self) -> Instant {
        let ended = self.ended.get().unwrap_or_else(Instant::now);
        self.ended.set(Some(ended));
        ended
    }

    /// A part of the request's head.
    pub(super) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.buffer)
    }

    /// Makes the head that arrived, `len` bytes of the buffer, the one that is sent on.
    pub(super) fn edit(&mut self, head: &mut Request, len: usize, edit: &Edit<'_>) {
        let edited = head.edit(
            &mut self.buffer,
            len,
            edit.removed.and(head.hop_fields()),
            &[&edit.added],
        );
        self.end = (self.end + edited).saturating_sub(len);
        self.head = Some(*head);
    }

    /// Follows the body through bytes that were added to the buffer.
    pub(super) fn follow_body(&mut self) -> Result<(), BodyError> {
        let rest = self.buffer.get(self.end..).unwrap_or_default();
        let seen = self.body.advance(rest)?;
        self.request_bytes += seen.content;
        self.end += seen.consumed;
        Ok(())
    }

    /// Whether the rest of the body is to be read into the buffer, so that the request can be sent again.
    pub(super) fn keeps_on(&self) -> bool {
        let most = Size::Small.bytes().saturating_sub(self.buffer.len()) as u64;
        !self.body.is_done() && most > 0 && self.body.content_ahead() <= most
    }

    /// Makes room in the buffer for what is kept.
    pub(super) fn make_room(&mut self) {
        let room = self.buffer.capacity() - self.buffer.len();
        if (room as u64) < self.body.content_ahead().max(1) {
            let buffers = &self.connection.worker().buffers;
            self.buffer = buffers.grown(std::mem::take(&mut self.buffer));
        }
    }

    /// What follows the request, taken out; the rest of the buffer shrinks to what the log will need, as tunnels last long.
    pub(super) fn take_rest(&mut self, connection: &Connection) -> Vec<u8> {
        let rest = self.buffer.split_off(self.end.min(self.buffer.len()));
        if connection.logs() {
            self.buffer.shrink_to_fit();
        } else {
            connection
                .worker()
                .buffers
                .give(std::mem::take(&mut self.buffer));
            self.end = 0;
        }
        rest
    }

    /// Reports the request and gives the buffer with what follows it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.report();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.drain(..self.end.min(buffer.len()));
        buffer
    }

    fn report(&mut self) {
        if std::mem::replace(&mut self.is_reported, true) {
            return;
        }
        let Some(reporter) = self.connection.reporter() else {
            return;
        };
        let duration = self.ended().saturating_duration_since(self.started);
        let received = self.request_bytes + self.traffic.received();
        let sent = self.response_bytes + self.traffic.sent();
        let key = Key {
            reporter,
            peer: &self.peer,
            service: &self.service,
            code: Code::Http(self.status),
            flag: self.flag,
            security: self.security,
        };
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let worker = self.connection.worker();
        worker
            .telemetry
            .http(key, |series| series.request(micros, received, sent));
        if self.connection.logs() {
            worker.log(&self.line(duration, received, sent));
        }
    }

    fn line(&self, duration: Duration, bytes_received: u64, bytes_sent: u64) -> Line<'_> {
        let head = self.head.as_ref();
        let text = |span: fn(&Request) -> Span| head.map_or(&[][..], |head| self.text(span(head)));
        Line {
            started: SystemTime::now() - duration,
            http: Some(Http {
                method: text(|head| head.method_text),
                path: text(|head| head.target),
                protocol: head.map_or("HTTP/1.1", |head| head.version.as_str()),
                forwarded_for: text(|head| head.forwarded_for),
                user_agent: text(|head| head.user_agent),
                request_id: text(|head| head.request_id),
                authority: text(|head| head.authority),
            }),
            status: self.status,
            flags: self.flag.as_str(),
            details: Some(self.details),
            termination: None,
            transport_failure: self.transport_failure,
            bytes_received,
            bytes_sent,
            duration,
            upstream_time: self
                .first_byte
                .map(|first| first.saturating_duration_since(self.started)),
            upstream_host: self.upstream.map(|(host, _)| host),
            upstream_local: self.upstream.and_then(|(_, local)| local),
            cluster: self.connection.cluster(&self.service),
            downstream_local: self.connection.destination(),
            downstream_remote: self.connection.peer(),
            server_name: self.connection.server_name(),
            route: Some(self.connection.route_name(&self.service)),
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            if self.flag == Flag::DownstreamClosed {
                self.details = Failure::Cancelled.code();
            }
            self.report();
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.connection.worker().buffers.give(buffer);
    }
}

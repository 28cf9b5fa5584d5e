//! HTTP/1 connections: one request after the other, each routed on its own.
//!
//! [`serve`] owns a client's connection. It reads a head, asks for the route, takes an upstream connection from the pool or dials one,
//! and lets an [`exchange`] carry the bytes; what was pipelined behind a request waits in the same buffer. Bytes are passed on
//! unchanged, and nothing that two receivers could frame differently is passed on at all.

pub(super) mod body;
mod exchange;
pub(super) mod head;
mod input;
mod record;
mod reply;
pub(super) mod scan;

pub(crate) use body::BodyError;
pub(crate) use head::{FieldSet, HeadError, Request};

use std::{future::poll_fn, time::Instant};

use body::Body;
use exchange::End;
use input::{Input, Next};
use record::Record;

use super::{
    captured::{Connection, Decision, Use},
    error::Failure,
    net::Stream,
    pool::Upstream,
    target::Target,
    tcp,
};

/// What becomes of the client's connection after a request.
enum After {
    /// It may send another.
    KeepAlive,
    /// It ends as both sides have agreed.
    Close,
    /// It broke in the middle of something, and must not look as if it had ended well.
    Cut,
    /// It is closed once the client has had time to read what was sent, although it may still be sending.
    Linger,
}

/// Why a connection is not busy any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Its client has not asked for anything for a while.
    Quiet,
    /// It has ended.
    Over,
}

/// Serves every request of a connection.
///
/// `first` holds what was already read; `dialled` is a connection to the upstream that protocol detection had to open.
pub(crate) async fn serve(
    connection: &Connection,
    mut downstream: Stream,
    first: Vec<u8>,
    dialled: Option<Upstream>,
) {
    if let Some(upstream) = dialled {
        connection.worker().pool.give(upstream, Instant::now());
    }
    let timeouts = &connection.worker().timeouts;
    let mut input = Input::new(first);
    let mut limit = timeouts.idle;
    loop {
        let next = poll_fn(|cx| input.poll_next(cx, connection, &mut downstream, limit)).await;
        if matches!(next, Next::End | Next::Quiet) {
            return downstream.close();
        }
        // On the heap, and only for as long as requests follow each other: thousands of connections idle, and the room that a request
        // takes is many times that of an idle connection.
        let busy = Box::pin(serve_busy(connection, &mut downstream, &mut input, next));
        if busy.await == Pause::Over {
            return;
        }
        limit = timeouts.idle_rest;
    }
}

/// Serves requests until the client makes a pause; `next` is the first one.
async fn serve_busy(
    connection: &Connection,
    downstream: &mut Stream,
    input: &mut Input,
    mut next: Next,
) -> Pause {
    let limit = connection.worker().timeouts.busy;
    loop {
        let after = match next {
            Next::Quiet => return Pause::Quiet,
            Next::End => After::Close,
            Next::Head(len) => request(connection, downstream, input, len).await,
            Next::Refused(failure) => {
                let record = Record::new(connection, input.take(), None);
                Box::pin(refuse_garbage(connection, downstream, record, failure)).await
            }
        };
        match after {
            After::KeepAlive if !connection.is_closing() => {}
            After::KeepAlive | After::Close => {
                downstream.close();
                return Pause::Over;
            }
            After::Cut => return Pause::Over,
            After::Linger => {
                Box::pin(reply::linger(connection, downstream)).await;
                return Pause::Over;
            }
        }
        next = poll_fn(|cx| input.poll_next(cx, connection, downstream, limit)).await;
    }
}

/// Serves the request whose head takes the first `len` bytes of `input`.
async fn request(
    connection: &Connection,
    downstream: &mut Stream,
    input: &mut Input,
    len: usize,
) -> After {
    let buffer = input.take();
    let parsed = head::parse_request(buffer.get(..len).unwrap_or_default());
    let mut record = Record::new(connection, buffer, parsed.as_ref().ok());
    let ready = parsed.map_err(Failure::RequestHead).and_then(|head| {
        record.body = Body::new(head.length);
        record.end = len;
        record.follow_body().map_err(Failure::RequestBody)?;
        Ok(head)
    });
    let mut head = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            return Box::pin(refuse_garbage(connection, downstream, record, failure)).await;
        }
    };
    let after = match carry(connection, downstream, &mut record, &mut head, len).await {
        Ok(after) => after,
        Err(failure) => refuse(connection, downstream, &mut record, failure).await,
    };
    input.put_back(connection, record.finish());
    after
}

/// Routes a request and lets it be carried; `Err` if the client has been told nothing yet.
async fn carry(
    connection: &Connection,
    downstream: &mut Stream,
    record: &mut Record<'_>,
    head: &mut Request,
    len: usize,
) -> Result<After, Failure> {
    let (path, host) = (record.text(head.target), record.text(head.authority));
    let mut target = match connection.route(head, path, host) {
        Decision::Forward(target) => target,
        Decision::Refuse(service, failure) => {
            record.service = service;
            return Err(failure);
        }
    };
    record.target(&target);
    let edit = connection.request_edit(&target, record.text(head.client_cert));
    record.edit(head, len, &edit);
    drop(edit);
    forward(connection, downstream, record, head, &mut target).await
}

/// Answers what is no request, behind which nothing can be understood.
///
/// Like everything rare it is put on the heap, where it is called: the task of every connection would hold the room.
async fn refuse_garbage(
    connection: &Connection,
    downstream: &mut Stream,
    mut record: Record<'_>,
    failure: Failure,
) -> After {
    reply::send(connection, downstream, &mut record, failure).await;
    After::Linger
}

/// Answers a request in the upstream's place. The connection stays open where the whole request was read.
async fn refuse(
    connection: &Connection,
    downstream: &mut Stream,
    record: &mut Record<'_>,
    failure: Failure,
) -> After {
    record.keep_alive &= record.body.is_done() && !matches!(failure, Failure::RequestBody(_));
    let keep_alive = record.keep_alive;
    let sent = Box::pin(reply::send(connection, downstream, record, failure)).await;
    match (sent, keep_alive) {
        (true, true) => After::KeepAlive,
        (true, false) => After::Linger,
        (false, _) => After::Cut,
    }
}

/// Carries a request to its target and the answer back; `Err` if the client has been told nothing yet.
async fn forward(
    connection: &Connection,
    downstream: &mut Stream,
    record: &mut Record<'_>,
    head: &Request,
    target: &mut Target,
) -> Result<After, Failure> {
    let mut pooled = true;
    loop {
        let dialled = connection.upstream(target, Use::Http { pooled }).await;
        if target.n_retries() > 0 {
            record.target(target);
        }
        let mut upstream = dialled?;
        record.upstream(&upstream);
        match exchange::run(connection, downstream, &mut upstream, record, head, target).await {
            End::Complete {
                reuse,
                request_is_over,
            } => {
                if reuse {
                    connection.worker().pool.give(upstream, record.ended());
                }
                return Ok(match (request_is_over, record.keep_alive) {
                    (true, true) => After::KeepAlive,
                    (true, false) => After::Close,
                    (false, _) => After::Linger,
                });
            }
            End::Tunnel(early) => {
                let to = &mut upstream.stream;
                return Ok(Box::pin(tunnel(connection, downstream, to, record, early)).await);
            }
            End::Silent { may_repeat: true } if upstream.reused => {
                connection.worker().telemetry.count_retry();
                target.repeat();
                pooled = false;
            }
            End::Silent { may_repeat } => {
                let failure = Failure::UpstreamClosed;
                if !may_repeat || !connection.move_on(target, failure.code()) {
                    return Err(failure);
                }
                pooled = true;
            }
            End::MovedOn => pooled = true,
            End::Failed(failure) => return Err(failure),
            End::Aborted(failure) => {
                record.fail(&failure);
                return Ok(After::Cut);
            }
        }
    }
}

/// Carries what both sides say in another protocol; `early` the upstream has said already.
async fn tunnel(
    connection: &Connection,
    downstream: &mut Stream,
    upstream: &mut Stream,
    record: &mut Record<'_>,
    early: Vec<u8>,
) -> After {
    let late = record.take_rest(connection);
    let traffic = &record.traffic;
    match tcp::pump(connection, downstream, upstream, late, early, traffic).await {
        Ok(()) => After::Close,
        Err(failure) => {
            record.fail(&failure);
            After::Cut
        }
    }
}

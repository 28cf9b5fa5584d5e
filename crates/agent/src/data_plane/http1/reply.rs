//! Answers that the proxy gives itself, and closing a connection so that the client can read them.
//!
//! [`serve`](super::serve) and its helpers come here when a request cannot be carried.
//! Every such answer names its reason in `x-mesh-error`, so it is not taken for the application's.

use std::{
    future::poll_fn,
    io::Write,
    task::{Poll, ready},
};

use contract::headers::MESH_ERROR;

use super::record::Record;
use crate::data_plane::{
    captured::Connection,
    error::Failure,
    net::{Size, Stream},
};

/// Most bytes that a client may go on sending to a connection that is being closed.
const MAX_LINGER: usize = 1024 * 1024;

/// Sends an answer that says what went wrong; false if the client did not take it.
pub(super) async fn send(
    connection: &Connection,
    downstream: &mut Stream,
    record: &mut Record<'_>,
    failure: Failure,
) -> bool {
    let body = format!("minimesh: {failure}\n");
    record.refused(&failure, body.len());
    let connection_option = if record.keep_alive && !connection.is_closing() {
        "keep-alive"
    } else {
        record.keep_alive = false;
        "close"
    };
    let mut answer = Vec::with_capacity(512);
    // Writing to memory does not fail.
    drop(write!(
        answer,
        "HTTP/1.1 {} {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n{MESH_ERROR}: {}\r\nconnection: {connection_option}\r\n\r\n",
        failure.status(),
        reason(failure.status()),
        body.len(),
        failure.code(),
    ));
    if !record.wants_no_body() {
        answer.extend_from_slice(body.as_bytes());
    }
    connection
        .slot()
        .expire_after(connection.worker().timeouts.head);
    let mut sent = 0;
    poll_fn(|cx| {
        while let Some(rest) = answer.get(sent..).filter(|rest| !rest.is_empty()) {
            if connection.slot().poll_expired(cx).is_ready() {
                return Poll::Ready(false);
            }
            match ready!(downstream.poll_write(cx, rest)) {
                Ok(n) if n > 0 => sent += n,
                Ok(_) | Err(_) => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    })
    .await
}

/// Ends our direction and reads on for a while: closing with unread bytes would reset the connection, and the client
/// could lose the answer.
pub(super) async fn linger(connection: &Connection, downstream: &mut Stream) {
    connection
        .slot()
        .expire_after(connection.worker().timeouts.linger);
    let buffers = &connection.worker().buffers;
    let mut read = 0;
    poll_fn(|cx| {
        // Fails only where the connection is gone already, which the read below shows.
        let _ = downstream.poll_shutdown(cx);
        loop {
            if read > MAX_LINGER || connection.slot().poll_expired(cx).is_ready() {
                return Poll::Ready(());
            }
            ready!(downstream.poll_readable(cx)).ok();
            let mut buffer = buffers.take(Size::Small);
            let some = downstream.poll_read(cx, &mut buffer);
            buffers.give(buffer);
            match ready!(some) {
                Ok(n) if n > 0 => read += n,
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// The reason phrase of a status that the proxy gives (RFC 9110 section 15).
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

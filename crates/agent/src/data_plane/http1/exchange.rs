//! One request to the upstream and its answer back, both at the same time.
//!
//! [`run`] moves whatever can move and gives an [`End`] once nothing more will. Each direction holds a buffer only while it has
//! bytes that the other side does not take yet, so a slow reader slows its writer down and costs one buffer. The request's first
//! bytes stay in its [`Record`], from which they can be sent again over another connection.

mod again;
mod receiving;
mod sending;

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use receiving::Receiving;
use sending::Sending;

use super::{head::Request, record::Record};
use crate::data_plane::{
    captured::Connection, error::Failure, net::Stream, pool::Upstream, target::Target,
};

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum End {
    /// The answer was passed on whole.
    Complete {
        /// The upstream connection can serve another request.
        reuse: bool,
        /// False if the client is still sending its request, which nobody reads any more.
        request_is_over: bool,
    },
    /// Both sides speak another protocol from now on; these bytes the upstream has said already.
    Tunnel(Vec<u8>),
    /// The upstream closed the connection before it said anything.
    Silent {
        /// The request is at hand and may be sent once more.
        may_repeat: bool,
    },
    /// The upstream's sidecar could not carry the request, which is at hand; the target is another one now.
    MovedOn,
    /// It went wrong before the client was told anything.
    Failed(Failure),
    /// It went wrong in the middle of the answer, or the client is gone.
    Aborted(Failure),
}

/// A request on its way and the answer on its way back.
struct Exchange<'a, 'c> {
    connection: &'a Connection,
    downstream: &'a mut Stream,
    upstream: &'a mut Upstream,
    record: &'a mut Record<'c>,
    head: &'a Request,
    target: &'a mut Target,
    sending: Sending,
    receiving: Receiving,
}

/// Carries one request and its answer. Where another sidecar could not carry it, `target` may be another one afterwards.
///
/// Dropping the future before its end loses what is in flight; both connections must be closed then.
pub(super) async fn run(
    connection: &Connection,
    downstream: &mut Stream,
    upstream: &mut Upstream,
    record: &mut Record<'_>,
    head: &Request,
    target: &mut Target,
) -> End {
    let mut exchange = Exchange {
        connection,
        downstream,
        upstream,
        record,
        head,
        target,
        sending: Sending::default(),
        receiving: Receiving::default(),
    };
    exchange.note_progress();
    poll_fn(|cx| exchange.poll(cx)).await
}

// === impl Exchange ===

impl Exchange<'_, '_> {
    /// Moves what can move.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.connection.slot().poll_expired(cx).is_ready() {
            return Poll::Ready(self.failure(Failure::IdleTimeout));
        }
        let moved = self.poll_sending(cx).and_then(|()| self.poll_receiving(cx));
        match moved {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn note_progress(&self) {
        let idle = self.connection.worker().timeouts.idle;
        self.connection.slot().expire_after(idle);
    }

    /// The end for a failure, depending on what the client has already seen.
    fn failure(&self, failure: Failure) -> End {
        if self.receiving.ends_with_connection() {
            // Only a reset tells the client that this is not the proper end.
            self.downstream.reset_on_close();
        }
        if self.receiving.has_answered() || matches!(failure, Failure::ClientClosed) {
            End::Aborted(failure)
        } else {
            End::Failed(failure)
        }
    }
}

impl Drop for Exchange<'_, '_> {
    fn drop(&mut self) {
        let buffers = &self.connection.worker().buffers;
        self.sending.give_back(buffers);
        self.receiving.give_back(buffers);
    }
}

//! The bodies of answers.
//!
//! Every handler makes a [`Body`], mostly of one small text; a page of metrics comes in pieces, each of which is given back to the
//! allocator once it is sent. Its length is known before its first byte leaves.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes to be sent.
#[derive(Debug, Default)]
pub struct Body {
    pieces: VecDeque<Bytes>,
    left: u64,
    /// What is given back when the last byte is on its way, or nobody wants it any more.
    held: Option<OwnedSemaphorePermit>,
}

// === impl Body ===

impl Body {
    /// All `pieces`, in their order; `held` is given back with them.
    pub(crate) fn of(pieces: VecDeque<Bytes>, held: OwnedSemaphorePermit) -> Self {
        Self {
            left: pieces.iter().map(|piece| piece.len() as u64).sum(),
            pieces,
            held: Some(held),
        }
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        Self {
            left: bytes.len() as u64,
            pieces: VecDeque::from([bytes]),
            held: None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        match &piece {
            Some(piece) => self.left -= piece.len() as u64,
            None => self.held = None,
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

//! Answers that take their time.
//!
//! [`until_sent`] is where a connection's requests become answers: one whose body is still being made occupies the connection until it
//! has ended, so that a stream of events never counts as idle. A body that is there as a whole is passed on as it is.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Response;
use hyper::body::{Frame, SizeHint};

use super::seats::Running;

/// A body, and the seat that it occupies.
struct Occupying {
    body: Body,
    _running: Running,
}

/// `response`, which counts as `running` until all of it is sent.
pub(super) fn until_sent(response: Response<Body>, running: Running) -> Response<Body> {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        Body::new(Occupying {
            body,
            _running: running,
        })
    })
}

// === impl Occupying ===

impl HttpBody for Occupying {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

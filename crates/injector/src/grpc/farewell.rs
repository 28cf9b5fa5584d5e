//! Streams that end when the program drains.
//!
//! [`layer`] wraps every answer of the gRPC listeners: a stream that is open when draining begins is ended with status UNAVAILABLE, between
//! two messages, and its client goes to another replica. Not all are ended at the same moment, so that they do not all arrive there
//! at the same moment either; answers that are under way are finished.

use std::{
    hash::{BuildHasher as _, RandomState},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    middleware,
    response::Response,
};
use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use runtime::lifecycle::Lifecycle;
use tokio::time;
use tonic::Status;

/// Over how long the farewells are spread: a small part of the time for draining.
const SPREAD: Duration = Duration::from_secs(3);

/// A body, and the moment at which it is time to go.
struct Leaving {
    body: Body,
    /// Nothing once farewell was said.
    time_to_go: Option<BoxFuture<'static, ()>>,
}

/// `router`, whose streams end when `life` drains.
pub fn layer(router: Router, life: Lifecycle) -> Router {
    let wrap = move |response: Response| {
        let life = life.clone();
        async move { until_draining(response, life) }
    };
    router.layer(middleware::map_response(wrap))
}

fn until_draining(response: Response, life: Lifecycle) -> Response {
    // What is there as a whole is sent at once.
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let time_to_go = async move {
        life.draining().await;
        time::sleep(SPREAD.mul_f64(share())).await;
    };
    response.map(|body| {
        Body::new(Leaving {
            body,
            time_to_go: Some(time_to_go.boxed()),
        })
    })
}

/// A random part of one.
fn share() -> f64 {
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}

/// The last words of a stream.
fn farewell() -> HeaderMap {
    let status = Status::unavailable("this replica of the control plane is going, connect again");
    let mut trailers = HeaderMap::new();
    // A fixed text can be written.
    let _ = status.add_header(&mut trailers);
    trailers
}

// === impl Leaving ===

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(time_to_go) = &mut self.time_to_go else {
            return Poll::Ready(None);
        };
        if time_to_go.poll_unpin(cx).is_pending() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        // The service hears of it by the end of its stream.
        *self = Self {
            body: Body::empty(),
            time_to_go: None,
        };
        Poll::Ready(Some(Ok(Frame::trailers(farewell()))))
    }

    fn is_end_stream(&self) -> bool {
        self.time_to_go.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

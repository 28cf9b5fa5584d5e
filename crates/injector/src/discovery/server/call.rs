//! The gRPC call of delta ADS: the only method of the service, and the frames of its stream.
//!
//! Made by hand where generated code would do, because of memory: that keeps for each stream a buffer as large as its largest response ever was, for as
//! long as the stream lasts, and there are thousands. Here each response is one frame that is gone once it is sent.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::extract::Request;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tonic::{
    Status, Streaming,
    body::Body,
    codec::{BufferSettings, DecodeBuf, Decoder},
    server::NamedService,
};
use tower_service::Service;
use wire::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_server::SERVICE_NAME,
};

use super::{Running, Server};
use crate::{
    grpc::{self, Caller},
    server::Retirement,
};

/// The method.
const METHOD: &str = "DeltaAggregatedResources";
/// What is allocated for requests before there is one. An acknowledgement has some hundred bytes.
const REQUEST_BYTES: usize = 256;
/// Of a message: whether it is compressed, in a byte, and its length, in four.
const PREFIX_BYTES: usize = 5;

/// Decodes requests.
struct Requests;

// === impl Server ===

impl NamedService for Server {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = match self.begin(request) {
            Ok(running) => begun(frames(running)),
            Err(status) => status.into_http(),
        };
        ready(Ok(response))
    }
}

impl Server {
    fn begin(&self, request: Request) -> Result<Running, Status> {
        let method = request.uri().path().rsplit('/').next();
        if method != Some(METHOD) {
            return Err(Status::unimplemented(format!(
                "only {METHOD} of {SERVICE_NAME} is served"
            )));
        }
        let (mut head, body) = request.into_parts();
        let caller = head.extensions.remove::<Caller>();
        let caller = caller.ok_or_else(|| Status::unauthenticated("the call has no caller"))?;
        let retirement = head.extensions.remove::<Retirement>().unwrap_or_default();
        // Nobody compresses what he is not told that he may.
        let inbound = Streaming::new_request(Requests, body, None, Some(grpc::MAX_MESSAGE_BYTES));
        self.open(caller, retirement, inbound)
    }
}

/// A response that has begun; how it ends is in its trailers.
fn begun(
    frames: impl Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static,
) -> http::Response<Body> {
    let mut response = http::Response::new(Body::new(StreamBody::new(frames)));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn frames(running: Running) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static {
    stream::unfold(Some(Box::new(running)), |running| async {
        let mut running = running?;
        let (frame, running) = match running.next().await {
            Ok(Some(response)) => (Frame::data(message(&response)), Some(running)),
            Ok(None) => (Frame::trailers(trailers(&Status::ok(""))), None),
            Err(status) => (Frame::trailers(trailers(&status)), None),
        };
        Some((Ok(frame), running))
    })
}

/// A message as gRPC frames it.
fn message(response: &DeltaDiscoveryResponse) -> Bytes {
    let length = response.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    // A response is full long before a length does not fit.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    response.encode_raw(&mut bytes);
    bytes.freeze()
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // What cannot be written as a header is percent-encoded.
    let _ = status.add_header(&mut trailers);
    trailers
}

// === impl Requests ===

impl Decoder for Requests {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let request = DeltaDiscoveryRequest::decode(bytes);
        request.map(Some).map_err(|error| {
            Status::invalid_argument(format!("a message is no DeltaDiscoveryRequest: {error}"))
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(REQUEST_BYTES, grpc::MAX_MESSAGE_BYTES)
    }
}

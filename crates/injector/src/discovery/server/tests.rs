//! Streams over real connections, well-behaved and other.

use std::net::SocketAddr;

use axum::{Extension, Router};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::SendRequest,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::registry::Registry;
use prost::Name as _;
use runtime::{lifecycle::Lifecycle, readiness::Readiness, task::Group};
use tokio::{net::TcpStream, sync::mpsc};
use tonic::body::Body;
use wire::{core::Node, workload::Address};

use super::*;
use crate::{
    discovery::{
        model::Cluster,
        object::{Key, Labels, Pod, PodState},
    },
    grpc, server,
};

const SOON: Duration = Duration::from_secs(30);
const PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// A server without TLS whose callers are all the pod `web-0` of `shop`.
struct Fixture {
    address: SocketAddr,
    catalog: Catalog,
    tasks: Group,
}

/// A connection, and when it has ended.
struct Wire {
    sender: SendRequest<Body>,
    ended: watch::Receiver<bool>,
}

/// A stream of raw bytes, as somebody would send them who knows no better.
struct Raw {
    requests: mpsc::Sender<Bytes>,
    responses: Incoming,
    buffered: BytesMut,
}

// === impl Fixture ===

impl Fixture {
    async fn start(limits: Limits) -> Self {
        let catalog = Catalog::new(Cluster::default());
        catalog.complete();
        let metrics = Metrics::register(&mut Registry::default());
        let caller = Caller {
            namespace: "shop".into(),
            service_account: "web".into(),
            pod: Some(grpc::Pod {
                name: "web-0".into(),
                uid: "1".into(),
            }),
        };
        let server = Server::new(catalog.clone(), metrics, limits);
        let router = Router::new().route_service("/{service}/{*method}", server);
        let router = router.layer(Extension(caller));
        let any = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let listener = server::Listener::bind("test", "--test", any);
        let listener = listener.await.expect("a port");
        let (address, tasks) = (listener.address(), Group::new());
        let drain = server::Drain {
            life: Lifecycle::new(Readiness::new(), Duration::ZERO),
            delay: Duration::ZERO,
        };
        tasks.spawn("server", async move {
            let served = listener.serve(router, None, server::Limits::grpc(), drain);
            served.await.expect("the socket works");
        });
        Self {
            address,
            catalog,
            tasks,
        }
    }

    async fn connect(&self) -> Wire {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let (end, ended) = watch::channel(false);
        self.tasks.spawn("connection", async move {
            drop(connection.await);
            end.send_replace(true);
        });
        Wire { sender, ended }
    }

    /// A pod is ready, or is not.
    fn change(&self, serves: bool) {
        let text = crate::discovery::object::Text::from;
        let pod = Pod {
            addresses: Box::new([[10, 0, 0, 1].into()]),
            labels: Labels::default(),
            service_account: text("web"),
            node: text("one"),
            workload_name: text("web"),
            workload_type: wire::workload::WorkloadType::Pod,
            canonical_name: text("web"),
            canonical_revision: text("latest"),
            state: PodState {
                serves,
                host_network: false,
                sidecar: true,
            },
        };
        let key = Key::new("shop", "web-0");
        self.catalog.edit(|model| model.set_pod(&key, Some(pod)));
        assert_eq!(self.catalog.settle(), 1);
    }
}

// === impl Wire ===

impl Wire {
    async fn open(&mut self) -> Raw {
        let (requests, receiver) = mpsc::channel::<Bytes>(1);
        let frames = stream::unfold(receiver, |mut receiver| async {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, Status>(Frame::data(bytes)), receiver))
        });
        let request = Request::post(format!("http://istiod{PATH}"))
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            )
            .body(Body::new(StreamBody::new(frames)))
            .expect("a request");
        let response = self.sender.send_request(request).await.expect("an answer");
        Raw {
            requests,
            responses: response.into_body(),
            buffered: BytesMut::new(),
        }
    }
}

// === impl Raw ===

impl Raw {
    /// Sends the request, framed.
    async fn ask(&self, request: &DeltaDiscoveryRequest) {
        let sent = self.requests.send(framed(&request.encode_to_vec())).await;
        sent.expect("the stream goes on");
    }

    /// The next response, or how the stream ended.
    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        loop {
            if let Some(mut prefix) = self.buffered.get(1..5) {
                let end = 5 + prefix.get_u32() as usize;
                if self.buffered.len() >= end {
                    let message = self.buffered.split_to(end);
                    return Ok(DeltaDiscoveryResponse::decode(&message[5..]).expect("a response"));
                }
            }
            let frame = time::timeout(SOON, self.responses.frame()).await;
            let frame = frame.expect("in time").expect("it ends with trailers");
            match frame.expect("no reset").into_data() {
                Ok(bytes) => self.buffered.extend_from_slice(&bytes),
                Err(trailers) => return Err(status(&trailers.into_trailers().expect("trailers"))),
            }
        }
    }

    /// The next response, acknowledged.
    async fn hear(&mut self) -> DeltaDiscoveryResponse {
        let response = self.next().await.expect("a response");
        self.ask(&DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
        response
    }
}

fn status(trailers: &HeaderMap) -> Status {
    Status::from_header_map(trailers).expect("a status")
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("short"));
    bytes.put_slice(message);
    bytes.freeze()
}

fn everything() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node {
            id: "sidecar~10.0.0.1~web-0.shop~x".to_owned(),
            ..Node::default()
        }),
        type_url: Address::type_url(),
        resource_names_subscribe: vec!["*".to_owned()],
        ..DeltaDiscoveryRequest::default()
    }
}

#[tokio::test]
async fn an_old_stream_ends_and_its_connection_with_it() {
    let fixture = Fixture::start(Limits {
        age: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut wire = fixture.connect().await;
    let mut stream = wire.open().await;
    stream.ask(&everything()).await;
    stream.hear().await;
    let status = stream.next().await.expect_err("it is old");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    // The client holds the connection open; it is the server who ends it.
    let ended = time::timeout(SOON, wire.ended.wait_for(|ended| *ended)).await;
    ended.expect("the connection ends").expect("it is told");
    assert!(wire.sender.is_closed());
    let mut stream = fixture.connect().await.open().await;
    stream.ask(&everything()).await;
    stream.hear().await;
}

#[tokio::test]
async fn what_is_no_request_ends_the_stream_that_it_came_by_and_no_other() {
    let fixture = Fixture::start(Limits::default()).await;
    let mut wire = fixture.connect().await;
    let mut good = wire.open().await;
    good.ask(&everything()).await;
    good.hear().await;
    let huge = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    let compressed = Bytes::from_static(&[1, 0, 0, 0, 1, 0]);
    let table = [
        (framed(b"\xff\xff\xff not a message"), Code::InvalidArgument),
        (framed(b""), Code::InvalidArgument),
        (huge, Code::OutOfRange),
        (compressed, Code::Internal),
        (
            Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
            Code::Internal,
        ),
    ];
    for (serves, (garbage, code)) in [true, false].into_iter().cycle().zip(table) {
        let mut bad = wire.open().await;
        bad.requests.send(garbage.clone()).await.expect("sent");
        let status = bad.next().await.expect_err("it is refused");
        assert_eq!(status.code(), code, "{garbage:?} {status}");
        fixture.change(serves);
        assert_eq!(good.hear().await.resources.len(), 1);
    }
}

#[tokio::test]
async fn whoever_floods_waits_and_nobody_waits_with_him() {
    let fixture = Fixture::start(Limits {
        requests: 10,
        ..Limits::default()
    })
    .await;
    let mut bad = fixture.connect().await.open().await;
    bad.ask(&everything()).await;
    let mut request = everything();
    request.response_nonce = "x".repeat(1000);
    let message = framed(&request.encode_to_vec());
    let flood = async {
        for _ in 0..10_000 {
            bad.requests.send(message.clone()).await.expect("sent");
        }
    };
    let good = async {
        let mut good = fixture.connect().await.open().await;
        good.ask(&everything()).await;
        good.hear().await;
        for round in 0..5 {
            fixture.change(round % 2 == 0);
            assert_eq!(good.hear().await.resources.len(), 1);
        }
    };
    tokio::select! {
        () = flood => panic!("ten megabytes were taken at once"),
        () = good => {}
    }
    // What was not taken is with the client; what was is answered in the end.
    assert!(bad.next().await.is_ok());
}

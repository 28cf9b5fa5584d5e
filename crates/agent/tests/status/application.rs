//! Small applications for probes to ask: plain and TLS, HTTP/1 and HTTP/2, gRPC health.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agent::client::Version;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// A server on a port of 127.0.0.1 that ends when it is dropped.
pub(crate) struct Application {
    pub(crate) port: u16,
    /// How many connections it has accepted.
    pub(crate) n_connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

type Body = BoxBody<Bytes, Infallible>;

// === impl Application ===

impl Application {
    /// A web server.
    pub(crate) async fn http() -> Self {
        Self::start(|stream| async move {
            let service =
                service_fn(|request| async move { Ok::<_, Infallible>(page(&request).await) });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        })
        .await
    }

    /// The same behind TLS with a certificate that nobody has signed, in one version of HTTP.
    pub(crate) async fn https(version: Version) -> Self {
        let acceptor = acceptor(version);
        Self::start(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service =
                    service_fn(|request| async move { Ok::<_, Infallible>(page(&request).await) });
                match version {
                    Version::Http1 => drop(
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    ),
                    Version::Http2 => serve_http2(stream, service).await,
                }
            }
        })
        .await
    }

    /// A gRPC server with the standard health service; the name of the service that is asked about tells what to answer.
    pub(crate) async fn grpc() -> Self {
        Self::start(|stream| async move {
            let service =
                service_fn(|request| async { Ok::<_, Infallible>(health(request).await) });
            serve_http2(stream, service).await;
        })
        .await
    }

    async fn start<F>(serve: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        let n_connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&n_connections);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream));
            }
        });
        Self {
            port,
            n_connections,
            _tasks: tasks,
        }
    }
}

async fn serve_http2<IO, S, F>(stream: IO, service: S)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = Infallible,
            Future = F,
        >,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let connection = http2::Builder::new(TokioExecutor::new());
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn page(request: &Request<Incoming>) -> Response<Body> {
    let (status, body) = match request.uri().path() {
        "/" => (200, "hello\n".to_owned()),
        "/broken" => (500, "out of order\n".to_owned()),
        "/large" => (200, "x".repeat(100 * 1024)),
        "/headers" => (200, headers(request)),
        "/metrics-text" => (
            200,
            "# TYPE app_requests_total counter\napp_requests_total 7\n".to_owned(),
        ),
        "/metrics-open" => (
            200,
            "# TYPE app_seconds gauge\napp_seconds 1\n# EOF\n".to_owned(),
        ),
        "/redirect" => (302, "moved\n".to_owned()),
        "/circle" => (302, String::new()),
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            (200, String::new())
        }
        _ => (404, "no such page\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body).boxed());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    let location = match (request.uri().path(), request.uri().query()) {
        ("/circle", _) => Some("/circle"),
        ("/redirect", Some(query)) => query.strip_prefix("to="),
        _ => None,
    };
    if request.uri().path() == "/metrics-open" {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert("content-type", content_type);
    }
    if let Some(location) = location {
        let location = HeaderValue::from_str(location).unwrap();
        response.headers_mut().insert("location", location);
    }
    response
}

/// What the probe sent, a line for each header; HTTP/2 has the host elsewhere.
fn headers(request: &Request<Incoming>) -> String {
    let mut lines = String::new();
    for (name, value) in request.headers() {
        lines.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    if let Some(authority) = request.uri().authority() {
        lines.push_str(&format!("host: {authority}\n"));
    }
    lines
}

async fn health(request: Request<Incoming>) -> Response<Body> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let service = match message.get(7..) {
        Some(name) => String::from_utf8(name.to_vec()).unwrap(),
        None => String::new(),
    };
    match service.as_str() {
        "" | "serving" => grpc_answer(&[0, 0, 0, 0, 2, 8, 1]),
        "not-serving" => grpc_answer(&[0, 0, 0, 0, 2, 8, 2]),
        "garbage" => grpc_answer(&[0, 0, 0, 0, 9, 8, 1]),
        "page" => Response::new(Full::from("hello").boxed()),
        "slow" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            grpc_answer(&[])
        }
        _ => Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .body(Full::default().boxed())
            .unwrap(),
    }
}

fn grpc_answer(message: &'static [u8]) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Frame::data(Bytes::from_static(message)),
        Frame::trailers(trailers),
    ];
    Response::builder()
        .header("content-type", "application/grpc")
        .body(BoxBody::new(Frames(frames.into_iter().collect())))
        .unwrap()
}

/// A body of frames that are all there.
struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn acceptor(version: Version) -> TlsAcceptor {
    let certified = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(
        certified.signing_key.serialize_der(),
    ));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = match version {
        Version::Http1 => vec![b"http/1.1".to_vec()],
        Version::Http2 => vec![b"h2".to_vec()],
    };
    TlsAcceptor::from(Arc::new(config))
}

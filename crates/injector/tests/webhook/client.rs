//! A small HTTPS client, for both versions of HTTP and of TLS.

use std::{io, net::SocketAddr, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use injector::webhook::tls::provider;
use runtime::task::Group;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::TLS13,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How a client talks.
#[derive(Clone, Copy)]
pub(crate) struct Speech {
    pub(crate) alpn: &'static str,
    pub(crate) tls: &'static SupportedProtocolVersion,
}

/// One connection.
pub(crate) struct Client {
    sender: Sender,
    address: SocketAddr,
    /// Drives the connection.
    _tasks: Group,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) const HTTP_1: Speech = Speech {
    alpn: "http/1.1",
    tls: &TLS13,
};
pub(crate) const HTTP_2: Speech = Speech {
    alpn: "h2",
    tls: &TLS13,
};

/// A TLS connection to `address`, trusting `certificate` only.
pub(crate) async fn handshake(
    address: SocketAddr,
    certificate: &CertificateDer<'static>,
    speech: Speech,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[speech.tls])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![speech.alpn.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, TcpStream::connect(address).await?)
        .await
}

// === impl Client ===

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        certificate: &CertificateDer<'static>,
        speech: Speech,
    ) -> io::Result<Self> {
        let stream = TokioIo::new(handshake(address, certificate, speech).await?);
        let tasks = Group::new();
        let sender = if speech.alpn == "h2" {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
                .await
                .map_err(io::Error::other)?;
            tasks.spawn("client connection", async { drop(connection.await) });
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
            tasks.spawn("client connection", async { drop(connection.await) });
            Sender::Http1(sender)
        };
        Ok(Self {
            sender,
            address,
            _tasks: tasks,
        })
    }

    /// Sends `body` to `path`; an empty `content_type` sends none.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Body,
    ) -> hyper::Result<Answer> {
        let mut request = Request::builder().method(method);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                let request = request
                    .uri(path)
                    .header(header::HOST, "localhost")
                    .body(body)
                    .expect("a well-formed request");
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                let uri = format!("https://localhost:{}{path}", self.address.port());
                let request = request.uri(uri).body(body).expect("a well-formed request");
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        Answer::read(response).await
    }

    /// Sends a review, and gives the status and the answered review.
    pub(crate) async fn review(&mut self, path: &str, review: &Value) -> (StatusCode, Value) {
        let body = Body::from(review.to_string());
        let answer = self
            .send(Method::POST, path, "application/json", body)
            .await
            .expect("an answer");
        let json = serde_json::from_slice(&answer.body).expect("an answer in JSON");
        (answer.status, json)
    }

    /// `GET path`.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, "", Body::empty())
            .await
            .expect("an answer")
    }
}

// === impl Answer ===

impl Answer {
    async fn read(response: http::Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

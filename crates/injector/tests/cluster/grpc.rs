//! A sidecar's side of gRPC: a connection over TLS, or without, and a token.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use runtime::task::Group;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{Request, Status, body::Body};
use tower_service::Service;
use wire::ca::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};

use crate::fixture::SYSTEM;

/// A connection.
#[derive(Clone)]
pub(crate) struct Channel(SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Channel {
    /// Over TLS, which `roots` vouch for.
    pub(crate) async fn connect(address: SocketAddr, roots: &str, tasks: &Group) -> Self {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            store.add(certificate.expect("PEM")).expect("a root");
        }
        let provider = injector::webhook::tls::provider();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(format!("istiod.{SYSTEM}.svc")).expect("a name");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("a certificate that sidecars accept");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(stream, tasks).await
    }

    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        tasks: &Group,
    ) -> Self {
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tasks.spawn("connection", async move { drop(connection.await) });
        Self(sender)
    }

    /// Asks for a certificate with `token`.
    pub(crate) async fn certify(
        &self,
        token: Option<&str>,
        asked: IstioCertificateRequest,
    ) -> Result<Vec<String>, Status> {
        let mut request = Request::new(asked);
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        let origin = http::Uri::from_static("https://istiod.istio-system.svc:15012");
        let mut client = IstioCertificateServiceClient::with_origin(self.clone(), origin);
        let answer = client.create_certificate(request).await?;
        Ok(answer.into_inner().cert_chain)
    }
}

//! The server's side of a control plane that a test plays: TLS by a root of the test's, HTTP/2, and whatever service the test brings.
//!
//! Shared by the tests of certificates and of discovery, each of which has its own service on top.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use agent::control_plane::Endpoint;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use runtime::task::Group;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use testkit::pki::{
    Root,
    rcgen::{CertificateParams, SanType},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tower_service::Service;

/// The name that the control plane's certificate is for.
pub(crate) const NAME: &str = "istiod.istio-system.svc";
/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// By what the server proves who it is; clones share it.
#[derive(Clone)]
pub(crate) struct Proof(Arc<Mutex<Arc<ServerConfig>>>);

/// A server that listens, which ends with this.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    group: Group,
}

// === impl Proof ===

impl Proof {
    /// A certificate of `root` for [`NAME`].
    pub(crate) fn new(root: &Root) -> Self {
        Self(Arc::new(Mutex::new(config(root, |_| ()))))
    }

    /// From the next connection on the certificate is one of `root`, made after `change`.
    pub(crate) fn change(&self, root: &Root, change: impl FnOnce(&mut CertificateParams)) {
        *self.0.lock().unwrap() = config(root, change);
    }

    /// From the next connection on the server agrees on this protocol.
    pub(crate) fn speak(&self, alpn: &[u8]) {
        let mut current = self.0.lock().unwrap();
        let mut config = ServerConfig::clone(&current);
        config.alpn_protocols = vec![alpn.to_vec()];
        *current = Arc::new(config);
    }

    /// Serves at `address`; the kernel chooses a port in place of 0.
    pub(crate) async fn listen<S>(&self, address: SocketAddr, service: S) -> Listening
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let listening = Listening {
            address: listener.local_addr().unwrap(),
            group: Group::new(),
        };
        let (proof, group) = (self.clone(), listening.group.clone());
        let token = group.token().clone();
        listening.group.spawn("control plane", async move {
            let accepting = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let config = Arc::clone(&proof.0.lock().unwrap());
                    let (service, token) = (service.clone(), group.token().clone());
                    group.spawn("connection of a sidecar", async move {
                        let serving = async {
                            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                serve(stream, service).await;
                            }
                        };
                        token.run_until_cancelled(serving).await;
                    });
                }
            };
            token.run_until_cancelled(accepting).await;
        });
        listening
    }
}

// === impl Listening ===

impl Listening {
    /// Where it is, verified by its name against the roots in `file`.
    pub(crate) fn endpoint(&self, file: &Path) -> Endpoint {
        let endpoint = Endpoint::parse(&self.address.to_string()).unwrap();
        endpoint.named(NAME).unwrap().rooted_in(file.to_owned())
    }

    /// Goes away with all its connections.
    pub(crate) async fn stop(&self) {
        self.group.cancel();
        self.group.join(PATIENCE).await.unwrap();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// Answers on one connection until its end.
pub(crate) async fn serve<S>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // A sidecar may hang up at any time.
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
}

fn config(root: &Root, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
    let leaf = root.issue(&[], |params| {
        params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
        change(params);
    });
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

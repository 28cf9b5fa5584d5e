//! A certificate authority on a loopback port, whose answers each test chooses.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use agent::control_plane::Endpoint;
use hyper::server::conn::http2;
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
use tonic::{Request, Response, Status};
use wire::ca::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};

/// The name that the control plane's certificate is for.
pub(crate) const NAME: &str = "istiod.istio-system.svc";
/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A call as the server has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) csr: String,
    pub(crate) token: String,
    pub(crate) cluster: String,
    pub(crate) validity: i64,
}

/// What a call is answered with.
pub(crate) enum Answer {
    Chain(Vec<String>),
    Refusal(Status),
    Never,
}

/// A certificate authority of the mesh, and what it was asked for.
#[derive(Clone)]
pub(crate) struct Ca {
    shared: Arc<Shared>,
}

type Choose = Box<dyn Fn(&Call) -> Answer + Send>;

struct Shared {
    calls: Mutex<Vec<Call>>,
    choose: Mutex<Choose>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

/// A running server, which ends with this.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    group: Group,
}

// === impl Ca ===

impl Ca {
    /// Proves to be [`NAME`] by `root`; answers as `choose` says.
    pub(crate) fn new(root: &Root, choose: impl Fn(&Call) -> Answer + Send + 'static) -> Self {
        let ca = Self {
            shared: Arc::new(Shared {
                calls: Mutex::default(),
                choose: Mutex::new(Box::new(choose)),
                tls: Mutex::default(),
            }),
        };
        ca.prove(root, |_| ());
        ca
    }

    /// From the next connection on the server has a certificate of `root`, made after `change`.
    pub(crate) fn prove(&self, root: &Root, change: impl FnOnce(&mut CertificateParams)) {
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
        *self.shared.tls.lock().unwrap() = Some(Arc::new(config));
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// From the next connection on the server agrees on this protocol.
    pub(crate) fn speak(&self, alpn: &[u8]) {
        let mut tls = self.shared.tls.lock().unwrap();
        let mut config = ServerConfig::clone(tls.as_ref().unwrap());
        config.alpn_protocols = vec![alpn.to_vec()];
        *tls = Some(Arc::new(config));
    }

    /// Listens on a port that the kernel chooses.
    pub(crate) async fn start(&self) -> Running {
        self.start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Listens there.
    pub(crate) async fn start_at(&self, address: SocketAddr) -> Running {
        let listener = TcpListener::bind(address).await.unwrap();
        let running = Running {
            address: listener.local_addr().unwrap(),
            group: Group::new(),
        };
        let (ca, group) = (self.clone(), running.group.clone());
        let token = group.token().clone();
        running.group.spawn("certificate authority", async move {
            let serving = async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (ca, token) = (ca.clone(), group.token().clone());
                    group.spawn("connection of an agent", async move {
                        token.run_until_cancelled(ca.serve(stream)).await;
                    });
                }
            };
            token.run_until_cancelled(serving).await;
        });
        running
    }

    async fn serve(&self, stream: tokio::net::TcpStream) {
        let config = self.shared.tls.lock().unwrap().clone().unwrap();
        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
            self.answer_on(stream).await;
        }
    }

    async fn answer_on(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let service = IstioCertificateServiceServer::new(self.clone());
        // An agent may hang up at any time.
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .await;
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Ca {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let text = |key| {
            let value = request.metadata().get(key);
            let value = value.map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        let (token, cluster) = (text("authorization"), text("clusterid"));
        let asked = request.into_inner();
        let call = Call {
            csr: asked.csr,
            token,
            cluster,
            validity: asked.validity_duration,
        };
        let answer = (*self.shared.choose.lock().unwrap())(&call);
        self.shared.calls.lock().unwrap().push(call);
        match answer {
            Answer::Chain(cert_chain) => Ok(Response::new(IstioCertificateResponse { cert_chain })),
            Answer::Refusal(status) => Err(status),
            Answer::Never => std::future::pending().await,
        }
    }
}

// === impl Running ===

impl Running {
    /// Where it is, verified by its name against the roots in `file`.
    pub(crate) fn endpoint(&self, file: &Path) -> Endpoint {
        let endpoint = Endpoint::parse(&self.address.to_string()).unwrap();
        endpoint.named(NAME).unwrap().rooted_in(file.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// A file with this text in a folder that the test owns.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

//! A certificate authority on a loopback port, whose answers each test chooses.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use testkit::pki::{Root, rcgen::CertificateParams};
use tonic::{Request, Response, Status};
use wire::ca::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};

use crate::server::{Listening, Proof};

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
    proof: Proof,
}

type Choose = Box<dyn Fn(&Call) -> Answer + Send>;

struct Shared {
    calls: Mutex<Vec<Call>>,
    choose: Mutex<Choose>,
}

// === impl Ca ===

impl Ca {
    /// Proves to be the control plane by `root`; answers as `choose` says.
    pub(crate) fn new(root: &Root, choose: impl Fn(&Call) -> Answer + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                calls: Mutex::default(),
                choose: Mutex::new(Box::new(choose)),
            }),
            proof: Proof::new(root),
        }
    }

    /// From the next connection on the server has a certificate of `root`, made after `change`.
    pub(crate) fn prove(&self, root: &Root, change: impl FnOnce(&mut CertificateParams)) {
        self.proof.change(root, change);
    }

    /// From the next connection on the server agrees on this protocol.
    pub(crate) fn speak(&self, alpn: &[u8]) {
        self.proof.speak(alpn);
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Listens on a port that the kernel chooses.
    pub(crate) async fn start(&self) -> Listening {
        self.start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Listens there.
    pub(crate) async fn start_at(&self, address: SocketAddr) -> Listening {
        let service = IstioCertificateServiceServer::new(self.clone());
        self.proof.listen(address, service).await
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

/// A file with this text in a folder that the test owns.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

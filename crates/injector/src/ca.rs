//! Certificates for workloads: what every sidecar asks for when it starts, and again at half life.
//!
//! `app` serves [`service`] over TLS on the listeners of [`grpc`](crate::grpc), which has found out who calls. The identity in the certificate is
//! the [`Caller`](crate::grpc::Caller)'s service account in the mesh's trust domain; nothing that the signing request says about names is
//! looked at. What signs is the authority that `cluster::authority` published last.
//!
//! ```text
//! Caller ─► SpiffeId ──┐
//! CSR ─► SigningRequest ─┼─► Authority::issue_workload ─► leaf, intermediates, roots
//! validity ─► Lifetimes ─┘       (blocking pool)
//! ```

mod metrics;
mod service;

use std::sync::Arc;

use identity::Authority;
use tokio::sync::watch;
use wire::ca::istio_certificate_service_server::IstioCertificateServiceServer;

pub use metrics::Metrics;
pub use service::{Clock, Service, TrustDomain};

/// The most bytes of a request: a signing request and a little metadata.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// What signs, and what the mesh trusts: both of the same moment.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What signs.
    pub authority: Authority,
    /// Every root that the mesh trusts, in PEM.
    pub roots: Arc<str>,
}

/// What signs now, once it is known. Published by the authority.
pub type Issuing = watch::Receiver<Option<Arc<Issuer>>>;

/// `service` as gRPC serves it.
#[must_use]
pub fn service(service: Service) -> IstioCertificateServiceServer<Service> {
    IstioCertificateServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES)
}

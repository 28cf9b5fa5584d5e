//! `istio.v1.auth.IstioCertificateService`.
//!
//! A [`Service`] answers calls of [`Caller`]s that the listener let through. Signing happens on the blocking pool, a few at once, so that streams
//! of discovery on the same thread do not wait for it. Refused calls are told apart by their status and counted; a line in the log
//! names the caller.

use std::{sync::Arc, time::Instant};

use identity::{CsrError, IssueError, Lifetimes, SigningRequest, SpiffeId};
use runtime::error::chain;
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use wire::ca::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::IstioCertificateService,
};

use super::{Issuer, Issuing, Metrics};
use crate::grpc::{Caller, voice::Voice};

/// Signatures at once: as many as there are likely to be cores.
const AT_ONCE: usize = 2;
/// Key of the request's metadata by which a node's proxy asks for the certificate of one of its pods (Istio's `ImpersonatedIdentity`).
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;
/// Says what the mesh's trust domain is.
pub type TrustDomain = Arc<dyn Fn() -> String + Send + Sync>;

/// Issues certificates to callers.
pub struct Service {
    /// What signs.
    pub issuing: Issuing,
    /// First part of every identity.
    pub trust_domain: TrustDomain,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// The clock on the wall, [`OffsetDateTime::now_utc`].
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    turns: Arc<Semaphore>,
    voice: Voice,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the authority has no certificate yet, try again")]
    NotReady,
    #[error(
        "{caller} asks for the certificate of {asked:?}, and no service account may do that here"
    )]
    Impersonation { caller: SpiffeId, asked: String },
    #[error("the service account cannot be named in trust domain {trust_domain:?}")]
    Identity {
        trust_domain: String,
        source: identity::spiffe::SpiffeError,
    },
    #[error(transparent)]
    Request(CsrError),
    #[error("the certificate cannot be issued")]
    Issue(#[source] IssueError),
    #[error("signing was interrupted, try again")]
    Interrupted,
}

// === impl Service ===

impl Service {
    /// A service that signs with what `issuing` says.
    #[must_use]
    pub fn new(
        issuing: Issuing,
        trust_domain: TrustDomain,
        lifetimes: Lifetimes,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            issuing,
            trust_domain,
            lifetimes,
            clock,
            metrics,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            voice: Voice::default(),
        }
    }

    async fn issue(
        &self,
        caller: &Caller,
        request: IstioCertificateRequest,
    ) -> Result<IstioCertificateResponse, Refusal> {
        let id = identity_of(caller, (self.trust_domain)())?;
        if let Some(asked) = impersonated(&request).filter(|asked| *asked != id.as_str()) {
            return Err(Refusal::Impersonation {
                caller: id,
                asked: asked.chars().take(200).collect(),
            });
        }
        let issuer = self.issuing.borrow().clone().ok_or(Refusal::NotReady)?;
        let asked =
            (request.validity_duration > 0).then(|| Duration::seconds(request.validity_duration));
        let (lifetime, now) = (self.lifetimes.grant(asked), (self.clock)());
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let signed = tokio::task::spawn_blocking(move || {
            sign(&issuer, request.csr.as_bytes(), &id, lifetime, now)
        });
        signed.await.unwrap_or(Err(Refusal::Interrupted))
    }

    fn refuse(&self, caller: &Caller, refusal: &Refusal) -> Status {
        match refusal {
            Refusal::Request(_) => drop(self.metrics.unreadable.inc()),
            refusal => self.metrics.failed(refusal.code()),
        }
        let text = chain(refusal).to_string();
        if let Some(n_left_out) = self.voice.line() {
            tracing::warn!(%caller, error = %text, n_left_out, "no certificate issued");
        }
        refusal.status(text)
    }
}

#[tonic::async_trait]
impl IstioCertificateService for Service {
    async fn create_certificate(
        &self,
        mut request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let began = Instant::now();
        self.metrics.requests.inc();
        let caller = request
            .extensions_mut()
            .remove::<Caller>()
            .ok_or_else(|| Status::unauthenticated("it is not known who calls"))?;
        match self.issue(&caller, request.into_inner()).await {
            Ok(response) => {
                self.metrics.issued.inc();
                self.metrics.time.observe(began.elapsed().as_secs_f64());
                tracing::debug!(%caller, "certificate issued");
                Ok(Response::new(response))
            }
            Err(refusal) => Err(self.refuse(&caller, &refusal)),
        }
    }
}

fn identity_of(caller: &Caller, trust_domain: String) -> Result<SpiffeId, Refusal> {
    let Caller {
        namespace,
        service_account,
        ..
    } = caller;
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
        .parse()
        .map_err(|source| Refusal::Identity {
            trust_domain,
            source,
        })
}

/// Whose certificate is asked for, if it is said to be somebody else's.
fn impersonated(request: &IstioCertificateRequest) -> Option<&str> {
    let value = request.metadata.as_ref()?.fields.get(IMPERSONATED)?;
    match value.kind.as_ref()? {
        prost_types::value::Kind::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The answer: the certificate, what leads to a root, and at last all roots as one text, because Istio's agents take the last for the root.
fn sign(
    issuer: &Issuer,
    csr: &[u8],
    id: &SpiffeId,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<IstioCertificateResponse, Refusal> {
    let request = SigningRequest::from_pem(csr).map_err(Refusal::Request)?;
    let leaf = issuer
        .authority
        .issue_workload(&request, id, lifetime, now)
        .map_err(Refusal::Issue)?;
    let mut cert_chain = vec![leaf.pem()];
    cert_chain.extend(issuer.authority.chain_pem());
    cert_chain.push((*issuer.roots).to_owned());
    Ok(IstioCertificateResponse { cert_chain })
}

// === impl Refusal ===

impl Refusal {
    /// A word for metrics.
    fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "ca_not_ready",
            Self::Impersonation { .. } => "impersonation",
            Self::Identity { .. } => "identity",
            Self::Request(_) => "csr_error",
            Self::Issue(_) => "cert_gen_error",
            Self::Interrupted => "interrupted",
        }
    }

    fn status(&self, text: String) -> Status {
        match self {
            Self::NotReady | Self::Interrupted => Status::unavailable(text),
            Self::Impersonation { .. } => Status::permission_denied(text),
            Self::Identity { .. } => Status::failed_precondition(text),
            Self::Request(_) => Status::invalid_argument(text),
            Self::Issue(_) => Status::internal(text),
        }
    }
}

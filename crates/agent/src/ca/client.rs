//! One call to the certificate authority.
//!
//! A new connection for each: a sidecar asks twice a day, and what it verifies the server by may have changed meanwhile. Nothing is believed here;
//! that is for the [`Holder`](crate::tls::holder::Holder).

use std::time::Duration;

use identity::SpiffeId;
use runtime::task::Group;
use tokio::{
    task::{self, JoinError},
    time::timeout,
};
use tonic::{Code, Request};
use wire::ca::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use zeroize::Zeroizing;

use super::{KeyKind, SigningRequest};
use crate::{
    control_plane::{ConnectError, Endpoint, Token, TokenError},
    tls::holder::Material,
};

/// Whom to ask, for whom, and for what.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the authority is.
    pub endpoint: Endpoint,
    /// By what it knows us.
    pub token: Token,
    /// Who we are.
    pub id: SpiffeId,
    /// Of what kind the key is.
    pub key: KeyKind,
    /// How long the certificate should live.
    pub lifetime: Duration,
    /// How long the call may take, without the connection.
    pub limit: Duration,
    /// Runs the connection's tasks.
    pub group: Group,
}

/// Why the authority gave no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// We cannot say who we are.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is nothing to be signed.
    #[error("no signing request can be made")]
    Request(#[source] rcgen::Error),
    /// Making the request has failed.
    #[error("the making of a signing request ended before its time")]
    Lost(#[source] JoinError),
    /// It refuses.
    #[error("the certificate authority {endpoint} refuses: {code:?}, {message:?}{}", hint(*code))]
    Refused {
        /// Who refuses.
        endpoint: Box<str>,
        /// The status of gRPC.
        code: Code,
        /// What it says, at most 300 characters of it.
        message: Box<str>,
    },
    /// It does not answer.
    #[error("the certificate authority {endpoint} has not answered within {} s", limit.as_secs())]
    Timeout {
        /// Who does not.
        endpoint: Box<str>,
        /// How long was waited.
        limit: Duration,
    },
    /// It answers with something else.
    #[error(
        "the certificate authority {endpoint} answers with {n_parts} parts, where a certificate and then its root are expected"
    )]
    NoChain {
        /// Who does.
        endpoint: Box<str>,
        /// How many.
        n_parts: usize,
    },
}

/// For [`Client::limit`]. A thousand pods that start at once take an authority two seconds.
pub const LIMIT: Duration = Duration::from_secs(20);
/// A chain with its roots takes a few KiB.
const MAX_ANSWER: usize = 1 << 20;
/// How much of a refusal is shown.
const MAX_SHOWN: usize = 300;

// === impl Client ===

impl Client {
    /// Has a new key certified. May be dropped at any time; the authority may have signed then, which does no harm.
    ///
    /// # Errors
    /// Any [`AskError`]; all of them may be over at the next attempt.
    pub async fn ask(self) -> Result<Material, AskError> {
        let (kind, id) = (self.key, self.id.clone());
        // RSA keys take long to find, and others wait for this thread.
        let request = task::spawn_blocking(move || SigningRequest::new(kind, &id));
        let SigningRequest { csr, key } = request
            .await
            .map_err(AskError::Lost)?
            .map_err(AskError::Request)?;
        let channel = Box::pin(self.endpoint.connect(&self.group)).await?;
        let mut client =
            IstioCertificateServiceClient::with_origin(channel, self.endpoint.origin())
                .max_decoding_message_size(MAX_ANSWER);
        let mut request = Request::new(IstioCertificateRequest {
            csr,
            validity_duration: i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX),
            metadata: None,
        });
        request.set_timeout(self.limit);
        self.token.authorize(&mut request)?;
        let answer = match timeout(self.limit, client.create_certificate(request)).await {
            Ok(Ok(answer)) => answer.into_inner().cert_chain,
            Ok(Err(status)) => return Err(self.refused(&status)),
            Err(_elapsed) => {
                return Err(AskError::Timeout {
                    endpoint: self.shown(),
                    limit: self.limit,
                });
            }
        };
        self.material(answer, key)
    }

    /// The own certificate first, the root last, and what lies between leads from one to the other; each part may hold several.
    fn material(
        &self,
        mut answer: Vec<String>,
        key: Zeroizing<String>,
    ) -> Result<Material, AskError> {
        let n_parts = answer.len();
        match answer.pop() {
            Some(roots) if !answer.is_empty() => Ok(Material {
                chain: answer.join("\n"),
                key,
                roots,
            }),
            _ => Err(AskError::NoChain {
                endpoint: self.shown(),
                n_parts,
            }),
        }
    }

    fn refused(&self, status: &tonic::Status) -> AskError {
        AskError::Refused {
            endpoint: self.shown(),
            code: status.code(),
            message: status.message().chars().take(MAX_SHOWN).collect(),
        }
    }

    fn shown(&self) -> Box<str> {
        self.endpoint.to_string().into()
    }
}

fn hint(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => "; does it know this cluster's tokens, and their audience?",
        Code::Unimplemented => "; is it a certificate authority?",
        _ => "",
    }
}

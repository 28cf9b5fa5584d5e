//! Carries out the application's probes.
//!
//! Called by the status server for every request below `/app-health` and `/app-lifecycle`. The path must be one that injection
//! recorded; how long it takes is bounded by the probe's own timeout, everything included.

use std::time::Duration;

use http::HeaderMap;

use super::{
    Action, Probe, Probes,
    dial::{DialError, Dialer},
    grpc::{self, GrpcError},
    http_get::{self, HttpGetError, Page},
};

/// Probes, and the way to the application.
#[derive(Debug)]
pub struct Prober {
    probes: Probes,
    dialer: Dialer,
}

/// What came of a probe that the application passed or judged itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection stands, or the health service is content.
    Passed,
    /// The application answered a page.
    Page(Page),
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Injection did not record such a probe.
    #[error("there is no probe {path}")]
    Unknown {
        /// The path that was asked for, cut short.
        path: String,
    },
    /// The application took too long.
    #[error("no answer from the application within {} s", limit.as_secs_f32())]
    Timeout {
        /// What the probe allows.
        limit: Duration,
    },
    /// It could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It gave no page.
    #[error(transparent)]
    HttpGet(#[from] HttpGetError),
    /// It is not healthy.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
}

// === impl Prober ===

impl Prober {
    /// A prober of the application behind `dialer`.
    #[must_use]
    pub fn new(probes: Probes, dialer: Dialer) -> Self {
        Self { probes, dialer }
    }

    /// Carries out the probe of `path`; `kubelet` are the headers of the request. Dropping the future ends the probe.
    ///
    /// # Errors
    /// Any [`ProbeError`]; an error status of the application is not one.
    pub async fn probe(&self, path: &str, kubelet: &HeaderMap) -> Result<Answer, ProbeError> {
        let Some(probe) = self.probes.find(path) else {
            let path = path.chars().take(200).collect();
            return Err(ProbeError::Unknown { path });
        };
        let limit = probe.timeout;
        // The future is large because of TLS and HTTP/2, and there are few probes.
        match tokio::time::timeout(limit, Box::pin(self.act(probe, kubelet))).await {
            Ok(result) => result,
            Err(_) => Err(ProbeError::Timeout { limit }),
        }
    }

    async fn act(&self, probe: &Probe, kubelet: &HeaderMap) -> Result<Answer, ProbeError> {
        match &probe.action {
            Action::HttpGet(http_get) => {
                let page = http_get::ask(&self.dialer, http_get, kubelet).await?;
                Ok(Answer::Page(page))
            }
            Action::TcpSocket { port } => {
                self.dialer.connect(port.get()).await?;
                Ok(Answer::Passed)
            }
            Action::Grpc { port, service } => {
                grpc::check(&self.dialer, port.get(), service).await?;
                Ok(Answer::Passed)
            }
        }
    }
}

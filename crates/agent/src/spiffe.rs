//! Certificates from a SPIFFE implementation on the node, such as SPIRE.
//!
//! `app` starts it where the socket of the Workload API is in the pod. Who we are is that implementation's to say, and so are the roots; a new message on the
//! stream replaces both. While the socket is away the last ones stay, and nobody else is asked: a pod that was meant to have one identity must not
//! quietly get another.

mod material;

use std::{io, path::PathBuf, time::Duration};

use http::Uri;
use runtime::{backoff::Backoff, files::Change, readiness::Readiness, task::Group};
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue};
use tracing::info;
use wire::spiffe::{
    X509svidRequest, X509svidResponse, spiffe_workload_api_client::SpiffeWorkloadApiClient,
};

use crate::{
    control_plane::Channel,
    tls::{
        Store,
        holder::{HoldError, Holder, Report},
    },
};

pub use material::{MaterialError, material};

/// Certificates from a socket.
pub struct Source {
    socket: PathBuf,
    holder: Holder,
    report: Report,
    group: Group,
}

/// Why there is no certificate, or no newer one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody listens.
    #[error("cannot connect to the SPIFFE Workload API at {}, is its agent running on this node?", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody listens and does not speak HTTP/2.
    #[error("the SPIFFE Workload API at {} does not begin HTTP/2", socket.display())]
    Http2 {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: hyper::Error,
    },
    /// It refuses.
    #[error("the SPIFFE Workload API at {} refuses: {code:?}, {message:?}; is this workload registered?", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The status of gRPC.
        code: Code,
        /// What it says, at most 300 characters of it.
        message: Box<str>,
    },
    /// It has ended the stream, or says nothing.
    #[error("the SPIFFE Workload API at {} went away", socket.display())]
    Ended {
        /// The socket.
        socket: PathBuf,
    },
    /// What it says is no certificate.
    #[error("what the SPIFFE Workload API says is refused")]
    Material(#[from] MaterialError),
    /// What it gives is no good.
    #[error("what the SPIFFE Workload API gives is refused")]
    Refuted(#[from] HoldError),
}

/// Certificates and bundle take a few KiB; there may be several.
const MAX_MESSAGE: usize = 1 << 20;
/// For the connection, and for the beginning of the stream.
const LIMIT: Duration = Duration::from_secs(10);
/// How often trust domains and revoked certificates are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
const MAX_SHOWN: usize = 300;

// === impl Source ===

impl Source {
    /// Registers with `readiness` until there is a certificate.
    #[must_use]
    pub fn new(socket: PathBuf, holder: Holder, group: Group, readiness: &Readiness) -> Self {
        Self {
            socket,
            holder,
            report: Report::new(readiness),
            group,
        }
    }

    /// Where the credentials are, now and after each change.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.holder.store()
    }

    /// Follows the stream for ever, anew after a pause when it breaks. Dropping the future leaves the last certificate in the store.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let failure = match self.open().await {
                Ok(stream) => {
                    backoff.reset();
                    self.follow(stream).await
                }
                Err(failure) => failure,
            };
            self.failed(&failure);
            let mut left = backoff.pause(fastrand::f64());
            while !left.is_zero() {
                let part = left.min(INTERVAL);
                sleep(part).await;
                left = left.saturating_sub(part);
                self.look();
            }
        }
    }

    async fn open(&mut self) -> Result<Streaming<X509svidResponse>, Failure> {
        let socket = || self.socket.clone();
        let connecting = timeout(LIMIT, UnixStream::connect(&self.socket)).await;
        let connected = connecting.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let stream = connected.map_err(|source| Failure::Connect {
            socket: socket(),
            source,
        })?;
        let channel = timeout(LIMIT, Channel::over(stream, &self.group))
            .await
            .map_err(|_elapsed| Failure::Ended { socket: socket() })?
            .map_err(|source| Failure::Http2 {
                socket: socket(),
                source,
            })?;
        // The server looks at the caller's process, not at a name.
        let origin = Uri::from_static("http://localhost");
        let mut client = SpiffeWorkloadApiClient::with_origin(channel, origin)
            .max_decoding_message_size(MAX_MESSAGE);
        let mut request = Request::new(X509svidRequest {});
        // Demanded by the standard, against requests that a program was tricked into.
        let header = MetadataValue::from_static("true");
        request.metadata_mut().insert("workload.spiffe.io", header);
        match timeout(LIMIT, client.fetch_x509svid(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_elapsed) => Err(Failure::Ended { socket: socket() }),
        }
    }

    async fn follow(&mut self, mut stream: Streaming<X509svidResponse>) -> Failure {
        loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(message)) => self.take(&message),
                    Ok(None) => return Failure::Ended { socket: self.socket.clone() },
                    Err(status) => return self.refused(&status),
                },
                () = sleep(INTERVAL) => self.look(),
            }
        }
    }

    fn take(&mut self, message: &X509svidResponse) {
        let now = std::time::SystemTime::now();
        let taken = material(message)
            .map_err(Failure::from)
            .and_then(|material| Ok(self.holder.take(material, now)?));
        match taken {
            Ok(_) => {
                self.report.succeeded();
                info!(certificate = self.holder.summary(), "certified by SPIFFE");
            }
            Err(failure) => self.failed(&failure),
        }
    }

    fn look(&mut self) {
        match self.holder.look(std::time::SystemTime::now()) {
            Ok(Change::Accepted) => info!("trust domains or revoked certificates have changed"),
            Ok(Change::None | Change::Refused) => {}
            Err(error) => self.failed(&error.into()),
        }
    }

    fn failed(&mut self, failure: &Failure) {
        let reason = self.holder.note(failure, std::time::SystemTime::now());
        self.report.failed(reason, &self.holder.summary());
    }

    fn refused(&self, status: &Status) -> Failure {
        Failure::Refused {
            socket: self.socket.clone(),
            code: status.code(),
            message: status.message().chars().take(MAX_SHOWN).collect(),
        }
    }
}

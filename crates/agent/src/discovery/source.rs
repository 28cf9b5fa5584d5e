//! A stream of discovery: connected, authorized, opened.
//!
//! Called by [`run`](super::run) for each attempt. The first requests go with the call, because a server may say nothing before it has
//! heard who asks.

use std::time::Duration;

use runtime::task::Group;
use tokio::{sync::mpsc, time::timeout};
use tonic::{Request, Streaming, codegen::tokio_stream::wrappers::ReceiverStream};
use wire::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};

use crate::control_plane::{ConnectError, Endpoint, Token, TokenError};

/// Where streams come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The control plane.
    pub endpoint: Endpoint,
    /// Who asks; nobody in particular where the control plane does not want to know.
    pub token: Option<Token>,
    /// Largest response that is read, in bytes.
    pub largest_response: usize,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub(super) responses: Streaming<DeltaDiscoveryResponse>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no connection.
    #[error("there is no connection for discovery")]
    Connect(#[from] ConnectError),
    /// Nobody could be told who asks.
    #[error("the control plane cannot be told who asks for discovery")]
    Token(#[from] TokenError),
    /// The call was refused.
    #[error("the control plane refused the stream of discovery: {} ({})", shown(.0.message()), .0.code())]
    Refused(Box<tonic::Status>),
    /// Nothing came.
    #[error("the control plane did not open the stream of discovery within {} s", OPEN_LIMIT.as_secs())]
    Silent,
}

/// How long a control plane may take to open a stream; many sidecars may ask at the same time.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Requests on their way; they are few, and what comes later waits where it is merged.
pub(super) const REQUESTS: usize = 16;
/// Longest part of a server's message that is shown.
const LONGEST_SHOWN: usize = 300;

impl Source {
    /// Opens a stream that begins with `first`, [`REQUESTS`] at most. Its tasks belong to `group`.
    pub(super) async fn open(
        &self,
        first: Vec<DeltaDiscoveryRequest>,
        group: &Group,
    ) -> Result<Link, SourceError> {
        let channel = self.endpoint.connect(group).await?;
        let (requests, sent) = mpsc::channel(REQUESTS);
        for request in first {
            // There is room for all of them, and the receiver is here.
            let _ = requests.try_send(request);
        }
        let mut call = Request::new(ReceiverStream::new(sent));
        if let Some(token) = &self.token {
            token.authorize(&mut call)?;
        }
        let origin = self.endpoint.origin();
        let mut client = AggregatedDiscoveryServiceClient::with_origin(channel, origin)
            .max_decoding_message_size(self.largest_response);
        let opening = client.delta_aggregated_resources(call);
        match timeout(OPEN_LIMIT, opening).await {
            Ok(Ok(opened)) => Ok(Link {
                requests,
                responses: opened.into_inner(),
            }),
            Ok(Err(status)) => Err(SourceError::Refused(Box::new(status))),
            Err(_elapsed) => Err(SourceError::Silent),
        }
    }
}

/// A server's message, without what would break a line of the log.
pub(super) fn shown(message: &str) -> String {
    let message = message.chars().take(LONGEST_SHOWN);
    message
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

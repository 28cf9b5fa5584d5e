//! `agent wait`: ends when the sidecar of the pod is ready.
//!
//! The postStart hook of an ordinary sidecar runs it, so that the kubelet starts the application's containers afterwards.
//! Only an answer of status 200 counts; everything else is asked again until the time is over.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header::HOST, uri::Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use runtime::error::chain;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info};

use crate::{
    args::WaitArgs,
    client::{self, Version, exchange},
};

/// Why waiting was in vain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// There is nothing to ask.
    #[error("--url (env AGENT_WAIT_URL): `{url}` is not an http URL with a host")]
    Url {
        /// What was given.
        url: String,
    },
    /// Tokio refused to start.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// The time is over.
    #[error("{url} is not ready after {} s: {last}", limit.as_secs())]
    NotReady {
        /// What was asked.
        url: String,
        /// For how long.
        limit: Duration,
        /// What came of the last question.
        last: String,
    },
}

/// Where to ask.
struct Place {
    host: String,
    port: u16,
    request: Request<Full<Bytes>>,
}

/// What one question came to, other than ready.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("no answer")]
    Http(#[source] hyper::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the answer is {0}")]
    Status(StatusCode),
}

/// Asks until the answer is 200.
///
/// # Errors
/// Any [`WaitError`].
pub fn run(args: &WaitArgs) -> Result<(), WaitError> {
    let place = Place::parse(&args.url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(WaitError::Start)?;
    runtime.block_on(ready(args, &place))
}

async fn ready(args: &WaitArgs, place: &Place) -> Result<(), WaitError> {
    let limit = Duration::from_secs(args.timeout_seconds.into());
    let request_limit = Duration::from_millis(args.request_timeout_millis.into());
    let period = Duration::from_millis(args.period_millis.into());
    let start = Instant::now();
    let mut last = "never asked".to_owned();
    let asking = async {
        loop {
            match ask(place, request_limit).await {
                Ok(()) => return,
                Err(error) => last = chain(&error).to_string(),
            }
            debug!(url = args.url, error = last, "not ready yet");
            sleep(period).await;
        }
    };
    match timeout_at(start + limit, asking).await {
        Ok(()) => {
            info!(
                url = args.url,
                after_ms = start.elapsed().as_millis(),
                "ready"
            );
            Ok(())
        }
        Err(_) => Err(WaitError::NotReady {
            url: args.url.clone(),
            limit,
            last,
        }),
    }
}

async fn ask(place: &Place, limit: Duration) -> Result<(), NotYet> {
    let asking = async {
        let stream = client::connect(&place.host, place.port)
            .await
            .map_err(NotYet::Connect)?;
        let status = |response: Response<Incoming>| async move { Ok(response.status()) };
        exchange(Version::Http1, stream, place.request.clone(), status)
            .await
            .map_err(NotYet::Http)
    };
    match timeout(limit, asking).await {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(other)) => Err(NotYet::Status(other)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(NotYet::Timeout(limit)),
    }
}

// === impl Place ===

impl Place {
    fn parse(url: &str) -> Result<Self, WaitError> {
        let wrong = || WaitError::Url {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.scheme() != Some(&Scheme::HTTP) || authority.host().is_empty() {
            return Err(wrong());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, authority.as_str())
            .body(Full::default())
            .map_err(|_| wrong())?;
        Ok(Self {
            host: authority
                .host()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: authority.port_u16().unwrap_or(80),
            request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            (
                "http://localhost:15021/healthz/ready",
                Some(("localhost", 15021, "/healthz/ready")),
            ),
            ("http://[::1]:1/x?y", Some(("::1", 1, "/x?y"))),
            ("http://10.0.0.1", Some(("10.0.0.1", 80, "/"))),
            ("https://localhost/", None),
            ("localhost:15021", None),
            ("/healthz/ready", None),
            ("", None),
        ];
        for (url, expected) in table {
            let place = Place::parse(url).ok();
            let parts = place.as_ref().map(|place| {
                (
                    place.host.as_str(),
                    place.port,
                    place.request.uri().path_and_query().unwrap().as_str(),
                )
            });
            assert_eq!(parts, expected, "{url}");
        }
    }
}

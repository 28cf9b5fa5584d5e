//! The application's own metrics, beside the sidecar's.
//!
//! Prometheus scrapes one port of a pod. Injection points it to the status port and tells the agent where the application's metrics
//! are; [`Scraper`] fetches them when somebody asks, and [`merge`] puts all pages into one. What cannot be fetched is left out and
//! counted: a scrape of the sidecar never fails because of the application.

pub mod merge;
pub mod sheet;

use std::{
    future::poll_fn,
    io,
    num::NonZeroU16,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use runtime::error::chain;
use serde::Deserialize;
use tokio::time::timeout;
use tracing::debug;

use crate::client::{self, Version, exchange, read_up_to};
use merge::{Form, Page};

/// Where an application's metrics are: ports of localhost, and paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Vec<Target>);

/// Fetches the application's metrics.
#[derive(Debug)]
pub struct Scraper {
    targets: Targets,
    reserved: Vec<u16>,
    failures: Family<FailureLabels, Counter>,
}

/// Why a text does not say where metrics are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetsError {
    /// Not JSON of that form.
    #[error("not the JSON that injection writes")]
    Json(#[source] serde_json::Error),
    /// Not a port.
    #[error("port `{port}` is not a number from 1 to 65535")]
    Port {
        /// What was given.
        port: String,
    },
    /// Not a path.
    #[error("path `{path}` is not the path of a URL")]
    Path {
        /// What was given.
        path: String,
    },
    /// More than anybody could mean.
    #[error("there are more than {MOST_TARGETS} targets")]
    TooMany,
}

/// Why a page could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("port {port} belongs to the sidecar, not to the application")]
    Reserved { port: u16 },
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no HTTP answer")]
    Http(#[source] hyper::Error),
    #[error("the answer is {status}")]
    Status { status: StatusCode },
    #[error("the answer is compressed, which was not asked for")]
    Compressed,
    #[error("the page is larger than {} MiB", LIMIT >> 20)]
    TooLarge,
    #[error("it took too long")]
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    port: NonZeroU16,
    path: String,
}

/// What injection writes; the first of several targets stands in the old fields, too.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    scrape: String,
    port: String,
    path: String,
    targets: Vec<RawTarget>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawTarget {
    port: String,
    path: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabels {
    r#type: &'static str,
}

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Page, FetchError>> + Send + 'a>>;

/// Istio's limit for one page.
const LIMIT: usize = 10 << 20;
/// Each of them may be held in memory at the same time.
const MOST_TARGETS: usize = 16;
/// Prometheus' default, less what the rest of the way takes.
const TIMEOUT: Duration = Duration::from_secs(9);
const LONGEST_TIMEOUT: f64 = 60.0;
/// Share of the scraper's patience that the application gets.
const PATIENCE: f64 = 0.9;
/// Prometheus says with it how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// Istio's defaults where an annotation names one of the two only.
const PORT: &str = "80";
const PATH: &str = "/metrics";

// === impl Targets ===

impl Targets {
    /// Reads the JSON that injection makes of the pod's annotations; an empty text names no target.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TargetsError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let raw: Raw = serde_json::from_str(text).map_err(TargetsError::Json)?;
        if ["false", "False", "FALSE", "f", "F", "0"].contains(&raw.scrape.as_str()) {
            return Ok(Self::default());
        }
        let mut targets = raw.targets;
        if targets.is_empty() {
            targets.push(RawTarget {
                port: raw.port,
                path: raw.path,
            });
        }
        if targets.len() > MOST_TARGETS {
            return Err(TargetsError::TooMany);
        }
        let targets = targets.into_iter().map(Target::new);
        targets.collect::<Result<_, _>>().map(Self)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Scraper ===

impl Scraper {
    /// Fetches from `targets`, but from no `reserved` port: those are the sidecar's own, and it would ask itself for ever.
    /// Failures are counted in `registry`.
    #[must_use]
    pub fn register(targets: Targets, reserved: Vec<u16>, registry: &mut Registry) -> Self {
        let failures = Family::default();
        registry.register(
            "istio_agent_scrape_failures",
            "Scrapes of the application that failed",
            failures.clone(),
        );
        Self {
            targets,
            reserved,
            failures,
        }
    }

    /// All pages that can be fetched, in the order of the targets; `headers` are those of the scrape that it is done for.
    /// Dropping the future closes the connections.
    pub async fn fetch(&self, headers: &HeaderMap) -> Vec<Page> {
        let limit = patience(headers);
        let fetching = self.targets.0.iter().map(|target| {
            let fetching = timeout(limit, self.fetch_one(target, headers));
            let fetching = async { fetching.await.unwrap_or(Err(FetchError::Timeout)) };
            Box::pin(fetching) as Fetching<'_>
        });
        let fetched = join(fetching.collect()).await;
        let mut pages = Vec::new();
        for (target, fetched) in self.targets.0.iter().zip(fetched) {
            match fetched {
                Ok(page) => pages.push(page),
                Err(error) => {
                    let labels = FailureLabels {
                        r#type: "application",
                    };
                    self.failures.get_or_create(&labels).inc();
                    let error = chain(&error);
                    debug!(port = target.port, path = target.path, %error, "metrics of the application are left out");
                }
            }
        }
        pages
    }

    async fn fetch_one(&self, target: &Target, headers: &HeaderMap) -> Result<Page, FetchError> {
        let port = target.port.get();
        if self.reserved.contains(&port) {
            return Err(FetchError::Reserved { port });
        }
        let stream = client::connect("localhost", port)
            .await
            .map_err(FetchError::Connect)?;
        let read = |response: Response<Incoming>| async {
            let (head, body) = response.into_parts();
            let body = read_up_to(body, LIMIT + 1).await?;
            Ok((head, body))
        };
        let (head, body) = exchange(Version::Http1, stream, request(target, headers), read)
            .await
            .map_err(FetchError::Http)?;
        if head.status != StatusCode::OK {
            return Err(FetchError::Status {
                status: head.status,
            });
        }
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(FetchError::Compressed);
        }
        if body.len() > LIMIT {
            return Err(FetchError::TooLarge);
        }
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
        Ok(Page {
            form: Form::of(content_type),
            text: body,
        })
    }
}

// === impl Target ===

impl Target {
    fn new(raw: RawTarget) -> Result<Self, TargetsError> {
        let or = |given: String, default: &str| match given.as_str() {
            "" => default.to_owned(),
            _ => given,
        };
        let port = or(raw.port, PORT);
        let path = or(raw.path, PATH);
        let path = format!("/{}", path.trim_start_matches('/'));
        match (port.parse(), path.parse::<Uri>()) {
            (Ok(port), Ok(_)) => Ok(Self { port, path }),
            (Err(_), _) => Err(TargetsError::Port { port }),
            (_, Err(_)) => Err(TargetsError::Path { path }),
        }
    }
}

/// A request for the target; what it should answer with is passed on from the scrape.
fn request(target: &Target, headers: &HeaderMap) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.path.parse().unwrap_or_default();
    let own = request.headers_mut();
    for name in [ACCEPT, USER_AGENT] {
        if let Some(value) = headers.get(&name) {
            own.insert(name, value.clone());
        }
    }
    own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Ok(host) = HeaderValue::from_str(&format!("localhost:{}", target.port)) {
        own.insert(HOST, host);
    }
    request
}

/// How long the application may take, and a scrape wait for others.
pub(super) fn patience(headers: &HeaderMap) -> Duration {
    let told = headers.get(SCRAPE_TIMEOUT);
    let told = told.and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    told.filter(|seconds| seconds.is_finite() && *seconds > 0.0)
        .map_or(TIMEOUT, |seconds| {
            Duration::from_secs_f64(seconds.min(LONGEST_TIMEOUT) * PATIENCE)
        })
}

/// Waits for all of them at once.
async fn join(mut fetching: Vec<Fetching<'_>>) -> Vec<Result<Page, FetchError>> {
    let mut fetched: Vec<Option<Result<Page, FetchError>>> = Vec::new();
    fetched.resize_with(fetching.len(), || None);
    poll_fn(|cx: &mut Context<'_>| {
        for (future, slot) in fetching.iter_mut().zip(&mut fetched) {
            if slot.is_none()
                && let Poll::Ready(page) = future.as_mut().poll(cx)
            {
                *slot = Some(page);
            }
        }
        if fetched.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    fetched.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Result<Vec<(u16, String)>, String> {
        let targets = Targets::parse(text).map_err(|error| chain(&error).to_string())?;
        let targets = targets.0.into_iter();
        Ok(targets
            .map(|target| (target.port.get(), target.path))
            .collect())
    }

    #[test]
    fn what_injection_writes_is_read() {
        let table: [(&str, &[(u16, &str)]); 8] = [
            ("", &[]),
            (r#"{"scrape":"false","port":"80","path":""}"#, &[]),
            (
                r#"{"scrape":"true","path":"","port":""}"#,
                &[(80, "/metrics")],
            ),
            (
                r#"{"scrape":"","path":"stats","port":"8080"}"#,
                &[(8080, "/stats")],
            ),
            (
                r#"{"scrape":"true","path":"/a?b=c","port":"1"}"#,
                &[(1, "/a?b=c")],
            ),
            (
                r#"{"scrape":"","path":"/m","port":"8080","targets":[{"port":"8080","path":"/m"},{"port":"9100","path":""}]}"#,
                &[(8080, "/m"), (9100, "/metrics")],
            ),
            (r#"{"later":1,"port":"90"}"#, &[(90, "/metrics")]),
            ("{}", &[(80, "/metrics")]),
        ];
        for (text, expected) in table {
            let found = targets(text).unwrap();
            let found: Vec<(u16, &str)> = found
                .iter()
                .map(|(port, path)| (*port, path.as_str()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = format!(r#"{{"targets":[{}{{}}]}}"#, "{},".repeat(MOST_TARGETS));
        for (text, expected) in [
            ("[", "not the JSON that injection writes: EOF"),
            (r#"{"port":"http"}"#, "port `http` is not a number"),
            (r#"{"port":"0"}"#, "port `0` is not a number"),
            (r#"{"path":"/a b"}"#, "path `/a b` is not the path"),
            (&many, "more than 16 targets"),
        ] {
            let error = targets(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_application_gets_most_of_the_scrapers_patience() {
        for (told, millis) in [
            ("10", 9000),
            ("0.5", 450),
            ("1e9", 54_000),
            ("-1", 9000),
            ("x", 9000),
            ("nan", 9000),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(SCRAPE_TIMEOUT, HeaderValue::from_static(told));
            assert_eq!(patience(&headers).as_millis(), millis, "{told}");
        }
    }
}

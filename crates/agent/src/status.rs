//! What the status and the metrics port answer.
//!
//! `app` serves [`Status`] on the status port and [`Metrics`] on the metrics port through [`server`]; the readiness port reaches the
//! former through the data plane. Answers are small and made at once, probes of the application aside.

pub mod body;
pub mod probes;
pub mod scrape;
pub mod server;

use std::{collections::VecDeque, io, net::IpAddr, sync::Arc};

use bytes::Bytes;
use contract::{net::INBOUND_SOURCE_V4, paths};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use runtime::{
    error::chain,
    metrics::{self, Registry},
    readiness::Readiness,
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use tracing::{debug, error, info};

use body::Body;
use probes::prober::{Answer, ProbeError, Prober};
use scrape::{
    Scraper,
    merge::{Form, Merged, Page},
    sheet::{Coding, Sheet},
};
use server::Handler;

/// The answers of the status port.
pub struct Status {
    readiness: Readiness,
    metrics: Metrics,
    scraper: Scraper,
    prober: Prober,
    control: Arc<dyn Control>,
}

/// The answers of the metrics port; clones share the bound of pages that are made and sent at a time.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    pages: Arc<Semaphore>,
    is_hidden: bool,
}

/// What a process of the same pod may ask of the proxy.
pub trait Control: Send + Sync {
    /// Begins to drain and goes on running.
    fn drain(&self);
    /// Ends without draining.
    fn quit(&self);
}

/// Pages of metrics that are made or sent at a time. Each is up to tens of megabytes where it is not compressed; those who scrape are one or
/// two, some seconds apart.
const MOST_PAGES: usize = 4;
/// Istio's second path for the metrics.
const METRICS: &str = "/metrics";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const TEXT_METRICS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_METRICS: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);

// === impl Status ===

impl Status {
    /// The answers of a proxy with these parts.
    #[must_use]
    pub fn new(
        readiness: Readiness,
        metrics: Metrics,
        scraper: Scraper,
        prober: Prober,
        control: Arc<dyn Control>,
    ) -> Self {
        Self {
            readiness,
            metrics,
            scraper,
            prober,
            control,
        }
    }

    fn ready(&self) -> Response<Body> {
        let report = self.readiness.report();
        let status = if report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        text(status, report.to_string())
    }

    /// The metrics of sidecar and application.
    async fn all_metrics<B>(&self, peer: IpAddr, request: &Request<B>) -> Response<Body> {
        let headers = request.headers();
        let application = || self.scraper.fetch(headers);
        self.metrics.answer(peer, headers, application).await
    }

    /// Runs `act` for a process of the same pod.
    fn control(&self, peer: IpAddr, path: &str, act: impl Fn(&dyn Control)) -> Response<Body> {
        if !is_own_pod(peer) {
            debug!(src.addr = %peer, path, "refused, only this pod may ask for it");
            return text(
                StatusCode::FORBIDDEN,
                "only processes of this pod may ask for it\n",
            );
        }
        info!(path, "asked over HTTP");
        act(&*self.control);
        text(StatusCode::OK, "OK\n")
    }

    async fn probe<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        match self.prober.probe(path, request.headers()).await {
            Ok(Answer::Passed) => text(StatusCode::OK, "OK\n"),
            Ok(Answer::Page(page)) => {
                let mut response = text(page.status, page.body);
                if let Some(content_type) = page.content_type {
                    response.headers_mut().insert(CONTENT_TYPE, content_type);
                }
                response
            }
            Err(error) => {
                let status = match error {
                    ProbeError::Unknown { .. } => StatusCode::BAD_REQUEST,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                let error = chain(&error);
                debug!(path, %error, "probe failed");
                text(status, format!("{error}\n"))
            }
        }
    }
}

impl Handler for Status {
    async fn handle<B: Send + Sync>(&self, peer: IpAddr, request: Request<B>) -> Response<Body> {
        let path = request.uri().path();
        let is_probe = [paths::APP_HEALTH, paths::APP_LIFECYCLE]
            .iter()
            .any(|prefix| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('/'))
            });
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        let acts = request.method() == Method::POST;
        match path {
            paths::QUIT | paths::DRAIN if !acts => not_allowed("POST"),
            paths::QUIT => self.control(peer, path, |control| control.quit()),
            paths::DRAIN => self.control(peer, path, |control| control.drain()),
            paths::HEALTHZ_READY if reads => self.ready(),
            paths::STATS_PROMETHEUS | METRICS if reads => self.all_metrics(peer, &request).await,
            _ if is_probe && reads => self.probe(&request).await,
            paths::HEALTHZ_READY | paths::STATS_PROMETHEUS | METRICS => not_allowed("GET, HEAD"),
            _ if is_probe => not_allowed("GET, HEAD"),
            _ => not_found(),
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// The metrics of `registry`.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            pages: Arc::new(Semaphore::new(MOST_PAGES)),
            is_hidden: false,
        }
    }

    /// The same for processes of this pod alone, if `is_hidden`.
    #[must_use]
    pub fn hidden(mut self, is_hidden: bool) -> Self {
        self.is_hidden = is_hidden;
        self
    }

    /// The page for the admin port.
    pub(crate) fn page(&self) -> Response<Body> {
        let mut response = text(StatusCode::OK, self.registry.encode());
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response
    }

    /// Our page and those that `others` fetches, for a scrape with these headers.
    async fn answer<F: Future<Output = Vec<Page>>>(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        others: impl FnOnce() -> F,
    ) -> Response<Body> {
        if self.is_hidden && !is_own_pod(peer) {
            debug!(src.addr = %peer, "metrics are for this pod alone");
            return text(
                StatusCode::FORBIDDEN,
                "only requests from localhost are allowed\n",
            );
        }
        let waiting = Arc::clone(&self.pages).acquire_owned();
        let Ok(Ok(held)) = timeout(scrape::patience(headers), waiting).await else {
            let body = "too many scrapes at the same time, ask again later\n";
            return text(StatusCode::SERVICE_UNAVAILABLE, body);
        };
        let others = others().await;
        let coding = Coding::of(headers);
        // After the application's answers, so that their failures are counted in this page already; and beside the other answers, as
        // there may be tens of megabytes.
        let registry = Arc::clone(&self.registry);
        let written = spawn_blocking(move || write(&registry, &others, coding)).await;
        match written.map_err(io::Error::from).flatten() {
            Ok((form, pieces)) => metrics_page(form, coding, Body::of(pieces, held)),
            Err(error) => {
                error!(%error, "a page of metrics could not be made");
                let body = "the page could not be made\n";
                text(StatusCode::INTERNAL_SERVER_ERROR, body)
            }
        }
    }
}

impl Handler for Metrics {
    async fn handle<B: Send + Sync>(&self, peer: IpAddr, request: Request<B>) -> Response<Body> {
        match request.uri().path() {
            paths::STATS_PROMETHEUS | METRICS
                if [Method::GET, Method::HEAD].contains(request.method()) =>
            {
                let none = || std::future::ready(Vec::new());
                self.answer(peer, request.headers(), none).await
            }
            paths::STATS_PROMETHEUS | METRICS => not_allowed("GET, HEAD"),
            _ => not_found(),
        }
    }
}

/// Whether `peer` is a process of the same pod. 127.0.0.6 is not: from there the data plane forwards what came from outside.
pub(crate) fn is_own_pod(peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() && peer != IpAddr::V4(INBOUND_SOURCE_V4)
}

/// Writes our page and the others as one.
fn write(
    registry: &Registry,
    others: &[Page],
    coding: Coding,
) -> io::Result<(Form, VecDeque<Bytes>)> {
    let mut merged = Merged::of(others, Sheet::new(coding));
    registry.write(&mut merged.own());
    others.iter().for_each(|page| merged.append(page));
    let (form, sheet) = merged.finish()?;
    Ok((form, sheet.finish()?))
}

fn metrics_page(form: Form, coding: Coding, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let content_type = match form {
        Form::OpenMetrics => OPEN_METRICS,
        Form::Text => TEXT_METRICS,
    };
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
    if coding == Coding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "there is no such page\n")
}

pub(crate) fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_pod_may_control_the_proxy() {
        let table = [
            ("127.0.0.1", true),
            ("127.0.0.2", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.6", false),
            ("::ffff:127.0.0.6", false),
            ("::6", false),
            ("10.0.0.7", false),
            ("fd00::7", false),
        ];
        for (peer, expected) in table {
            assert_eq!(is_own_pod(peer.parse().unwrap()), expected, "{peer}");
        }
    }
}

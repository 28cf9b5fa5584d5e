//! What the status and the metrics port answer.
//!
//! `app` serves [`Status`] on the status port and [`Metrics`] on the metrics port through [`server`]; the readiness port reaches the
//! former through the data plane. Answers are small and made at once, probes of the application aside.

pub mod probes;
pub mod scrape;
pub mod server;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use contract::{net::INBOUND_SOURCE_V4, paths};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use runtime::{
    error::chain,
    metrics::{self, Registry},
    readiness::Readiness,
};
use tracing::{debug, info};

use probes::prober::{Answer, ProbeError, Prober};
use scrape::{
    Scraper,
    merge::{Form, Page, merge},
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

/// The answers of the metrics port.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registry>);

/// What a process of the same pod may ask of the proxy.
pub trait Control: Send + Sync {
    /// Begins to drain and goes on running.
    fn drain(&self);
    /// Ends without draining.
    fn quit(&self);
}

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

    fn ready(&self) -> Response<Full<Bytes>> {
        let report = self.readiness.report();
        let status = if report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        text(status, report.to_string())
    }

    /// The metrics of sidecar and application.
    async fn all_metrics<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let application = self.scraper.fetch(request.headers()).await;
        if application.is_empty() {
            return self.metrics.page();
        }
        // After the application's answers, so that their failures are counted in this page already.
        let mut pages = vec![Page {
            form: Form::OpenMetrics,
            text: self.metrics.0.encode().into_bytes(),
        }];
        pages.extend(application);
        let Page { form, text: page } = merge(&pages);
        let mut response = text(StatusCode::OK, page);
        let content_type = match form {
            Form::OpenMetrics => OPEN_METRICS,
            Form::Text => TEXT_METRICS,
        };
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    /// Runs `act` for a process of the same pod.
    fn control(
        &self,
        peer: IpAddr,
        path: &str,
        act: impl Fn(&dyn Control),
    ) -> Response<Full<Bytes>> {
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

    async fn probe<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
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
    async fn handle<B: Send + Sync>(
        &self,
        peer: IpAddr,
        request: Request<B>,
    ) -> Response<Full<Bytes>> {
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
            paths::STATS_PROMETHEUS | METRICS if reads => self.all_metrics(&request).await,
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
        Self(registry)
    }

    /// The page that Prometheus reads.
    pub(crate) fn page(&self) -> Response<Full<Bytes>> {
        let mut response = text(StatusCode::OK, self.0.encode());
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response
    }
}

impl Handler for Metrics {
    async fn handle<B: Send + Sync>(
        &self,
        _peer: IpAddr,
        request: Request<B>,
    ) -> Response<Full<Bytes>> {
        match request.uri().path() {
            paths::STATS_PROMETHEUS | METRICS
                if [Method::GET, Method::HEAD].contains(request.method()) =>
            {
                self.page()
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

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

pub(crate) fn not_found() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "there is no such page\n")
}

pub(crate) fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
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

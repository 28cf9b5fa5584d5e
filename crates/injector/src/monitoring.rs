//! Readiness and metrics over HTTP.
//!
//! [`router`] is served in plaintext on `--monitoring-addr`; `/ready` is answered on the webhook's port too, because that is the port
//! whose health matters. Nothing here changes anything.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::{HeaderName, StatusCode, header};
use runtime::{
    metrics::{CONTENT_TYPE, Registry},
    readiness::Readiness,
};

/// `GET /ready` and `GET /metrics`.
pub fn router(readiness: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/ready", get(ready).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry))
}

/// 200 if the program is fit to serve, else 503; the body says what is missing and what is degraded.
pub async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let report = readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, report.to_string())
}

async fn metrics(
    State(registry): State<Arc<Registry>>,
) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], registry.encode())
}

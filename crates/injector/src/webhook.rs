//! The admission webhook: pods in, patches out, and objects of the user judged.
//!
//! [`router`] is served over TLS by `server`; each request goes through `body` (bounded bytes), `review` (what is asked), `admit` (the
//! decision, by the crate `template`) and back. Whatever comes in, a client that speaks HTTP gets an HTTP answer, and one that sends
//! JSON to `/inject` gets an AdmissionReview.
//!
//! ```text
//! POST /inject ─► body::read ─► review::decode ─► admit::decide ─► Answer::to_json
//!                 413, 400, 415   denial            patch, pass, denial
//! POST /validate ─► body::read ─► review::decode_submission ─► policy::check ─► Answer::to_json
//! ```

mod admit;
pub mod body;
mod report;
pub mod review;
pub mod tls;
pub mod validate;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use runtime::readiness::Readiness;
use template::environment;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{
    cluster::{events::Events, namespaces::Directory},
    files::Live,
    metrics::Injection as Metrics,
    monitoring,
};
use admit::Decided;
use body::{BodyError, Budget};
use review::Verdict;
use validate::Validator;

/// What the webhook works with.
#[derive(Clone)]
pub struct Webhook {
    /// The injection configuration, read once per request.
    pub configuration: Live<template::Config>,
    /// What is known of namespaces.
    pub namespaces: Directory,
    /// What is counted.
    pub metrics: Metrics,
    /// Where workloads are told what became of their pods.
    pub events: Events,
}

#[derive(Clone)]
struct Shared {
    webhook: Arc<Webhook>,
    budget: Budget,
}

/// Why a request is answered without a review.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the content type is `{}`, send application/json", found.as_deref().unwrap_or_default())]
    ContentType { found: Option<String> },
}

/// `POST /inject`, `POST /inject/KEY/VALUE/…`, `POST /validate` and `GET /ready`.
pub fn router(webhook: Webhook, validator: Validator, readiness: Readiness) -> Router {
    let budget = Budget::default();
    let validate = validate::Shared {
        validator,
        budget: budget.clone(),
    };
    let shared = Shared {
        webhook: Arc::new(webhook),
        budget,
    };
    Router::new()
        .route("/inject", post(inject))
        .route("/inject/", post(inject))
        .route("/inject/{*parameters}", post(inject_with))
        .with_state(shared)
        .route("/validate", post(validate::respond).with_state(validate))
        .route("/ready", get(monitoring::ready).with_state(readiness))
}

async fn inject(State(shared): State<Shared>, request: Request) -> Response {
    respond(&shared, &BTreeMap::new(), request).await
}

async fn inject_with(
    State(shared): State<Shared>,
    Path(parameters): Path<String>,
    request: Request,
) -> Response {
    respond(
        &shared,
        &environment::from_path(&format!("/inject/{parameters}")),
        request,
    )
    .await
}

async fn respond(
    shared: &Shared,
    environment: &BTreeMap<String, String>,
    request: Request,
) -> Response {
    let metrics = &shared.webhook.metrics;
    metrics.requested();
    let (head, body) = request.into_parts();
    let bytes = match body::read(&head.headers, body, &shared.budget).await {
        Ok(bytes) => bytes,
        Err(error) => return refuse(metrics, &Refusal::Body(error)),
    };
    if let Err(refusal) = check_content_type(&head.headers) {
        return refuse(metrics, &refusal);
    }
    // From here on it is all computation: a millisecond on this thread costs less than handing the pod to another.
    let begin = Instant::now();
    let decided = match review::decode(&bytes) {
        Ok(admission) => {
            drop(bytes);
            let namespace = shared.webhook.namespaces.lookup(&admission.namespace);
            let configuration = shared.webhook.configuration.load();
            admit::decide(&configuration, admission, &namespace, environment)
        }
        Err(answer) => Decided {
            answer: *answer,
            notices: Vec::new(),
            dry_run: false,
        },
    };
    record(metrics, &decided);
    let json = decided.answer.to_json();
    metrics.took(begin.elapsed());
    for notice in decided.notices {
        shared.webhook.events.workload(notice);
    }
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

fn refuse(metrics: &Metrics, refusal: &Refusal) -> Response {
    metrics.failed();
    debug!(error = %refusal, "request refused");
    (status(refusal), format!("{refusal}\n")).into_response()
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Body(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Body(BodyError::Slow) => StatusCode::REQUEST_TIMEOUT,
        Refusal::Body(BodyError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Body(BodyError::Empty | BodyError::Broken) => StatusCode::BAD_REQUEST,
        Refusal::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    }
}

fn record(metrics: &Metrics, decided: &Decided) {
    let answer = &decided.answer;
    // Quoted, because nobody has checked yet what names and annotations hold.
    let (pod, uid) = (answer.envelope.subject(), answer.envelope.uid());
    if decided.dry_run {
        debug!(?pod, ?uid, "dry run answered");
        metrics.rehearsed();
        return;
    }
    match &answer.verdict {
        Verdict::Patch(_) => {
            debug!(?pod, ?uid, "pod injected");
            metrics.injected();
        }
        Verdict::Pass(reason) => {
            info!(?pod, ?uid, reason, "pod not injected");
            metrics.skipped(reason);
        }
        Verdict::Deny(denial) => {
            warn!(?pod, ?uid, error = ?denial.message, "request denied");
            metrics.failed();
        }
    }
}

/// `application/json`, with or without parameters.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let found = headers.get(header::CONTENT_TYPE);
    if found.is_some_and(is_json) {
        return Ok(());
    }
    Err(Refusal::ContentType {
        found: found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
    })
}

fn is_json(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .is_some_and(|essence| {
            essence
                .trim_ascii()
                .eq_ignore_ascii_case(b"application/json")
        })
}

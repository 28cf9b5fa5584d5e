//! Who calls: the bearer token of each call, reviewed before anything else of the call is read.
//!
//! [`Authenticator::layer`] stands before every service of the listeners. Reviews are few at once and bounded in number, so a flood of
//! tokens keeps neither the API server busy nor memory; the same token is reviewed once in a while only, see `remembered`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use futures_util::FutureExt as _;
use http::{HeaderMap, header};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};

use super::{
    Caller, Refusal, Review, answer,
    remembered::{self, Answer, Remembered},
    voice::Voice,
};

/// Reviews at once. One takes the API server some milliseconds, so these are thousands a second.
const AT_ONCE: usize = 32;
/// Reviews that wait for their turn, at most.
const WAITING: usize = 8192;
/// How long a call waits for its review.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest token that is reviewed; a projected one has one or two thousand bytes.
const MAX_TOKEN: usize = 16 << 10;

/// Knows callers by their tokens; clones share what they know.
#[derive(Clone)]
pub struct Authenticator(Arc<Shared>);

struct Shared {
    review: Arc<dyn Review>,
    remembered: Mutex<Remembered>,
    waiting: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    metrics: Metrics,
    voice: Voice,
}

/// What is counted of it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// A gauge that only rises: OpenMetrics would append `_total` to a counter, and Istio's name has none.
    refused: Gauge,
    reviews: Family<ReviewLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReviewLabels {
    result: ReviewResult,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(
    non_camel_case_types,
    reason = "the variants' names are the label's values"
)]
enum ReviewResult {
    accepted,
    refused,
    failed,
}

// === impl Authenticator ===

impl Authenticator {
    /// Asks `review` about tokens that it has not seen for a while.
    #[must_use]
    pub fn new(review: Arc<dyn Review>, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            review,
            remembered: Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            metrics,
            voice: Voice::default(),
        }))
    }

    /// `router`, whose calls have a [`Caller`] among their extensions; others are answered with a status at once.
    pub fn layer(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), authenticated))
    }

    /// Who the caller is that sends these `headers`.
    ///
    /// # Errors
    /// When there is no token, or it proves nothing, or it cannot be reviewed now. Dropping the future loses nothing.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = bearer(headers)?;
        let key = remembered::key(token);
        let Some(key) = key else {
            return self.begin(token)?.await;
        };
        let answer = {
            let now = Instant::now();
            let mut remembered = self
                .0
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match remembered.find(&key, now) {
                Some(answer) => answer,
                None => {
                    let answer = self.begin(token)?;
                    remembered.insert(key, answer.clone(), now);
                    answer
                }
            }
        };
        answer.await
    }

    /// A review, as soon as it is its turn.
    fn begin(&self, token: &str) -> Result<Answer, Refusal> {
        let shared = &self.0;
        let waiting = Arc::clone(&shared.waiting);
        let place = waiting.try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let (turns, metrics) = (Arc::clone(&shared.turns), shared.metrics.clone());
        let review = shared.review.review(token);
        let reviewed = async move {
            let _place = place;
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            review.await
        };
        let answer = async move {
            let result = time::timeout(PATIENCE, reviewed).await;
            let result = result.unwrap_or_else(|_| {
                Err(Refusal::Unavailable {
                    reason: format!("no answer within {} s", PATIENCE.as_secs()).into(),
                })
            });
            metrics.reviewed(&result);
            result
        };
        Ok(answer.boxed().shared())
    }
}

async fn authenticated(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticator.authenticate(request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => {
            authenticator.0.metrics.refused.inc();
            authenticator.0.voice.refused(&request, &refusal);
            answer(refusal.into())
        }
    }
}

/// The token of a call.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Refusal::Missing)?;
    let value = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::Malformed)?;
    let token = token.trim();
    // A service account's token is a JWT (RFC 7519): three parts in base64url. Anything else need not bother the API server.
    let is_text = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte);
    let is_token = token.len() <= MAX_TOKEN
        && token.split('.').filter(|part| !part.is_empty()).count() == 3
        && token.bytes().all(is_text);
    if scheme.eq_ignore_ascii_case("bearer") && is_token {
        Ok(token)
    } else {
        Err(Refusal::Malformed)
    }
}

// === impl Metrics ===

impl Metrics {
    /// Counters at zero, registered in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "citadel_server_authentication_failure_count",
            "Calls over gRPC that were refused because it is not known who calls",
            metrics.refused.clone(),
        );
        registry.register(
            "minimesh_injector_token_reviews",
            "Tokens that the API server was asked about, by what came of it",
            metrics.reviews.clone(),
        );
        metrics
    }

    fn reviewed(&self, result: &Result<Caller, Refusal>) {
        let result = match result {
            Ok(_) => ReviewResult::accepted,
            Err(refusal) if refusal.is_final() => ReviewResult::refused,
            Err(_) => ReviewResult::failed,
        };
        self.reviews.get_or_create(&ReviewLabels { result }).inc();
    }
}

#[cfg(test)]
mod tests;

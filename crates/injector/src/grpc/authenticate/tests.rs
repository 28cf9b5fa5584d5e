use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{body::Body, routing::post};
use futures_util::{future::BoxFuture, future::join_all};
use http::HeaderValue;
use tokio::sync::Notify;
use tower_service::Service as _;

use super::*;

/// Accepts tokens that begin with `good`, refuses others, and can be told to wait.
#[derive(Default)]
struct Judge {
    n_asked: AtomicUsize,
    n_at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    is_away: bool,
    gate: Option<Arc<Notify>>,
}

struct Reviewer(Arc<Judge>);

/// A review under way.
struct One<'a>(&'a Judge);

impl Judge {
    fn one_more(&self) -> One<'_> {
        let at_once = self.n_at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        One(self)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.n_at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Review for Reviewer {
    fn review(&self, token: &str) -> BoxFuture<'static, Result<Caller, Refusal>> {
        let judge = Arc::clone(&self.0);
        let is_good = token.starts_with("good");
        async move {
            judge.n_asked.fetch_add(1, Ordering::SeqCst);
            let _one = judge.one_more();
            match &judge.gate {
                Some(gate) => gate.notified().await,
                None => tokio::task::yield_now().await,
            }
            match (judge.is_away, is_good) {
                (true, _) => Err(Refusal::Unavailable {
                    reason: "away".into(),
                }),
                (_, true) => Ok(web()),
                _ => Err(Refusal::Audience),
            }
        }
        .boxed()
    }
}

fn web() -> Caller {
    Caller {
        namespace: "shop".into(),
        service_account: "web".into(),
        pod: None,
    }
}

fn authenticator(judge: Judge) -> (Authenticator, Arc<Judge>) {
    let judge = Arc::new(judge);
    let review = Arc::new(Reviewer(Arc::clone(&judge)));
    (Authenticator::new(review, Metrics::default()), judge)
}

fn headers(authorization: &str) -> HeaderMap {
    let value = HeaderValue::from_str(authorization).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_a_review() {
    let (authenticator, judge) = authenticator(Judge::default());
    let long = format!("Bearer a.b.{}", "c".repeat(MAX_TOKEN));
    for text in [
        "",
        "Bearer",
        "Bearer ",
        "Basic a.b.c",
        "Bearer a",
        "Bearer a.b",
        "Bearer a..c",
        "Bearer a.b.c.d",
        "Bearer a.b.c d",
        "Bearer a.b.c\"",
        &long,
    ] {
        let result = authenticator.authenticate(&headers(text)).await;
        assert_eq!(result, Err(Refusal::Malformed), "{text:.40}");
    }
    let result = authenticator.authenticate(&HeaderMap::new()).await;
    assert_eq!(result, Err(Refusal::Missing));
    assert_eq!(judge.n_asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_reviewed_once_in_a_while() {
    let (authenticator, judge) = authenticator(Judge::default());
    let (good, bad) = (headers("Bearer good.a.b"), headers("bearer bad.a.b"));
    let asked = join_all((0..100).map(|_| authenticator.authenticate(&good))).await;
    assert!(asked.into_iter().all(|result| result == Ok(web())));
    for _ in 0..3 {
        let refused = authenticator.authenticate(&bad).await;
        assert_eq!(refused, Err(Refusal::Audience));
    }
    assert_eq!(judge.n_asked.load(Ordering::SeqCst), 2);
    time::advance(remembered::BELIEVED).await;
    assert_eq!(authenticator.authenticate(&good).await, Ok(web()));
    assert_eq!(judge.n_asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_again() {
    let (authenticator, judge) = authenticator(Judge {
        is_away: true,
        ..Judge::default()
    });
    for n_asked in 1..4 {
        let refusal = authenticator
            .authenticate(&headers("Bearer good.a.b"))
            .await;
        assert!(!refusal.unwrap_err().is_final());
        assert_eq!(judge.n_asked.load(Ordering::SeqCst), n_asked);
    }
}

#[tokio::test(start_paused = true)]
async fn reviews_are_few_at_once_and_end() {
    let (authenticator, judge) = authenticator(Judge {
        gate: Some(Arc::default()),
        ..Judge::default()
    });
    let tokens = (0..WAITING + 1).map(|number| headers(&format!("Bearer good.a.{number}")));
    let asked = join_all(tokens.map(|headers| {
        let authenticator = authenticator.clone();
        async move { authenticator.authenticate(&headers).await }
    }))
    .await;
    let n_busy = asked.iter().filter(|result| **result == Err(Refusal::Busy));
    assert_eq!(n_busy.count(), 1);
    assert!(asked.iter().all(Result::is_err));
    assert_eq!(judge.most_at_once.load(Ordering::SeqCst), AT_ONCE);
}

#[tokio::test]
async fn an_abandoned_review_is_taken_up_by_whoever_asks_next() {
    let gate = Arc::new(Notify::new());
    let (authenticator, judge) = authenticator(Judge {
        gate: Some(Arc::clone(&gate)),
        ..Judge::default()
    });
    let good = headers("Bearer good.a.b");
    let first = authenticator.authenticate(&good).now_or_never();
    assert!(first.is_none());
    gate.notify_one();
    assert_eq!(authenticator.authenticate(&good).await, Ok(web()));
    assert_eq!(judge.n_asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn services_see_known_callers_only() {
    let (authenticator, _) = authenticator(Judge::default());
    let router = Router::new().route(
        "/a/b",
        post(async |request: Request| {
            let caller = request.extensions().get::<Caller>().expect("a caller");
            caller.to_string()
        }),
    );
    let mut router = authenticator.layer(router.fallback(crate::grpc::unknown));
    let mut call = async |path: &str, token: &str| {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, token)
            .body(Body::empty())
            .expect("a request");
        router.call(request).await.expect("an answer")
    };
    let status = |response: &Response| {
        let header = response.headers().get("grpc-status")?;
        header.to_str().ok()?.parse::<i32>().ok()
    };
    let accepted = call("/a/b", "Bearer good.a.b").await;
    let body = axum::body::to_bytes(accepted.into_body(), 100).await;
    assert_eq!(body.expect("a body"), "shop/web");
    let refused = call("/a/b", "Bearer bad.a.b").await;
    assert_eq!(status(&refused), Some(tonic::Code::Unauthenticated as i32));
    let unknown = call("/a/c", "Bearer good.a.b").await;
    assert_eq!(status(&unknown), Some(tonic::Code::Unimplemented as i32));
    // Who is not known learns nothing about what there is.
    let hidden = call("/a/c", "Bearer bad.a.b").await;
    assert_eq!(status(&hidden), Some(tonic::Code::Unauthenticated as i32));
}

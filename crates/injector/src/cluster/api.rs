//! What the API server answers, and what that means for whoever asked.
//!
//! Every request of the cluster parts but the watches goes through [`call`], so each has a deadline and an error that says what was
//! being done. [`ApiError::kind`] is the one place where answers become decisions.

use std::{error::Error, time::Duration};

use kube::{core::Status, runtime::watcher};
use tokio::time;

/// How long one request may take; the API server itself gives up on most after a minute.
const DEADLINE: Duration = Duration::from_secs(15);

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct ApiError {
    doing: String,
    source: Cause,
}

/// What an error means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 404: the object or its namespace is not there.
    NotFound,
    /// 403: a right is missing, or the namespace is on its way out.
    Forbidden,
    /// 409: somebody else was faster.
    Conflict,
    /// 400 or 422: the object is refused for what is in it.
    Invalid,
    /// No answer, or one that says that the server is in trouble. Trying again may help, whatever is asked.
    Unavailable,
    /// Anything else.
    Other,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{}{}", .0.message, hint(.0))]
    Refused(Box<Status>),
    #[error("the API server did not answer within {} s", DEADLINE.as_secs())]
    Slow,
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the API server's answer makes no sense")]
    Nonsense(#[source] Box<dyn Error + Send + Sync>),
}

/// Awaits the answer to one request; `doing` says what for, `create ConfigMap shop/istio-ca-root-cert`.
///
/// # Errors
/// When the API server refuses, cannot be reached, or takes too long. Dropping the future abandons the request, which may still be carried out.
pub async fn call<T>(
    doing: impl Into<String>,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    match time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ApiError::new(doing, error)),
        Err(_) => Err(ApiError {
            doing: doing.into(),
            source: Cause::Slow,
        }),
    }
}

/// What to do about a right that is missing. A namespace that is being removed answers 403 too, and there is nothing to do about that.
fn hint(status: &Status) -> &'static str {
    if status.code == 403 && !is_terminating(status) {
        "; the chart's ClusterRole and Role hold the rights that are needed"
    } else {
        ""
    }
}

fn is_terminating(status: &Status) -> bool {
    status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.reason == "NamespaceTerminating")
}

// === impl ApiError ===

impl ApiError {
    /// The error of a request that was made for `doing`.
    pub fn new(doing: impl Into<String>, error: kube::Error) -> Self {
        Self {
            doing: doing.into(),
            source: Cause::from(error),
        }
    }

    /// The error of a watch of `what`.
    pub fn of_watch(what: &str, error: watcher::Error) -> Self {
        let source = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Cause::from(error),
            watcher::Error::WatchError(status) => Cause::Refused(status),
            error @ watcher::Error::NoResourceVersion => Cause::Nonsense(Box::new(error)),
        };
        Self {
            doing: format!("watch {what}"),
            source,
        }
    }

    /// What it means.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.source {
            Cause::Refused(status) => kind(status),
            Cause::Slow | Cause::Unreachable(_) => Kind::Unavailable,
            Cause::Nonsense(_) => Kind::Other,
        }
    }

    /// Whether the namespace that was to be written to is being removed.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        matches!(&self.source, Cause::Refused(status) if is_terminating(status))
    }
}

fn kind(status: &Status) -> Kind {
    match status.code {
        404 => Kind::NotFound,
        401 | 403 => Kind::Forbidden,
        409 => Kind::Conflict,
        400 | 422 => Kind::Invalid,
        408 | 410 | 429 | 500..=599 => Kind::Unavailable,
        _ => Kind::Other,
    }
}

// === impl Cause ===

impl From<kube::Error> for Cause {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            kube::Error::Service(error) => Self::Unreachable(error),
            kube::Error::HyperError(error) => Self::Unreachable(Box::new(error)),
            kube::Error::ReadEvents(error) => Self::Unreachable(Box::new(error)),
            kube::Error::Auth(error) => Self::Unreachable(Box::new(error)),
            error => Self::Nonsense(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::error::chain;

    use super::*;

    fn refused(code: u16, message: &str) -> ApiError {
        let status = Status::failure(message, "Reason").with_code(code);
        ApiError::new("get Secret a/b", kube::Error::Api(status.boxed()))
    }

    #[test]
    fn answers_mean_what_their_code_says() {
        for (code, expected) in [
            (404, Kind::NotFound),
            (401, Kind::Forbidden),
            (403, Kind::Forbidden),
            (409, Kind::Conflict),
            (422, Kind::Invalid),
            (429, Kind::Unavailable),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
            (418, Kind::Other),
        ] {
            assert_eq!(refused(code, "x").kind(), expected, "{code}");
        }
        let lost = kube::Error::Service("connection refused".into());
        assert_eq!(ApiError::new("x", lost).kind(), Kind::Unavailable);
    }

    #[test]
    fn errors_say_what_was_done_and_what_to_do() {
        let error = refused(403, "secrets is forbidden");
        assert_eq!(
            chain(&error).to_string(),
            "cannot get Secret a/b: secrets is forbidden; the chart's ClusterRole and Role hold the rights that are needed"
        );
        let lost = ApiError::new("get x", kube::Error::Service("no route".into()));
        assert_eq!(
            chain(&lost).to_string(),
            "cannot get x: the API server cannot be reached: no route"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends() {
        let error = call("get x", std::future::pending::<kube::Result<()>>())
            .await
            .expect_err("there is no answer");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(chain(&error).to_string().contains("within 15 s"));
    }
}

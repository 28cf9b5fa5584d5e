//! `POST /validate`: whether an object of the user can work, before it is there.
//!
//! Asked by the API server for each kind that the chart registers. What cannot work is refused with its fields, what is not acted on is said as a
//! warning, which kubectl prints. The judgement is `policy::check`'s, so admission and status never disagree.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use contract::policy::{GROUP, PEER_AUTHENTICATION};
use http::header;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tracing::{debug, info};

use super::{
    Refusal,
    body::{self, Budget},
    check_content_type,
    review::{Answer, Blame, Denial, Submission, Verdict, decode_submission},
    status,
};
use crate::policy::{
    RootNamespace,
    check::{Finding, check, sentence},
    metrics::Validation as Metrics,
    object::Object,
};

/// What `/validate` works with.
#[derive(Clone, Debug)]
pub struct Validator {
    /// The namespace whose policies are for the whole mesh.
    root: RootNamespace,
    metrics: Metrics,
}

/// A validator and the memory that bodies may take together.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) validator: Validator,
    pub(super) budget: Budget,
}

pub(super) async fn respond(State(shared): State<Shared>, request: Request) -> Response {
    let metrics = &shared.validator.metrics;
    let (head, body) = request.into_parts();
    let read = body::read(&head.headers, body, &shared.budget).await;
    let checked = read.map_err(Refusal::Body).and_then(|bytes| {
        check_content_type(&head.headers)?;
        Ok(bytes)
    });
    let bytes = match checked {
        Ok(bytes) => bytes,
        Err(refusal) => {
            let status = status(&refusal);
            metrics.broken(status);
            debug!(error = %refusal, "request refused");
            return (status, format!("{refusal}\n")).into_response();
        }
    };
    let answer = match decode_submission(&bytes) {
        Ok(submission) => shared.validator.judge(submission),
        Err(answer) => *answer,
    };
    (
        [(header::CONTENT_TYPE, "application/json")],
        answer.to_json(),
    )
        .into_response()
}

// === impl Validator ===

impl Validator {
    /// A validator for a mesh whose own policies are in `root`; what it counts goes into `registry`.
    #[must_use]
    pub fn new(root: RootNamespace, registry: &mut Registry) -> Self {
        Self {
            root,
            metrics: Metrics::register(registry),
        }
    }

    /// The answer to `submission`.
    fn judge(&self, submission: Submission) -> Answer {
        let Submission {
            envelope,
            namespace,
            group,
            kind,
            object,
            dry_run,
        } = submission;
        if (group.as_str(), kind.as_str()) != (GROUP, PEER_AUTHENTICATION) {
            return Answer {
                envelope,
                verdict: Verdict::Pass("other-kind"),
                warnings: vec![format!(
                    "{kind} ({group}) is not acted on by this control plane"
                )],
            };
        }
        let (verdict, warnings) = match self.check(object, namespace) {
            Ok(remarks) => (Verdict::Pass("accepted"), remarks),
            Err(problems) => (
                Verdict::Deny(Denial {
                    blame: Blame::Object,
                    message: sentence(&problems),
                }),
                Vec::new(),
            ),
        };
        if !dry_run {
            self.metrics.judged(matches!(verdict, Verdict::Pass(_)));
        }
        if let Verdict::Deny(denial) = &verdict {
            // Quoted, because nobody has checked yet what a name holds.
            info!(kind, object = ?envelope.subject(), error = ?denial.message, "object refused");
        }
        Answer {
            envelope,
            verdict,
            warnings: warnings.iter().map(Finding::to_string).collect(),
        }
    }

    fn check(&self, object: Value, namespace: String) -> Result<Vec<Finding>, Vec<Finding>> {
        let mut object: Object = serde_json::from_value(object)
            .map_err(|error| vec![Finding::new("metadata", format!("cannot be read: {error}"))])?;
        object.metadata.namespace = Some(namespace);
        check(&object, &self.root.name()).map(|checked| checked.remarks)
    }
}

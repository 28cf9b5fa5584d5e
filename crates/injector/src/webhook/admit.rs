//! From what a review asks to what it is answered.
//!
//! Called by the webhook for each pod; the decision and the pod are the crate `template`'s, the same that `minimesh kube-inject` shows.
//! This is the edge where its errors become blame: an annotation is the author's, a template the operator's. Pure.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use runtime::error::chain;
use serde_json::Value;
use template::{Config, Error, Namespace, Outcome, Reason, Request, Warning, patch};

use super::{
    report::{self, Remark},
    review::{Admission, Answer, Blame, Denial, Verdict},
};
use crate::cluster::events::Notice;

/// What comes of a review.
pub(super) struct Decided {
    /// What the API server is told.
    pub(super) answer: Answer,
    /// What the pod's workload is told.
    pub(super) notices: Vec<Notice>,
    /// Whether nothing comes of the pod.
    pub(super) dry_run: bool,
}

/// Decides about the pod of `admission`, which will be in `namespace`; `environment` is what the webhook's URL sets on the sidecar.
pub(super) fn decide(
    config: &Config,
    admission: Admission,
    namespace: &Namespace,
    environment: &BTreeMap<String, String>,
) -> Decided {
    let request = Request {
        pod: &admission.pod,
        namespace,
        owner: None,
        environment,
    };
    // A panic would drop the connection, and with it every review of the API server that waits on it.
    let (verdict, remarks) = catch_unwind(AssertUnwindSafe(|| judge(config, &request)))
        .unwrap_or_else(|_| (broken(), Vec::new()));
    Decided {
        notices: report::notices(&admission, &namespace.name, &verdict, &remarks),
        dry_run: admission.dry_run,
        answer: Answer {
            envelope: admission.envelope,
            verdict,
            warnings: remarks.iter().map(Remark::line).collect(),
        },
    }
}

fn judge(config: &Config, request: &Request<'_>) -> (Verdict, Vec<Remark>) {
    let outcome = match template::inject(config, request) {
        Ok(outcome) => outcome,
        Err(error) => return (Verdict::Deny(denial(&error)), Vec::new()),
    };
    let surprises = template::surprises(request.pod, &outcome);
    let surprises = surprises
        .iter()
        .map(|surprise| remark(surprise.code.as_str(), surprise));
    match outcome {
        Outcome::Injected { pod, warnings } => {
            let verdict = changes(request.pod, &pod);
            (verdict, remarks(&warnings).chain(surprises).collect())
        }
        Outcome::Skipped { reason, warnings } => {
            let excuse = excuse(&reason).into_iter();
            let all = excuse.chain(remarks(&warnings)).chain(surprises);
            (Verdict::Pass(reason.code()), all.collect())
        }
    }
}

fn remarks(warnings: &[Warning]) -> impl Iterator<Item = Remark> {
    let of = |warning: &Warning| remark(warning.code(), warning);
    warnings.iter().map(of)
}

fn remark(code: &'static str, text: &impl ToString) -> Remark {
    Remark {
        code,
        excludes: false,
        text: text.to_string(),
    }
}

fn changes(before: &Value, after: &Value) -> Verdict {
    match serde_json::to_vec(&patch::diff(before, after)) {
        Ok(patch) => Verdict::Patch(patch),
        Err(_) => broken(),
    }
}

/// What to tell the author of a pod that is not injected: nothing if that is what it asks for, because it would be noise. Any other pod comes
/// here only because its namespace or its own label wants it injected.
fn excuse(reason: &Reason) -> Option<Remark> {
    let is_own_wish = matches!(
        reason,
        Reason::OptedOutByLabel | Reason::OptedOutByAnnotation
    );
    (!is_own_wish).then(|| Remark {
        code: reason.code(),
        excludes: true,
        text: format!("{reason}; {}", reason.fix()),
    })
}

fn denial(error: &Error) -> Denial {
    let blame = match error {
        Error::Shape { .. }
        | Error::Annotations { .. }
        | Error::Structure { .. }
        | Error::CaptureBypass { .. }
        | Error::UnknownTemplate { .. }
        | Error::Overrides { .. }
        | Error::ScrapePort { .. } => Blame::Object,
        _ => Blame::Injector,
    };
    Denial {
        blame,
        message: chain(error).to_string(),
    }
}

fn broken() -> Verdict {
    Verdict::Deny(Denial {
        blame: Blame::Injector,
        message: "the injector failed on this pod and its log says where; please report it with the pod's manifest".to_owned(),
    })
}

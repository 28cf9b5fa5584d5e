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

use super::review::{Admission, Answer, Blame, Denial, Verdict};

/// Decides about the pod of `admission`, which will be in `namespace`; `environment` is what the webhook's URL sets on the sidecar.
pub(super) fn decide(
    config: &Config,
    admission: Admission,
    namespace: &Namespace,
    environment: &BTreeMap<String, String>,
) -> Answer {
    let request = Request {
        pod: &admission.pod,
        namespace,
        owner: None,
        environment,
    };
    // A panic would drop the connection, and with it every review of the API server that waits on it.
    let (verdict, warnings) = catch_unwind(AssertUnwindSafe(|| judge(config, &request)))
        .unwrap_or_else(|_| (broken(), Vec::new()));
    Answer {
        envelope: admission.envelope,
        verdict,
        warnings,
    }
}

fn judge(config: &Config, request: &Request<'_>) -> (Verdict, Vec<String>) {
    let outcome = match template::inject(config, request) {
        Ok(outcome) => outcome,
        Err(error) => return (Verdict::Deny(denial(&error)), Vec::new()),
    };
    let surprises = template::surprises(request.pod, &outcome);
    let surprises = surprises
        .iter()
        .map(|surprise| format!("{}: {surprise}", surprise.code.as_str()));
    match outcome {
        Outcome::Injected { pod, warnings } => {
            let verdict = changes(request.pod, &pod);
            (verdict, lines(&warnings).chain(surprises).collect())
        }
        Outcome::Skipped { reason, warnings } => {
            let excuse = excuse(&reason).into_iter();
            let warnings = excuse.chain(lines(&warnings)).chain(surprises).collect();
            (Verdict::Pass(reason.code()), warnings)
        }
    }
}

fn lines(warnings: &[Warning]) -> impl Iterator<Item = String> {
    let line = |warning: &Warning| format!("{}: {warning}", warning.code());
    warnings.iter().map(line)
}

fn changes(before: &Value, after: &Value) -> Verdict {
    match serde_json::to_vec(&patch::diff(before, after)) {
        Ok(patch) => Verdict::Patch(patch),
        Err(_) => broken(),
    }
}

/// What to tell the author of a pod that is not injected: nothing if that is what it asks for, because it would be noise. Any other pod comes
/// here only because its namespace or its own label wants it injected.
fn excuse(reason: &Reason) -> Option<String> {
    let is_own_wish = matches!(
        reason,
        Reason::OptedOutByLabel | Reason::OptedOutByAnnotation
    );
    let code = reason.code();
    (!is_own_wish).then(|| format!("not injected, {code}: {reason}; {}", reason.fix()))
}

fn denial(error: &Error) -> Denial {
    let blame = match error {
        Error::Shape { .. }
        | Error::Annotations { .. }
        | Error::UnknownTemplate { .. }
        | Error::Overrides { .. }
        | Error::ScrapePort { .. } => Blame::Pod,
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

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
use template::{
    Config, Error, Namespace, Outcome, Reason, Request, Warning, decide::asks_for_injection, patch,
};

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
    match template::inject(config, request) {
        Ok(Outcome::Injected { pod, warnings }) => {
            (changes(request.pod, &pod), lines(&warnings).collect())
        }
        Ok(Outcome::Skipped { reason, warnings }) => {
            let excuse = excuse(request.pod, &reason);
            let warnings = excuse.into_iter().chain(lines(&warnings)).collect();
            (Verdict::Pass(reason.code()), warnings)
        }
        Err(error) => (Verdict::Deny(denial(&error)), Vec::new()),
    }
}

fn lines(warnings: &[Warning]) -> impl Iterator<Item = String> {
    warnings.iter().map(ToString::to_string)
}

fn changes(before: &Value, after: &Value) -> Verdict {
    match serde_json::to_vec(&patch::diff(before, after)) {
        Ok(patch) => Verdict::Patch(patch),
        Err(_) => broken(),
    }
}

/// What to tell the author of a pod that is not injected: something only if the pod asks for it in so many words, because a
/// warning on every pod that nobody wants in the mesh would be noise.
fn excuse(pod: &Value, reason: &Reason) -> Option<String> {
    asks_for_injection(pod).then(|| format!("not injected: {reason}; {}", reason.fix()))
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

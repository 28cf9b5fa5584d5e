//! What is said about a pod beside the verdict: to whoever sent it, and to its workload.
//!
//! `admit` collects [`Remark`]s; the answer carries them as warnings, which kubectl prints, and [`notices`] makes Events of them, because
//! nobody sees the warnings of a pod that a controller created. Both follow one rule: a pod that is what it asks to be is not talked about. Pure.

use super::review::{Admission, Verdict};
use crate::cluster::events::{Notice, Object, Severity};

/// What was being done, as Events have it.
const ACTION: &str = "Inject";
/// Reason of the Event about a pod that is refused; the note tells more.
const REFUSED: &str = "InjectionRefused";

/// Something that the author of a pod should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// One of a fixed set of codes.
    pub(super) code: &'static str,
    /// Whether the pod is not injected because of it.
    pub(super) excludes: bool,
    /// What is so and what to do.
    pub(super) text: String,
}

/// What to tell the workload of the pod of `admission`, which will be in `namespace`; nothing of a dry run.
pub(super) fn notices(
    admission: &Admission,
    namespace: &str,
    verdict: &Verdict,
    remarks: &[Remark],
) -> Vec<Notice> {
    let refusal = match verdict {
        Verdict::Deny(denial) => Some(denial.message.as_str()),
        Verdict::Patch(_) | Verdict::Pass(_) => None,
    };
    if admission.dry_run || (refusal.is_none() && remarks.is_empty()) {
        return Vec::new();
    }
    let Some(about) = Object::behind(&admission.pod, namespace) else {
        return Vec::new();
    };
    let notice = |severity, reason, note| Notice {
        about: about.clone(),
        severity,
        reason,
        action: ACTION,
        note,
    };
    let refusal = refusal.map(|message| {
        let note = format!("pod refused: {message}");
        notice(Severity::Warning, REFUSED.to_owned(), note)
    });
    let remarks = remarks.iter().map(|remark| {
        let (severity, state) = if remark.excludes {
            (Severity::Warning, "pod not injected: ")
        } else {
            (Severity::Normal, "")
        };
        let note = format!("{state}{}", remark.text);
        notice(severity, camel_case(remark.code), note)
    });
    refusal.into_iter().chain(remarks).collect()
}

/// `host-network` as `HostNetwork`.
fn camel_case(code: &str) -> String {
    let mut word = String::with_capacity(code.len());
    let mut begins = true;
    for letter in code.chars() {
        if letter == '-' {
            begins = true;
        } else if std::mem::take(&mut begins) {
            word.extend(letter.to_uppercase());
        } else {
            word.push(letter);
        }
    }
    word
}

// === impl Remark ===

impl Remark {
    /// The line that kubectl prints.
    pub(super) fn line(&self) -> String {
        let state = if self.excludes { "not injected, " } else { "" };
        format!("{state}{}: {}", self.code, self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::webhook::review::{Blame, Denial, decode};

    fn told(dry_run: bool, verdict: &Verdict, remarks: &[Remark]) -> Vec<(Severity, String)> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {"uid": "u", "dryRun": dry_run, "object": {"metadata": {"name": "web"}}},
        });
        let admission = decode(review.to_string().as_bytes()).expect("a review");
        let notices = notices(&admission, "shop", verdict, remarks);
        let shown = |notice: Notice| {
            (
                notice.severity,
                format!("{}: {}", notice.reason, notice.note),
            )
        };
        notices.into_iter().map(shown).collect()
    }

    #[test]
    fn workloads_are_told_what_kubectl_prints_and_what_is_refused() {
        let remark = |code, excludes| Remark {
            code,
            excludes,
            text: "this is so; do that".to_owned(),
        };
        let excluded = [remark("host-network", true)];
        let odd = [remark("runs-as-proxy", false)];
        let refused = Verdict::Deny(Denial {
            blame: Blame::Object,
            message: "no".to_owned(),
        });
        let pass = Verdict::Pass("host-network");
        let patch = Verdict::Patch(Vec::new());
        let table = [
            (
                &pass,
                &excluded[..],
                Some((
                    Severity::Warning,
                    "HostNetwork: pod not injected: this is so; do that",
                )),
            ),
            (
                &patch,
                &odd,
                Some((Severity::Normal, "RunsAsProxy: this is so; do that")),
            ),
            (
                &refused,
                &[],
                Some((Severity::Warning, "InjectionRefused: pod refused: no")),
            ),
            (&pass, &[], None),
            (&patch, &[], None),
        ];
        for (verdict, remarks, expected) in table {
            let expected: Vec<_> = expected
                .map(|(severity, text)| (severity, text.to_owned()))
                .into_iter()
                .collect();
            assert_eq!(told(false, verdict, remarks), expected, "{verdict:?}");
            assert_eq!(
                told(true, verdict, remarks),
                [],
                "a dry run has no side effect"
            );
        }
        assert_eq!(
            excluded[0].line(),
            "not injected, host-network: this is so; do that"
        );
        assert_eq!(odd[0].line(), "runs-as-proxy: this is so; do that");
    }
}

//! Causes: a stable code, a sentence about this pod, and what to do.
//!
//! Made from what the template, the webhooks and the judge find, so that all of it is printed alike.
//! [`catalogue`] lists every code that can appear, for the reference page and its test.

use serde::Serialize;
use template::{Reason, Surprise, Warning, decide::Code};

use super::webhooks::Passed;

/// Something to know about a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    /// Stable.
    #[serde(rename = "reason")]
    pub(super) code: &'static str,
    /// What is so; lower case, without a full stop.
    pub(super) message: String,
    /// What to do.
    pub(super) fix: &'static str,
}

/// What only this command can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The injector would refuse the pod.
    Refused,
    /// A running pod without the sidecar that it would get now.
    OlderThanConfiguration,
    /// A sidecar of another revision or image than the configuration's.
    StaleSidecar,
    /// An injected pod that would not be injected any more.
    NoLongerInjected,
    /// What belongs on the pod template is on the workload.
    MisplacedOnOwner,
    /// What belongs on a pod is on the namespace.
    PodLabelOnNamespace,
}

/// Every code, with its fix, by what it is about.
pub struct Catalogue {
    /// Why the API server does not ask the injector.
    pub not_asked: Vec<(&'static str, &'static str)>,
    /// Why the injector does not inject.
    pub not_injected: Vec<(&'static str, &'static str)>,
    /// What is surprising about a pod that the injector sees.
    pub surprises: Vec<(&'static str, &'static str)>,
    /// What only `minimesh why` sees.
    pub findings: Vec<(&'static str, &'static str)>,
}

/// Every code that `minimesh why` can print.
#[must_use]
pub fn catalogue() -> Catalogue {
    let warnings = Warning::all().map(|warning| (warning.code(), warning.fix()));
    let surprises = Code::ALL.map(|code| (code.as_str(), code.fix()));
    Catalogue {
        not_asked: Passed::ALL
            .map(|passed| (passed.code(), passed.fix()))
            .into(),
        not_injected: Reason::all()
            .map(|reason| (reason.code(), reason.fix()))
            .into(),
        surprises: warnings.into_iter().chain(surprises).collect(),
        findings: Finding::ALL
            .map(|finding| (finding.code(), finding.fix()))
            .into(),
    }
}

// === impl Cause ===

impl From<&Reason> for Cause {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code(),
            message: reason.to_string(),
            fix: reason.fix(),
        }
    }
}

impl From<&Warning> for Cause {
    fn from(warning: &Warning) -> Self {
        Self {
            code: warning.code(),
            message: warning.to_string(),
            fix: warning.fix(),
        }
    }
}

impl From<Surprise> for Cause {
    fn from(surprise: Surprise) -> Self {
        Self {
            code: surprise.code.as_str(),
            message: surprise.message,
            fix: surprise.code.fix(),
        }
    }
}

// === impl Finding ===

impl Finding {
    const ALL: [Self; 6] = [
        Self::Refused,
        Self::OlderThanConfiguration,
        Self::StaleSidecar,
        Self::NoLongerInjected,
        Self::MisplacedOnOwner,
        Self::PodLabelOnNamespace,
    ];

    pub(super) fn of(self, message: impl Into<String>) -> Cause {
        Cause {
            code: self.code(),
            message: message.into(),
            fix: self.fix(),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::OlderThanConfiguration => "older-than-configuration",
            Self::StaleSidecar => "stale-sidecar",
            Self::NoLongerInjected => "no-longer-injected",
            Self::MisplacedOnOwner => "misplaced-on-owner",
            Self::PodLabelOnNamespace => "pod-label-on-namespace",
        }
    }

    fn fix(self) -> &'static str {
        match self {
            Self::Refused => "correct what the message names",
            Self::OlderThanConfiguration => {
                "restart the workload: only new pods are injected (kubectl rollout restart)"
            }
            Self::StaleSidecar => "restart the workload (kubectl rollout restart)",
            Self::NoLongerInjected => "restart the workload if it is to leave the mesh",
            Self::MisplacedOnOwner => "move it to the metadata of the pod template",
            Self::PodLabelOnNamespace => {
                "label the namespace istio-injection=enabled, or the pod template with what is there"
            }
        }
    }
}

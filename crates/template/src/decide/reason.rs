//! The reasons why a pod is not injected.
//!
//! Given by `decide`; said by the webhook, the metrics and the command line.
//! A code never changes its meaning, and there is a fixed set of them, so it can be a metric's label.

use std::fmt::{self, Display, Formatter};

/// Why a pod is not injected. Codes are stable: metrics, events and scripts use them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The pod uses the node's network, whose traffic is not the pod's to capture.
    HostNetwork,
    /// The pod runs on Windows, where the sidecar does not.
    Windows,
    /// The namespace belongs to Kubernetes itself.
    ProtectedNamespace(String),
    /// The pod runs from a file on its node, and what the API server has is a picture of it.
    MirrorPod,
    /// The pod's label says no.
    OptedOutByLabel,
    /// The pod's annotation says no.
    OptedOutByAnnotation,
    /// A selector of the configuration excludes the pod.
    NeverSelector,
    /// The policy is `disabled` and the pod does not ask.
    PolicyDisabled,
    /// The policy is neither `enabled` nor `disabled`.
    PolicyUnknown(String),
}

// === impl Reason ===

impl Reason {
    /// Every reason, in the order in which the questions are asked; names in them are empty.
    #[must_use]
    pub fn all() -> [Self; 9] {
        [
            Self::HostNetwork,
            Self::Windows,
            Self::ProtectedNamespace(String::new()),
            Self::MirrorPod,
            Self::PolicyUnknown(String::new()),
            Self::OptedOutByLabel,
            Self::OptedOutByAnnotation,
            Self::NeverSelector,
            Self::PolicyDisabled,
        ]
    }

    /// The stable code, for metrics, events and scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::HostNetwork => "host-network",
            Self::Windows => "windows",
            Self::ProtectedNamespace(_) => "protected-namespace",
            Self::MirrorPod => "mirror-pod",
            Self::OptedOutByLabel => "opted-out-by-label",
            Self::OptedOutByAnnotation => "opted-out-by-annotation",
            Self::NeverSelector => "never-selector",
            Self::PolicyDisabled => "policy-disabled",
            Self::PolicyUnknown(_) => "policy-unknown",
        }
    }

    /// What to do to have the pod injected.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::HostNetwork => "remove hostNetwork from the pod, or run it outside of the mesh",
            Self::Windows => "run the pod on Linux nodes, or outside of the mesh",
            Self::ProtectedNamespace(_) => "run the pod in a namespace of its own",
            Self::MirrorPod => {
                "run the pod by a Deployment or DaemonSet instead of a file on the node"
            }
            Self::OptedOutByLabel => {
                "remove the label sidecar.istio.io/inject from the pod template, or set it to \"true\""
            }
            Self::OptedOutByAnnotation => {
                "remove the annotation sidecar.istio.io/inject from the pod template, or set the label of that name to \"true\""
            }
            Self::NeverSelector => {
                "change the pod's labels, or neverInjectSelector in ConfigMap istio-sidecar-injector"
            }
            Self::PolicyDisabled => {
                "set the label sidecar.istio.io/inject: \"true\" on the pod template"
            }
            Self::PolicyUnknown(_) => {
                "set policy in ConfigMap istio-sidecar-injector to enabled or disabled"
            }
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str("the pod has host networking enabled"),
            Self::Windows => f.write_str("the pod runs on Windows, where the sidecar does not"),
            Self::ProtectedNamespace(namespace) => {
                write!(f, "namespace {namespace} is never injected")
            }
            Self::MirrorPod => f.write_str("the pod is the mirror of a static pod"),
            Self::OptedOutByLabel => {
                f.write_str("the pod's label sidecar.istio.io/inject is \"false\"")
            }
            Self::OptedOutByAnnotation => {
                f.write_str("the pod's annotation sidecar.istio.io/inject is \"false\"")
            }
            Self::NeverSelector => {
                f.write_str("neverInjectSelector of the injection configuration matches the pod")
            }
            Self::PolicyDisabled => f.write_str(
                "the injection policy is disabled and the pod does not ask for injection",
            ),
            Self::PolicyUnknown(policy) => write!(
                f,
                "the injection policy is {policy:?}, which is neither enabled nor disabled"
            ),
        }
    }
}

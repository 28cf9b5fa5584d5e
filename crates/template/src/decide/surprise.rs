//! What the author of a pod would not expect, though nothing is wrong enough to refuse the pod.
//!
//! Asked by the webhook and the command line once a pod is decided about; looks at the pod as it came and as it became.
//! Each code comes up at most once for a pod, with the first few names concerned, so the list is as short as [`Code::ALL`] at most.

mod annotations;
mod containers;

use std::fmt::{self, Display, Formatter};

use contract::{annotations::INTERCEPTION_MODE, labels};
use serde_json::Value;

use crate::{inject::Outcome, pod};

/// A surprise: a stable code, and a sentence about this very pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surprise {
    /// Which kind.
    pub code: Code,
    /// What is so in this pod; lower case, without a full stop.
    pub message: String,
}

/// The kinds of surprises. Their texts are stable: scripts use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Label and annotation say the contrary of each other.
    ContradictingWish,
    /// A label for namespaces stands on the pod.
    NamespaceLabelOnPod,
    /// An annotation stands among the labels.
    AnnotationAsLabel,
    /// An annotation with a prefix of the mesh that nothing reads.
    UnknownAnnotation,
    /// An annotation in a form that has been replaced, or has no effect any more.
    DeprecatedAnnotation,
    /// An annotation names an image that no template takes.
    ImageIgnored,
    /// Annotations give some of the sidecar's resources and so drop the rest.
    PartialResources,
    /// An application container runs as the sidecar's user or group.
    RunsAsProxy,
    /// An application container may change the rules of the capture.
    NetAdmin,
    /// An application container listens on a port of the sidecar.
    PortCollision,
    /// The application runs before the sidecar, while its traffic is captured already.
    InitBeforeSidecar,
    /// A pod that is to end has a sidecar that does not.
    NeverEnds,
    /// The pod's DNS does not know the control plane.
    DnsPolicy,
    /// The application sees the sidecar's processes.
    SharedProcessNamespace,
    /// The pod is in the ambient mesh as well.
    AmbientToo,
    /// The pod turns the capture off.
    NoCapture,
}

/// Names of containers, ports or annotations that one sentence lists.
const MAX_LISTED: usize = 3;

/// The pod label that puts a pod into an ambient mesh.
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// What is surprising about `pod`, of which `outcome` came.
///
/// About a pod that is not injected only what it asks for counts.
#[must_use]
pub fn surprises(pod: &Value, outcome: &Outcome) -> Vec<Surprise> {
    let wishes = [contradicting_wish(pod), namespace_label(pod)];
    let mut found: Vec<_> = wishes.into_iter().flatten().collect();
    if let Outcome::Injected {
        pod: injected_pod, ..
    } = outcome
    {
        found.extend(annotations::surprises(pod, injected_pod));
        found.extend(containers::surprises(pod, injected_pod));
        found.extend(of_spec(pod));
    }
    found
}

fn contradicting_wish(pod: &Value) -> Option<Surprise> {
    let label = pod::label(pod, labels::INJECT)?;
    let annotation = pod::annotation(pod, labels::INJECT)?;
    (label != annotation).then(|| {
        Code::ContradictingWish.of(format!(
            "label {} is {label:?} and the annotation of that name {annotation:?}; the label counts",
            labels::INJECT
        ))
    })
}

fn namespace_label(pod: &Value) -> Option<Surprise> {
    let place = [("label", "labels"), ("annotation", "annotations")]
        .into_iter()
        .find(|(_, field)| {
            pod::metadata_map(pod, field).is_some_and(|map| map.contains_key(labels::INJECTION))
        });
    let (shown, _) = place?;
    Some(Code::NamespaceLabelOnPod.of(format!(
        "the pod has the {shown} {}, which is read on namespaces only",
        labels::INJECTION
    )))
}

fn of_spec(pod: &Value) -> Vec<Surprise> {
    let spec = |field: &str| pod.get("spec").and_then(|spec| spec.get(field));
    let mut found = Vec::new();
    if let Some(policy @ ("None" | "Default")) = spec("dnsPolicy").and_then(Value::as_str) {
        found.push(Code::DnsPolicy.of(format!(
            "dnsPolicy is {policy}, so the sidecar may not find the control plane by name"
        )));
    }
    if spec("shareProcessNamespace") == Some(&Value::Bool(true)) {
        found.push(Code::SharedProcessNamespace.of(
            "shareProcessNamespace is on, so the application sees the sidecar's processes and files",
        ));
    }
    if pod::label(pod, DATAPLANE_MODE) == Some("ambient") {
        found.push(Code::AmbientToo.of(format!(
            "the pod has a sidecar and the label {DATAPLANE_MODE}: ambient"
        )));
    }
    if pod::annotation(pod, INTERCEPTION_MODE) == Some("NONE") {
        found.push(Code::NoCapture.of(format!(
            "annotation {INTERCEPTION_MODE} is NONE, so nothing is captured and nothing protected"
        )));
    }
    found
}

/// A, B, C and 2 more.
fn listed<T: Display>(all: &[T]) -> String {
    let shown: Vec<_> = all.iter().take(MAX_LISTED).map(T::to_string).collect();
    let more = all.len().saturating_sub(MAX_LISTED);
    let tail = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &tail
}

// === impl Code ===

impl Code {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::ContradictingWish,
        Self::NamespaceLabelOnPod,
        Self::AnnotationAsLabel,
        Self::UnknownAnnotation,
        Self::DeprecatedAnnotation,
        Self::ImageIgnored,
        Self::PartialResources,
        Self::RunsAsProxy,
        Self::NetAdmin,
        Self::PortCollision,
        Self::InitBeforeSidecar,
        Self::NeverEnds,
        Self::DnsPolicy,
        Self::SharedProcessNamespace,
        Self::AmbientToo,
        Self::NoCapture,
    ];

    /// The stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContradictingWish => "contradicting-wish",
            Self::NamespaceLabelOnPod => "namespace-label-on-pod",
            Self::AnnotationAsLabel => "annotation-as-label",
            Self::UnknownAnnotation => "unknown-annotation",
            Self::DeprecatedAnnotation => "deprecated-annotation",
            Self::ImageIgnored => "image-ignored",
            Self::PartialResources => "partial-resources",
            Self::RunsAsProxy => "runs-as-proxy",
            Self::NetAdmin => "net-admin",
            Self::PortCollision => "port-collision",
            Self::InitBeforeSidecar => "init-before-sidecar",
            Self::NeverEnds => "never-ends",
            Self::DnsPolicy => "dns-policy",
            Self::SharedProcessNamespace => "shared-process-namespace",
            Self::AmbientToo => "ambient-too",
            Self::NoCapture => "no-capture",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::ContradictingWish => "remove the annotation",
            Self::NamespaceLabelOnPod => {
                "label the namespace, or set the label sidecar.istio.io/inject on the pod template"
            }
            Self::AnnotationAsLabel => "move it to the annotations of the pod template",
            Self::UnknownAnnotation => "correct the name, or remove it",
            Self::DeprecatedAnnotation => "use what replaces it",
            Self::ImageIgnored => "name the whole image, registry and tag included",
            Self::PartialResources => {
                "annotate sidecar.istio.io/proxyCPU and sidecar.istio.io/proxyMemory, or neither"
            }
            Self::RunsAsProxy => "give the container another runAsUser and runAsGroup",
            Self::NetAdmin => "drop the capability, or keep the pod out of the mesh",
            Self::PortCollision => "let the application listen on another port",
            Self::InitBeforeSidecar => {
                "make the sidecar native by annotation sidecar.istio.io/nativeSidecar: \"true\", or exclude the ports that it needs"
            }
            Self::NeverEnds => {
                "make the sidecar native by annotation sidecar.istio.io/nativeSidecar: \"true\""
            }
            Self::DnsPolicy => {
                "use ClusterFirst, or name servers in dnsConfig that know the cluster's Services"
            }
            Self::SharedProcessNamespace => "leave it out unless the application is trusted",
            Self::AmbientToo => "keep one of the two",
            Self::NoCapture => {
                "remove the annotation unless the application speaks to the sidecar itself"
            }
        }
    }

    fn of(self, message: impl Into<String>) -> Surprise {
        Surprise {
            code: self,
            message: message.into(),
        }
    }
}

// === impl Surprise ===

/// The sentence and what to do.
impl Display for Surprise {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.code.fix())
    }
}

#[cfg(test)]
mod tests;

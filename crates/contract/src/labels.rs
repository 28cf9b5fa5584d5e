//! Labels on namespaces and pods.

/// Namespace: `enabled` asks for injection, `disabled` forbids it. Read by the API server through the webhook's selectors.
pub const INJECTION: &str = "istio-injection";
/// Pod: `true` or `false` decides for this pod; as an annotation it is the older form.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// Namespace and pod: the control plane's revision that serves it; as an annotation the revision that did.
pub const REVISION: &str = "istio.io/rev";
/// On a webhook configuration: the tag, a second name of a revision, that it is for. Written by the chart; read by the injector and by the command line.
pub const TAG: &str = "istio.io/tag";
/// Pod, written: the sidecar can take part in mutual TLS.
pub const TLS_MODE: &str = "security.istio.io/tlsMode";
/// Pod, written: the workload's name in telemetry.
pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
/// Pod, written: the workload's revision in telemetry.
pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
/// Pod: the workload's name, in place of the owner's.
pub const WORKLOAD_NAME: &str = "service.istio.io/workload-name";
/// Pod: what Istio's metrics call the app; the last resort for the canonical name.
pub const APP: &str = "app";
/// Pod: what Istio's metrics call the version; the last resort for the canonical revision.
pub const VERSION: &str = "version";
/// Pod: Kubernetes' recommended name of the application; before [`APP`] for the canonical name.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Pod: Kubernetes' recommended version of the application; before [`VERSION`] for the canonical revision.
pub const APP_VERSION: &str = "app.kubernetes.io/version";
/// Pod, read and written: the network that the pod is in.
pub const NETWORK: &str = "topology.istio.io/network";
/// Pod, written by Istio's templates where the sidecar serves tunnels: which protocol they have.
pub const TUNNEL: &str = "networking.istio.io/tunnel";

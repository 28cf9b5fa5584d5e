//! Environment variables of the sidecar, written by `template` and read by the agent.
//!
//! Variables that only configure one program (a flag's twin) are not here; they stand beside the flag.

/// The pod's name.
pub const POD_NAME: &str = "POD_NAME";
/// The pod's namespace.
pub const POD_NAMESPACE: &str = "POD_NAMESPACE";
/// The pod's first address.
pub const INSTANCE_IP: &str = "INSTANCE_IP";
/// The pod's service account.
pub const SERVICE_ACCOUNT: &str = "SERVICE_ACCOUNT";
/// The node's address.
pub const HOST_IP: &str = "HOST_IP";
/// The sidecar's CPU limit in whole cores, rounded up by the kubelet.
pub const ISTIO_CPU_LIMIT: &str = "ISTIO_CPU_LIMIT";
/// ProxyConfig as JSON, only what differs from the defaults.
pub const PROXY_CONFIG: &str = "PROXY_CONFIG";
/// The mesh's trust domain.
pub const TRUST_DOMAIN: &str = "TRUST_DOMAIN";
/// The original probes and lifecycle handlers as JSON, keyed by their rewritten URL path.
pub const KUBE_APP_PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";
/// Address of the certificate authority, `istiod.istio-system.svc:15012`.
pub const CA_ADDR: &str = "CA_ADDR";
/// Name of the cluster.
pub const META_CLUSTER_ID: &str = "ISTIO_META_CLUSTER_ID";
/// Name of the node.
pub const META_NODE_NAME: &str = "ISTIO_META_NODE_NAME";
/// Name of the workload that owns the pod.
pub const META_WORKLOAD_NAME: &str = "ISTIO_META_WORKLOAD_NAME";
/// The workload as a URL-like path, `kubernetes://apis/apps/v1/namespaces/NS/deployments/NAME`.
pub const META_OWNER: &str = "ISTIO_META_OWNER";
/// Comma list of the application's containers.
pub const META_APP_CONTAINERS: &str = "ISTIO_META_APP_CONTAINERS";
/// The application's ports as JSON.
pub const META_POD_PORTS: &str = "ISTIO_META_POD_PORTS";
/// `REDIRECT` or `TPROXY`; under the latter the agent takes inbound connections by a transparent socket.
pub const META_INTERCEPTION_MODE: &str = "ISTIO_META_INTERCEPTION_MODE";
/// Whether questions about names are captured, a Go boolean: `istio-init` redirects them, the agent answers.
pub const META_DNS_CAPTURE: &str = "ISTIO_META_DNS_CAPTURE";
/// Name of the mesh.
pub const META_MESH_ID: &str = "ISTIO_META_MESH_ID";
/// Name of the network that the pod is in.
pub const META_NETWORK: &str = "ISTIO_META_NETWORK";
/// The pod's `terminationGracePeriodSeconds`; the sidecar derives from it how long it may drain.
pub const TERMINATION_GRACE_PERIOD: &str = "TERMINATION_GRACE_PERIOD_SECONDS";
/// Whether rewritten probes go to 127.0.0.1 instead of the pod's address, a Go boolean.
pub const PROBE_LOCALHOST: &str = "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION";
/// Whether connections of HTTP probes to the application are kept for the next probe, a Go boolean.
pub const PROBE_KEEPALIVE: &str = "ENABLE_PROBE_KEEPALIVE_CONNECTIONS";
/// Whether metrics are for processes of the pod alone, a Go boolean.
pub const METRICS_LOCALHOST: &str = "METRICS_LOCALHOST_ACCESS_ONLY";
/// What the application's own annotations say about scraping, as JSON; the agent collects from there.
pub const PROMETHEUS_ANNOTATIONS: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
/// Port on which the sidecar serves the merged metrics under mutual TLS; none if it is not set, empty or 0.
pub const SECURE_METRICS_PORT: &str = "ENVOY_SECURE_MERGED_METRICS_PORT";
/// Whether the sidecar serves tunnels, `true` if it does.
pub const META_ENABLE_HBONE: &str = "ISTIO_META_ENABLE_HBONE";

//! Paths inside the sidecar's container, and URL paths of its servers.

/// In-memory scratch folder of the agent.
pub const PROXY_DIR: &str = "/etc/istio/proxy";
/// The pod's labels and annotations, from the downward API.
pub const POD_INFO_DIR: &str = "/etc/istio/pod";
/// The pod's labels, a `key="value"` line each.
pub const POD_LABELS: &str = "/etc/istio/pod/labels";
/// The pod's annotations, a `key="value"` line each.
pub const POD_ANNOTATIONS: &str = "/etc/istio/pod/annotations";
/// Certificates from a Secret, as files.
pub const CERTS_DIR: &str = "/etc/certs";
/// The workload's chain in that folder, its own certificate first.
pub const CERT_CHAIN_FILE: &str = "cert-chain.pem";
/// The private key in that folder.
pub const KEY_FILE: &str = "key.pem";
/// The roots to trust in that folder.
pub const ROOT_CERT_FILE: &str = "root-cert.pem";
/// The projected service account token for the certificate authority.
pub const TOKEN: &str = "/var/run/secrets/tokens/istio-token";
/// The mesh's root certificate.
pub const ROOT_CERT: &str = "/var/run/secrets/istio/root-cert.pem";
/// Revoked certificates of the mesh, PEM; absent where nothing was ever revoked.
pub const CRL: &str = "/var/run/secrets/istio/crl/ca-crl.pem";
/// Certificates that a provider puts into the pod, in files of the names above.
pub const WORKLOAD_CREDENTIALS_DIR: &str = "/var/run/secrets/workload-spiffe-credentials";
/// Where a SPIFFE implementation on the node puts its socket.
pub const WORKLOAD_SOCKET_DIR: &str = "/var/run/secrets/workload-spiffe-uds";
/// The name of that socket.
pub const WORKLOAD_SOCKET_FILE: &str = "socket";

/// URL path of readiness, on the status and the readiness port.
pub const HEALTHZ_READY: &str = "/healthz/ready";
/// URL path of the metrics.
pub const STATS_PROMETHEUS: &str = "/stats/prometheus";
/// First part of the URL path of a rewritten probe: `/app-health/CONTAINER/{livez,readyz,startupz}`.
pub const APP_HEALTH: &str = "/app-health";
/// First part of the URL path of a rewritten lifecycle handler: `/app-lifecycle/CONTAINER/{prestopz,poststartz}`.
pub const APP_LIFECYCLE: &str = "/app-lifecycle";
/// URL path that stops the agent at once.
pub const QUIT: &str = "/quitquitquit";
/// URL path that drains the agent and keeps it running.
pub const DRAIN: &str = "/drain";

/// Where Kubernetes reads a container's last words (`terminationMessagePath`); written by `istio-init`, shown by `kubectl describe pod`.
pub const TERMINATION_LOG: &str = "/dev/termination-log";
/// The DNS servers of a container (resolv.conf(5)), read by `istio-init` to capture questions to them.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

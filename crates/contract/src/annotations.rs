//! Annotations on pods: what authors may set and what injection writes.

/// Written: what was injected, as JSON (init containers, containers, volumes, pull secrets, revision). Read by the CNI plugin, see [`crate::cni`].
pub const STATUS: &str = "sidecar.istio.io/status";
/// Image of both containers, if it holds a `/`.
pub const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
/// Port of the agent's status server.
pub const STATUS_PORT: &str = "status.sidecar.istio.io/port";
/// Whether application probes are rewritten, a Go boolean.
pub const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
/// ProxyConfig as YAML, merged over the mesh's `defaultConfig`.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";
/// Written: the user's own containers that overlap with injected ones, as JSON.
pub const OVERRIDES: &str = "proxy.istio.io/overrides";
/// `true` or `false` forces the native or the ordinary form of the sidecar for this pod.
pub const NATIVE_SIDECAR: &str = "sidecar.istio.io/nativeSidecar";
/// Comma list of template names that replaces the default list.
pub const TEMPLATES: &str = "inject.istio.io/templates";
/// Written if absent: the container that `kubectl exec` picks.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Written if absent: the container that `kubectl logs` picks.
pub const DEFAULT_LOGS_CONTAINER: &str = "kubectl.kubernetes.io/default-logs-container";
/// CIDRs or `*`: which destinations are captured.
pub const INCLUDE_OUTBOUND_IP_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
/// CIDRs that are not captured.
pub const EXCLUDE_OUTBOUND_IP_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
/// Ports or `*`: which inbound ports are captured.
pub const INCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
/// Inbound ports that are not captured.
pub const EXCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
/// Outbound ports that are captured whatever the address.
pub const INCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
/// Outbound ports that are not captured.
pub const EXCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
/// Interfaces without any capture.
pub const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";
/// Interfaces of virtual machines, whose packets come in and are calls out.
pub const REROUTE_VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
/// The older name of [`REROUTE_VIRTUAL_INTERFACES`].
pub const KUBEVIRT_INTERFACES: &str = "traffic.sidecar.istio.io/kubevirtInterfaces";
/// `REDIRECT`, `TPROXY` or `NONE`: how traffic is captured.
pub const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";
/// Written under the node's agent: networks that it attaches, a comma list of NAMESPACE/NAME.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// Read and written: the port that Prometheus scrapes.
pub const PROMETHEUS_PORT: &str = "prometheus.io/port";
/// Read and written: the path that Prometheus scrapes.
pub const PROMETHEUS_PATH: &str = "prometheus.io/path";
/// Read and written: whether Prometheus scrapes the pod, a Go boolean.
pub const PROMETHEUS_SCRAPE: &str = "prometheus.io/scrape";
/// Read: several ports that the agent collects from, as PORT:PATH,…
pub const PROMETHEUS_TARGETS: &str = "prometheus.istio.io/scrape-targets";
/// Written if absent: the port of the merged metrics under mutual TLS.
pub const PROMETHEUS_SECURE_PORT: &str = "prometheus.istio.io/secure-port";

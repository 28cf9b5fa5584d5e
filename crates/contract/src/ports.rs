//! TCP ports of the sidecar and the control plane.
//!
//! The numbers are Istio's (`pkg/config/constants` and the deployment documentation), so dashboards, network policies and
//! scrape configurations keep working. The agent listens on the sidecar's ports, `istio-init` redirects to or excludes them.

/// The agent's admin interface, loopback only.
pub const ADMIN: u16 = 15000;
/// Outbound capture: `istio-init` redirects the pod's own connections here, the agent listens.
pub const OUTBOUND: u16 = 15001;
/// Inbound capture: `istio-init` redirects connections to the pod here, the agent listens.
pub const INBOUND: u16 = 15006;
/// HBONE (mutual TLS, HTTP/2 CONNECT); never redirected.
pub const HBONE: u16 = 15008;
/// The agent's status server: health, rewritten probes, merged metrics, drain.
pub const STATUS: u16 = 15020;
/// Readiness, answered through the data plane.
pub const READINESS: u16 = 15021;
/// The agent's DNS proxy, loopback only.
pub const DNS: u16 = 15053;
/// Where DNS servers answer (RFC 1035); `istio-init` redirects questions to it to [`DNS`].
pub const DOMAIN: u16 = 53;
/// The sidecar's own Prometheus metrics.
pub const PROMETHEUS: u16 = 15090;

/// Inbound ports that `istio-init` leaves alone by default because the agent itself serves them.
pub const INBOUND_EXCLUDED: [u16; 3] = [PROMETHEUS, READINESS, STATUS];

/// Discovery over plaintext gRPC, on the control plane.
pub const DISCOVERY_PLAINTEXT: u16 = 15010;
/// Discovery and certificates over TLS gRPC, on the control plane.
pub const DISCOVERY: u16 = 15012;
/// The control plane's metrics.
pub const MONITORING: u16 = 15014;
/// The admission webhook, on the control plane.
pub const WEBHOOK: u16 = 15017;

//! Names of the nf_tables table and of the netfilter chains that `istio-init` makes.
//!
//! The chain names are Istio's, so what people know from `iptables-save` reads the same.

/// The nf_tables table, family `inet`, that holds every rule of ours; Istio's own native backend uses the same name.
pub const TABLE: &str = "istio-proxy-nat";
/// Base chain on the `prerouting` hook.
pub const PREROUTING: &str = "prerouting";
/// Base chain on the `output` hook.
pub const OUTPUT: &str = "output";
/// Decides which inbound connections are captured.
pub const ISTIO_INBOUND: &str = "ISTIO_INBOUND";
/// Decides which outbound connections are captured.
pub const ISTIO_OUTPUT: &str = "ISTIO_OUTPUT";
/// Redirects to the outbound port.
pub const ISTIO_REDIRECT: &str = "ISTIO_REDIRECT";
/// Redirects to the inbound port.
pub const ISTIO_IN_REDIRECT: &str = "ISTIO_IN_REDIRECT";
/// Drops packets that connection tracking finds invalid.
pub const ISTIO_DROP: &str = "ISTIO_DROP";
/// Base chain on the `prerouting` hook at the priority of iptables' mangle table.
pub const PREROUTING_MANGLE: &str = "prerouting-mangle";

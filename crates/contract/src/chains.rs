//! Names of the nf_tables table and of the netfilter chains that `istio-init` makes.
//!
//! The chain names are Istio's, so what people know from `iptables-save` reads the same.

/// The nf_tables table, family `inet`, that holds every rule of ours; Istio's own native backend uses the same name.
pub const TABLE: &str = "istio-proxy-nat";
/// Comment of the rules that `istio-init` puts into iptables' built-in chains, by which it finds them again.
pub const RULE_COMMENT: &str = "minimesh/istio-init";
/// Base chain on the `prerouting` hook.
pub const PREROUTING: &str = "prerouting";
/// Base chain on the `output` hook.
pub const OUTPUT: &str = "output";
/// Decides which inbound connections are captured.
pub const ISTIO_INBOUND: &str = "ISTIO_INBOUND";
/// Decides which outbound connections are captured.
pub const ISTIO_OUTPUT: &str = "ISTIO_OUTPUT";
/// Gives what the proxy sends its connection tracking zone; `ISTIO_OUTPUT` in iptables' raw table.
pub const ISTIO_OUTPUT_RAW: &str = "ISTIO_OUTPUT-raw";
/// Redirects to the outbound port.
pub const ISTIO_REDIRECT: &str = "ISTIO_REDIRECT";
/// Redirects to the inbound port.
pub const ISTIO_IN_REDIRECT: &str = "ISTIO_IN_REDIRECT";
/// Drops packets that connection tracking finds invalid.
pub const ISTIO_DROP: &str = "ISTIO_DROP";
/// Base chain on the `prerouting` hook at the priority of iptables' mangle table.
pub const PREROUTING_MANGLE: &str = "prerouting-mangle";
/// Base chain on the `output` hook at the priority of iptables' mangle table.
pub const OUTPUT_MANGLE: &str = "output-mangle";
/// Base chain on the `prerouting` hook at the priority of iptables' raw table.
pub const PREROUTING_RAW: &str = "prerouting-raw";
/// Base chain on the `output` hook at the priority of iptables' raw table.
pub const OUTPUT_RAW: &str = "output-raw";
/// As [`ISTIO_INBOUND`] for TPROXY; in iptables it has the same name in another table.
pub const ISTIO_INBOUND_MANGLE: &str = "ISTIO_INBOUND-mangle";
/// Gives answers from DNS servers their connection tracking zone; `ISTIO_INBOUND` in iptables' raw table.
pub const ISTIO_INBOUND_RAW: &str = "ISTIO_INBOUND-raw";
/// Marks packets of connections that the proxy has, so that they reach it.
pub const ISTIO_DIVERT: &str = "ISTIO_DIVERT";
/// Hands new connections to the proxy with their destination unchanged.
pub const ISTIO_TPROXY: &str = "ISTIO_TPROXY";
/// Redirects questions to DNS servers.
pub const ISTIO_OUTPUT_DNS: &str = "ISTIO_OUTPUT_DNS";
/// Gives questions to DNS servers their connection tracking zone; `ISTIO_OUTPUT_DNS` in iptables' raw table.
pub const ISTIO_OUTPUT_DNS_RAW: &str = "ISTIO_OUTPUT_DNS-raw";

/// The other tables that Istio's own native backend makes, besides [`TABLE`]; `istio-init` removes them if asked.
pub const ISTIO_NATIVE_TABLES: [&str; 2] = ["istio-proxy-mangle", "istio-proxy-raw"];

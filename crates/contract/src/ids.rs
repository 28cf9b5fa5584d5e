//! Numeric identities: the proxy's user and group, packet marks, routing tables, zones of connection tracking.

/// User of the sidecar; `istio-init` lets its traffic pass, `template` writes it as `runAsUser`.
pub const PROXY_UID: u32 = 1337;
/// Group of the sidecar; `istio-init` lets its traffic pass, `template` writes it as `runAsGroup`.
pub const PROXY_GID: u32 = 1337;

/// Mark of packets that TPROXY has handed to the proxy, and of what the proxy sends to its application; Istio's default
/// (`ISTIO_INBOUND_TPROXY_MARK`), set by the rules and, on its sockets, by the agent.
pub const TPROXY_MARK: u32 = 1337;
/// Mark of what the proxy sends to a service of its own pod, so that it passes the inbound side too; Istio's, set and read by the rules.
pub const SELF_CALL_MARK: u32 = 1338;
/// Routing table that delivers marked packets to the pod itself; Istio's default (`ISTIO_INBOUND_TPROXY_ROUTE_TABLE`).
pub const TPROXY_ROUTE_TABLE: u32 = 133;
/// Priority of the routing rule that looks the mark up: before the main table (32766) and what is added without a priority.
pub const TPROXY_RULE_PRIORITY: u32 = 32764;
/// Originator (`RTPROT`) of routing rules and routes that `istio-init` makes, by which it finds them again; no program listed in
/// the kernel's `rtnetlink.h` or iproute2's `rt_protos` has this number.
pub const ROUTE_PROTOCOL: u8 = 137;

/// Zone of connection tracking for DNS between the agent and its servers.
pub const DNS_UPSTREAM_ZONE: u16 = 1;
/// Zone of connection tracking for DNS between applications and the agent.
pub const DNS_DOWNSTREAM_ZONE: u16 = 2;
/// Zone of connection tracking for what the proxy sends by TCP, set by the rules: in the zone of all others a connection of the proxy and one of
/// an application could have the same addresses and ports, one after the other, and the second would go where the first one went.
pub const PROXY_ZONE: u16 = 3;

//! Numeric identities: the proxy's user and group.

/// User of the sidecar; `istio-init` lets its traffic pass, `template` writes it as `runAsUser`.
pub const PROXY_UID: u32 = 1337;
/// Group of the sidecar; `istio-init` lets its traffic pass, `template` writes it as `runAsGroup`.
pub const PROXY_GID: u32 = 1337;

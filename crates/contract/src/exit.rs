//! Exit codes of `istio-init`, as the kubelet shows them on the pod.

/// The rules are in force.
pub const OK: u8 = 0;
/// The kernel or the environment refused; nothing was changed.
pub const FAILED: u8 = 1;
/// A flag or an environment variable is wrong; nothing was tried.
pub const USAGE: u8 = 2;
/// The rules do not do what they should; Istio's code for a failed validation.
pub const VALIDATION: u8 = 126;

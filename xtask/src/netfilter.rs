//! The netfilter tools that the kernel tests hold `istio-init` against.
//!
//! Asked by `test` before the kernel tier, and by `setup`, which installs what is missing. `istio-init` itself needs none of them.

use super::{e2e::host, project};

/// Programs, and the Debian packages that bring them.
const TOOLS: [(&str, &str); 4] = [
    ("nft", "nftables"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("ip", "iproute2"),
];

/// The packages that are missing.
pub(crate) fn missing() -> Vec<&'static str> {
    project::missing_packages(&TOOLS)
}

/// Installs what is missing, as root on Debian.
pub(crate) fn install() -> anyhow::Result<()> {
    host::install_missing(&TOOLS)
}

//! The netfilter tools that the kernel tests hold `istio-init` against.
//!
//! Asked by `test` before the kernel tier, and by `setup`, which installs what is missing. `istio-init` itself needs none of them.

use std::collections::BTreeSet;

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
    let missing = TOOLS
        .into_iter()
        .filter(|(program, _)| project::find_program(program).is_none());
    let packages: BTreeSet<_> = missing.map(|(_, package)| package).collect();
    packages.into_iter().collect()
}

/// Installs what is missing, as root on Debian.
pub(crate) fn install() -> anyhow::Result<()> {
    match missing().as_slice() {
        [] => Ok(()),
        packages => host::apt_install(packages),
    }
}

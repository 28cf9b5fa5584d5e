//! Cases of the configuration: its formats, several templates, and what is wrong with it.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let own = Case::new;
    vec![
        own("first-format", "first-format").mesh("defaultConfig: {concurrency: 2}"),
        own("first-format-curly", "first-format-curly"),
        own("first-format-relics", "first-format-relics")
            .values("global: {podDNSSearchNamespaces: [global]}")
            .mesh("defaultConfig: {parentShutdownDuration: 1m0s}"),
        own("first-format-relics", "first-format-actions")
            .values("global: {podDNSSearchNamespaces: ['[[ .DeploymentMeta.Namespace ]].global']}"),
        own("bare", "bare"),
        own("several", "several"),
        own("several", "several-asked"),
        own("several", "several-unknown"),
        own("mounts", "several-lists"),
        own("directives", "directives"),
        own("types", "types"),
        own("metadata", "metadata")
            .mesh("enablePrometheusMerge: true")
            .path("/inject/net/n1"),
        own("switch", "switch").values("pilot: {env: {ENABLE_CLUSTER_TRUST_BUNDLE_API: 'true'}}"),
        own("fails", "fails-to-render"),
        own("fails", "fails-to-parse"),
        own("fails", "fails-shape"),
        own("fails", "fails-directive"),
    ]
}

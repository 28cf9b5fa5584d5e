//! Cases of the configuration: its formats, several templates, what templates do, and what is wrong with either.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [formats(), several(), wide(), workloads(), failing(), bad()].concat()
}

fn formats() -> Vec<Case> {
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
        own("types", "types"),
        own("environment", "environment")
            .native()
            .compliance_policy("fips-140-2")
            .values("pilot: {env: {MODE: strict, LIMIT: 5, EMPTY: ''}}"),
        own("switch", "switch").values("pilot: {env: {ENABLE_CLUSTER_TRUST_BUNDLE_API: 'true'}}"),
    ]
}

/// Several templates, and how they merge.
fn several() -> Vec<Case> {
    let several = |name| Case::new("several", name);
    let gateways = |name| Case::new("gateways", name);
    vec![
        several("several"),
        several("several-asked"),
        several("several-unknown"),
        several("templates-none"),
        Case::new("mounts", "several-lists"),
        Case::new("directives", "directives"),
        Case::new("lists", "lists"),
        Case::new("metadata", "metadata")
            .mesh("enablePrometheusMerge: true")
            .path("/inject/net/n1"),
        gateways("gateway"),
        gateways("gateway-own-context"),
        gateways("proxyless"),
        gateways("proxyless-and-gateway"),
    ]
}

/// A template that does what larger meshes do.
fn wide() -> Vec<Case> {
    const VALUES: &str = "{global: {hub: hub.example, tag: '1.0'}, pilot: {cni: {enabled: false, provider: default}}}";
    const CNI: &str =
        "{global: {hub: hub.example, tag: '1.0'}, pilot: {cni: {enabled: true, provider: multus}}}";
    const TELEMETRY: &str = "extensionProviders: [{name: otel, opentelemetry: {serviceAttributeEnrichment: OTEL_SEMANTIC_CONVENTIONS}}]";
    let case = |name| Case::new("wide", name).values(VALUES);
    let cni = |name| Case::new("wide", name).values(CNI);
    vec![
        case("wide"),
        case("wide-aliased"),
        case("wide-image-type"),
        case("wide-image-type-by-mesh")
            .mesh("{defaultConfig: {image: {imageType: distroless}}, inboundTrafficPolicy: {mode: LOCALHOST}}"),
        case("wide-root"),
        case("wide-bootstrap"),
        case("wide-user-volumes"),
        case("wide-user-volumes-wrong"),
        case("wide-datadog"),
        case("wide-telemetry").mesh(TELEMETRY),
        case("wide-telemetry-two").mesh(TELEMETRY),
        cni("wide-multus"),
        cni("wide-multus-list"),
        cni("wide-multus-json"),
        cni("wide-validation-user"),
    ]
}

fn workloads() -> Vec<Case> {
    let case = |name| Case::new("small", name);
    vec![
        case("deployment"),
        case("replica-set"),
        case("stateful-set"),
        case("daemon-set"),
        case("replication-controller"),
        case("job").native(),
        case("cron-job").native(),
        case("deployment-skipped"),
        case("deployment-host-network"),
        case("deployment-wrong"),
    ]
}

/// Templates that fail for a pod.
fn failing() -> Vec<Case> {
    let case = |name| Case::new("fails", name);
    vec![
        case("fails-to-render"),
        case("fails-to-parse"),
        case("fails-shape"),
        case("fails-directive"),
        case("fails-types"),
        case("fails-call"),
        case("fails-limit"),
        case("fails-tag"),
    ]
}

/// Configurations that no pod comes to.
fn bad() -> Vec<Case> {
    let config = |name| Case::new(name, name);
    let small = |name| Case::new("small", name);
    vec![
        config("bad-yaml"),
        config("bad-policy"),
        config("bad-no-templates"),
        config("bad-templates"),
        config("bad-template"),
        config("bad-parse"),
        config("bad-unclosed"),
        config("bad-function"),
        config("bad-variable"),
        config("bad-call"),
        config("bad-arguments"),
        config("bad-unused"),
        config("bad-first-format"),
        config("bad-default"),
        config("bad-alias"),
        config("bad-selector"),
        config("bad-selector-values"),
        config("bad-selector-shape"),
        config("bad-annotations"),
        small("bad-values").values("[global]"),
        small("bad-mesh-port").mesh("proxyListenPort: 65536"),
        small("bad-mesh-config").mesh("defaultConfig: {drainDuration: 5m}"),
        small("bad-mesh-config-shape").mesh("defaultConfig: [concurrency]"),
        small("bad-mesh-domain").mesh("trustDomain: 7"),
        small("bad-mesh-encoding").mesh("accessLogEncoding: XML"),
        small("bad-mesh-merge").mesh("enablePrometheusMerge: 'yes'"),
    ]
}

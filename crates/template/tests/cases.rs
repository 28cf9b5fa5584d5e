//! Named cases: a pod in, a golden out, and injecting again changes nothing.
//!
//! Each case is `data/NAME.yaml`; `data/NAME.injected.yaml` is the result: the pod with warnings above it, or why there is none.
//! Most run under `data/small.config`, so that a golden shows little but what the case is about.

use std::path::PathBuf;

use serde_json::json;
use template::{NativeSidecars, Node, Options, Platform};

#[path = "cases/support.rs"]
mod support;

use support::Case;

/// Cases under the shipped configuration.
fn shipped() -> Vec<Case> {
    let case = |name| Case::new("", name);
    vec![
        case("nginx").options(native),
        case("nginx-ordinary"),
        case("nginx-hold").mesh("defaultConfig: {holdApplicationUntilProxyStarts: true}"),
        case("annotated").options(native),
        case("annotated-resources").options(native),
        case("annotated-wrongly"),
        case("interception-none").options(native),
        case("interception-none-ordinary"),
        case("annotated-with-yaml").options(native),
        case("proxy-config").options(native),
        case("values")
            .values("global: {hub: registry.example/mesh, tag: 1.2.3, imagePullSecrets: [pull], network: net-1, multiCluster: {clusterName: west}, logAsJson: true}\nrevision: canary")
            .options(|options| {
                options.native_sidecars = NativeSidecars::Always;
                options.revision = "canary".to_owned();
            }),
        case("own-proxy").options(native),
        case("status-port").options(native),
    ]
}

/// Cases of the decision.
fn decisions() -> Vec<Case> {
    let case = |name| Case::new("small", name);
    let system = json!({"metadata": {"name": "kube-system"}});
    vec![
        case("host-network"),
        case("windows"),
        case("protected-namespace").namespace(system),
        case("label-false"),
        case("annotation-false"),
        case("label-beats-annotation"),
        case("inject-junk"),
        Case::new("selective", "selector-never"),
        Case::new("selective", "selector-always"),
        Case::new("selective", "selector-none"),
        Case::new("selective", "selector-never-but-asked"),
        Case::new("policy-odd", "policy-unknown"),
    ]
}

/// Cases of what is done to a pod.
fn mechanics() -> Vec<Case> {
    let case = |name| Case::new("small", name);
    vec![
        case("probes-http"),
        case("probes-tcp"),
        case("probes-grpc"),
        case("probes-exec"),
        case("probes-named-ports"),
        case("probes-init-containers").options(native),
        case("probes-switched-off"),
        case("probes-switched-on").values("sidecarInjectorWebhook: {rewriteAppHTTPProbe: false}"),
        case("lifecycle"),
        case("status-port-zero"),
        case("order-native").options(native),
        case("order-ordinary"),
        case("revision-default").options(|options| options.revision = "default".to_owned()),
        case("native-by-node").options(|options| {
            let node = |name: &str, version: &str| Node { name: name.to_owned(), version: version.to_owned() };
            options.nodes = Some(vec![node("old", "v1.30.1"), node("new", "v1.34.0")]);
        }),
        case("own-proxy-auto").options(native),
        case("own-proxy-among-others"),
        case("own-proxy-with-ports").options(native),
        case("own-proxy-native-in-ordinary-mode"),
        case("own-proxy-user"),
        case("own-proxy-probe"),
        case("prometheus").mesh("enablePrometheusMerge: true"),
        case("prometheus-targets").mesh("enablePrometheusMerge: true"),
        case("prometheus-refused").mesh("enablePrometheusMerge: true"),
        case("prometheus-reserved-port").mesh("enablePrometheusMerge: true"),
        case("url-environment").path("/inject/cluster/west/net/n1/zone/a--slash--b"),
        case("network-label").path("/inject/net/n1"),
        case("unknown-fields"),
        case("openshift")
            .options(|options| options.platform = Platform::OpenShift)
            .namespace(json!({"metadata": {"name": "shop", "annotations": {"openshift.io/sa.scc.uid-range": "1000650000/10000"}}})),
        case("owner-deployment"),
        case("owner-cron-job"),
        case("injected-by-other-mode").options(native),
        case("compliance").options(|options| options.compliance_policy = "fips-140-3".to_owned()),
    ]
}

/// Cases of the configuration's formats.
fn formats() -> Vec<Case> {
    vec![
        Case::new("first-format", "first-format").mesh("defaultConfig: {concurrency: 2}"),
        Case::new("first-format-curly", "first-format-curly"),
        Case::new("first-format-relics", "first-format-relics")
            .values("global: {podDNSSearchNamespaces: [global]}")
            .mesh("defaultConfig: {parentShutdownDuration: 1m0s}"),
        Case::new("first-format-relics", "first-format-actions")
            .values("global: {podDNSSearchNamespaces: ['[[ .DeploymentMeta.Namespace ]].global']}"),
        Case::new("bare", "bare"),
        Case::new("several", "several"),
        Case::new("several", "several-asked"),
        Case::new("several", "several-unknown"),
        Case::new("mounts", "several-lists"),
        Case::new("directives", "directives"),
        Case::new("types", "types"),
        Case::new("metadata", "metadata")
            .mesh("enablePrometheusMerge: true")
            .path("/inject/net/n1"),
        Case::new("switch", "switch")
            .values("pilot: {env: {ENABLE_CLUSTER_TRUST_BUNDLE_API: 'true'}}"),
    ]
}

/// Cases of pods and configurations that cannot be.
fn errors() -> Vec<Case> {
    let small = |name| Case::new("small", name);
    vec![
        small("wrong-yaml"),
        small("wrong-containers"),
        small("wrong-label"),
        small("wrong-name"),
        small("wrong-overrides"),
        Case::new("fails", "fails-to-render"),
        Case::new("fails", "fails-to-parse"),
        Case::new("fails", "fails-shape"),
        Case::new("fails", "fails-directive"),
    ]
}

fn native(options: &mut Options) {
    options.native_sidecars = NativeSidecars::Always;
}

#[test]
fn every_case_gives_its_golden_and_injecting_again_changes_nothing() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut reports = Vec::new();
    for case in [shipped(), decisions(), mechanics(), formats(), errors()]
        .into_iter()
        .flatten()
    {
        let shown = case.run(&data);
        let golden = data.join(format!("{}.injected.yaml", case.name));
        reports.extend(testkit::golden::compare(&golden, &shown.text).err());
        reports.extend(case.check_laws(&data, &shown).err());
    }
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

//! Cases under the configuration that the chart ships.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [plain(), annotated(), refused(), configured(), surprising()].concat()
}

const fn case(name: &'static str) -> Case {
    Case::new("", name)
}

fn plain() -> Vec<Case> {
    vec![
        case("nginx").native(),
        case("nginx-ordinary"),
        case("own-proxy").native(),
        case("labels-kept"),
        case("labels-trimmed"),
        case("default-containers"),
        case("grace-period").native(),
    ]
}

/// Annotations with a meaning.
fn annotated() -> Vec<Case> {
    vec![
        case("annotated").native(),
        case("annotated-resources").native(),
        case("annotated-with-yaml").native(),
        case("resources"),
        case("readiness"),
        case("log-levels"),
        case("capture-empty"),
        case("capture-all"),
        case("interfaces"),
        case("interception-none").native(),
        case("interception-none-ordinary"),
        case("interception-tproxy").native(),
        case("status-port").native(),
        case("proxy-config").native(),
        case("proxy-config-json"),
        case("proxy-config-snake-case"),
        case("native-asked"),
        case("native-declined").native(),
    ]
}

/// Annotations with values that they cannot have.
fn refused() -> Vec<Case> {
    vec![
        case("annotated-wrongly"),
        case("resources-wrong"),
        case("readiness-wrong"),
        case("capture-wrong"),
        case("interfaces-wrong"),
        case("proxy-config-no-yaml"),
        case("proxy-config-no-map"),
        case("proxy-config-wrong"),
    ]
}

/// What values and the mesh's configuration say.
fn configured() -> Vec<Case> {
    const CNI: &str = "cni: {enabled: true}";
    vec![
        case("cni")
            .native()
            .values(CNI)
            .mesh("defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}"),
        case("cni-own-user").values("istio_cni: {enabled: true}"),
        case("cni-without-capture")
            .values(CNI)
            .mesh("defaultConfig: {interceptionMode: NONE}"),
        case("nginx-hold").mesh("defaultConfig: {holdApplicationUntilProxyStarts: true}"),
        case("hold-native")
            .native()
            .mesh("defaultConfig: {holdApplicationUntilProxyStarts: true}"),
        case("hold-by-values").values("global: {proxy: {holdApplicationUntilProxyStarts: true}}"),
        case("values")
            .values("global: {hub: registry.example/mesh, tag: 1.2.3, imagePullSecrets: [pull], network: net-1, multiCluster: {clusterName: west}, logAsJson: true}\nrevision: canary")
            .native()
            .revision("canary"),
        case("status-port-of-values")
            .native()
            .values("global: {proxy: {statusPort: 15099}}"),
        case("status-port-of-mesh")
            .native()
            .mesh("defaultConfig: {statusPort: 15099}"),
        case("images-by-values").values("global: {imagePullPolicy: Never, proxy: {image: 'registry.example/own/agent@sha256:0f5b'}, proxy_init: {image: init}}"),
        case("proxy-by-values").values("global: {logging: {level: 'default:debug'}, proxy: {clusterDomain: mesh.example, logLevel: error, includeIPRanges: 10.0.0.0/8, excludeIPRanges: 10.1.0.0/16, includeInboundPorts: '80', excludeInboundPorts: '81', includeOutboundPorts: '82', excludeOutboundPorts: '83', readinessPeriodSeconds: 7, resources: {requests: {cpu: 1}}}}"),
        case("lifecycle-by-values")
            .native()
            .values("global: {proxy: {lifecycle: {preStop: {exec: {command: [sleep, '5']}}}}}"),
        case("authority-by-values").values("global: {caAddress: 'ca.example:443', meshID: shops, pilotCertProvider: custom, sds: {token: {aud: mesh}}}"),
        case("tproxy-by-mesh").mesh("defaultConfig: {interceptionMode: TPROXY}\nproxyListenPort: 16001\nproxyInboundListenPort: 16006"),
        case("metadata-by-mesh").mesh("trustDomain: shop.example\naccessLogFile: ''\ndefaultConfig: {proxyMetadata: {ZONE: a}, drainDuration: 9s, concurrency: 3}"),
        case("secrets").values("global: {imagePullSecrets: [pull, mine]}"),
    ]
}

/// What authors would not expect.
fn surprising() -> Vec<Case> {
    vec![
        case("image-without-slash"),
        case("labels-as-annotations"),
        case("annotations-unknown"),
        case("annotations-outdated"),
        case("bypasses"),
        case("job-pod"),
    ]
}

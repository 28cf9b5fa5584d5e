//! Cases under the configuration that the chart ships.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let case = |name| Case::new("", name);
    vec![
        case("nginx").native(),
        case("nginx-ordinary"),
        case("nginx-hold").mesh("defaultConfig: {holdApplicationUntilProxyStarts: true}"),
        case("annotated").native(),
        case("annotated-resources").native(),
        case("annotated-wrongly"),
        case("interception-none").native(),
        case("interception-none-ordinary"),
        case("annotated-with-yaml").native(),
        case("proxy-config").native(),
        case("values")
            .values("global: {hub: registry.example/mesh, tag: 1.2.3, imagePullSecrets: [pull], network: net-1, multiCluster: {clusterName: west}, logAsJson: true}\nrevision: canary")
            .native()
            .revision("canary"),
        case("own-proxy").native(),
        case("status-port").native(),
        case("status-port-of-values")
            .native()
            .values("global: {proxy: {statusPort: 15099}}"),
        case("status-port-of-mesh")
            .native()
            .mesh("defaultConfig: {statusPort: 15099}"),
    ]
}

//! Cases of what is done to a pod beside its template.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [probes(), sidecars(), telemetry(), surroundings()].concat()
}

const fn case(name: &'static str) -> Case {
    Case::new("small", name)
}

fn probes() -> Vec<Case> {
    vec![
        case("probes-http"),
        case("probes-tcp"),
        case("probes-grpc"),
        case("probes-exec"),
        case("probes-named-ports"),
        case("probes-init-containers").native(),
        case("probes-switched-off"),
        case("probes-switched-on").values("sidecarInjectorWebhook: {rewriteAppHTTPProbe: false}"),
        case("lifecycle"),
        case("status-port-zero"),
    ]
}

fn sidecars() -> Vec<Case> {
    vec![
        case("order-native").native(),
        case("order-ordinary"),
        case("own-proxy-auto").native(),
        case("own-proxy-among-others"),
        case("own-proxy-with-ports").native(),
        case("own-proxy-native-in-ordinary-mode"),
        case("own-proxy-user"),
        case("own-proxy-probe"),
        case("injected-by-other-mode").native(),
        case("unknown-fields"),
        case("wrong-yaml"),
        case("wrong-containers"),
        case("wrong-label"),
        case("wrong-name"),
        case("wrong-overrides"),
    ]
}

fn telemetry() -> Vec<Case> {
    const MERGE: &str = "enablePrometheusMerge: true";
    vec![
        case("prometheus").mesh(MERGE),
        case("prometheus-targets").mesh(MERGE),
        case("prometheus-refused").mesh(MERGE),
        case("prometheus-reserved-port").mesh(MERGE),
    ]
}

/// What comes from around the pod: switches, URL, namespace, owner.
fn surroundings() -> Vec<Case> {
    vec![
        case("revision-default").revision("default"),
        case("native-by-node").nodes(&[("old", "v1.30.1"), ("new", "v1.34.0")]),
        case("url-environment").path("/inject/cluster/west/net/n1/zone/a--slash--b"),
        case("network-label").path("/inject/net/n1"),
        case("openshift")
            .platform("openshift")
            .namespace_annotations(&[("openshift.io/sa.scc.uid-range", "1000650000/10000")]),
        case("owner-deployment"),
        case("owner-cron-job"),
        case("compliance").compliance_policy("fips-140-3"),
    ]
}

//! Cases of what is done to a pod beside its template.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        probes(),
        sidecars(),
        again(),
        wrong(),
        metrics(),
        switches(),
        names(),
    ]
    .concat()
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
        case("probes-number-as-text"),
        case("probes-init-containers").native(),
        case("probes-switched-off"),
        case("probes-switched-on").values("sidecarInjectorWebhook: {rewriteAppHTTPProbe: false}"),
        case("probes-odd-switch").values("sidecarInjectorWebhook: {rewriteAppHTTPProbe: true}"),
        case("probes-of-the-agent"),
        case("probes-other-port"),
        case("probes-mesh-port").mesh("defaultConfig: {statusPort: 16020}"),
        Case::new("lists", "probes-without-sidecar"),
        case("lifecycle"),
        case("lifecycle-named-port"),
        case("status-port-zero"),
    ]
}

/// The author's own version of what is injected, and where it all stands.
fn sidecars() -> Vec<Case> {
    const HOLD: &str = "defaultConfig: {holdApplicationUntilProxyStarts: true}";
    vec![
        case("order-native").native(),
        case("order-ordinary"),
        case("order-hold"),
        case("order-left-overs").mesh(HOLD),
        case("own-init"),
        case("own-proxy-auto").native(),
        case("own-proxy-auto-defaulted").native(),
        case("own-proxy-among-others"),
        case("own-proxy-image"),
        case("own-proxy-lists"),
        case("own-proxy-variable"),
        case("own-proxy-hooks").native(),
        case("own-proxy-with-ports").native(),
        case("own-proxy-native-in-ordinary-mode"),
        case("own-proxy-only"),
        case("own-proxy-user"),
        case("own-proxy-root"),
        case("own-proxy-group"),
        case("own-proxy-tproxy"),
        case("own-proxy-probe"),
        case("own-volume"),
        case("unknown-fields"),
    ]
}

/// Pods that were injected before.
fn again() -> Vec<Case> {
    vec![
        case("injected-by-other-mode").native(),
        case("again-newer"),
        case("again-with-left-over"),
        case("status-unreadable"),
    ]
}

/// Pods that cannot be.
fn wrong() -> Vec<Case> {
    vec![
        case("wrong-yaml"),
        case("wrong-containers"),
        case("wrong-label"),
        case("wrong-name"),
        case("wrong-annotations"),
        case("wrong-twice"),
        case("wrong-overrides"),
        case("wrong-overrides-text"),
    ]
}

fn metrics() -> Vec<Case> {
    const MERGE: &str = "enablePrometheusMerge: true";
    vec![
        case("prometheus").mesh(MERGE),
        case("prometheus-none").mesh(MERGE),
        case("prometheus-targets").mesh(MERGE),
        case("prometheus-targets-reserved").mesh(MERGE),
        case("prometheus-targets-wrong").mesh(MERGE),
        case("prometheus-refused").mesh(MERGE),
        case("prometheus-reserved-port").mesh(MERGE),
        case("prometheus-port-of-the-agent").mesh(MERGE),
        case("prometheus-port-wrong").mesh(MERGE),
        case("prometheus-other-port").mesh(MERGE),
        case("prometheus-switched-on"),
        case("prometheus-switched-off").mesh(MERGE),
        case("prometheus-switch-wrong").mesh(MERGE),
        Case::new("", "prometheus-secure-port"),
    ]
}

/// Switches of the program, and what the URL says.
fn switches() -> Vec<Case> {
    const NETWORK: &str = "global: {network: net-1, multiCluster: {clusterName: west}}";
    vec![
        case("revision-default").revision("default"),
        case("revision-tag").revision("canary"),
        case("native-by-node").nodes(&[("old", "v1.30.1"), ("new", "v1.34.0")]),
        case("native-by-versions").nodes(&[("", "v1.33.0"), ("", "v1.34.2-eks")]),
        case("ordinary-by-versions").nodes(&[("", "v1.32.9"), ("", "v1.34.0")]),
        case("ordinary-by-odd-version").nodes(&[("", "latest")]),
        case("native-asked-small"),
        case("url-environment").path("/inject/cluster/west/net/n1/zone/a--slash--b"),
        case("url-old-form").path("/inject/:ENV:cluster=east:ENV:zone=a"),
        case("url-empty-values").path("/inject/:ENV:cluster=:ENV:net="),
        case("network-by-values").values(NETWORK),
        case("network-url-over-values")
            .values(NETWORK)
            .path("/inject/net/n1"),
        case("network-label").path("/inject/net/n1"),
        case("network-label-empty").path("/inject/net/n1"),
        case("openshift")
            .platform("openshift")
            .namespace_annotations(&[("openshift.io/sa.scc.uid-range", "1000650000/10000")]),
        case("openshift-groups")
            .platform("openshift")
            .namespace_annotations(&[
                ("openshift.io/sa.scc.uid-range", "1000650000/10000"),
                ("openshift.io/sa.scc.supplemental-groups", "2000-2005"),
            ]),
        case("openshift-wrong-range")
            .platform("openshift")
            .namespace_annotations(&[("openshift.io/sa.scc.uid-range", "many")]),
        case("openshift-without-range").platform("openshift"),
        case("compliance").compliance_policy("fips-140-3"),
        case("compliance-fips-140-2").compliance_policy("fips-140-2"),
    ]
}

/// Whose pod it is.
fn names() -> Vec<Case> {
    vec![
        case("owner-deployment"),
        case("owner-replica-set"),
        case("owner-rollout"),
        case("owner-stateful-set"),
        case("owner-deployment-config"),
        case("owner-job"),
        case("owner-cron-job"),
        case("owner-not-controlling"),
        case("owner-none"),
    ]
}

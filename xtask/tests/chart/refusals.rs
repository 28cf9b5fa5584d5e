//! Values that are refused, each with a message that names the key.

use super::helm::Install;

/// What is set, where that is wrong, and a part of what is said.
const WRONG_TYPES: [(&str, &str, &str); 20] = [
    (
        "pilot.replicaCount=two",
        "'/pilot/replicaCount'",
        "want integer",
    ),
    ("pilot.replicaCount=-1", "'/pilot/replicaCount'", "want 0"),
    (
        "pilot.rollingMaxSurge=half",
        "'/pilot/rollingMaxSurge'",
        "pattern",
    ),
    (
        "pilot.resources.limits.cpu=lots",
        "'/pilot/resources/limits/cpu'",
        "pattern",
    ),
    ("pilot.podLabels.a=b c", "'/pilot/podLabels/a'", "pattern"),
    ("global.tag=1", "'/global/tag'", "want string"),
    ("global.hub=", "'/global/hub'", "pattern"),
    ("global.hub=null", "'/global'", "missing property 'hub'"),
    (
        "global.logAsJson=json",
        "'/global/logAsJson'",
        "want boolean",
    ),
    (
        "global.imagePullSecrets=pull",
        "'/global/imagePullSecrets'",
        "want array",
    ),
    ("global.caAddress=istiod", "'/global/caAddress'", "pattern"),
    (
        "global.proxy.statusPort=70000",
        "'/global/proxy/statusPort'",
        "65,535",
    ),
    (
        "global.proxy.includeInboundPorts=http",
        "'/global/proxy/includeInboundPorts'",
        "pattern",
    ),
    (
        "global.proxy.excludeIPRanges=db.example",
        "'/global/proxy/excludeIPRanges'",
        "pattern",
    ),
    (
        "meshConfig.enablePrometheusMerge=no",
        "'/meshConfig/enablePrometheusMerge'",
        "want boolean",
    ),
    (
        "meshConfig.proxyListenPort=0",
        "'/meshConfig/proxyListenPort'",
        "want 1",
    ),
    ("revision=Canary", "'/revision'", "pattern"),
    ("revisionTags={Prod}", "'/revisionTags/0'", "pattern"),
    (
        "sidecarInjectorWebhook.certificate.caBundle=%",
        "'/sidecarInjectorWebhook/certificate/caBundle'",
        "pattern",
    ),
    (
        "sidecarInjectorWebhook.templates.sidecar.spec=x",
        "'/sidecarInjectorWebhook/templates/sidecar'",
        "want string",
    ),
];

/// What is set, where that is wrong, and the key that does not exist there.
const UNKNOWN_KEYS: [(&str, &str, &str); 24] = [
    ("replicas=3", "''", "replicas"),
    ("global.prxy.image=x", "'/global'", "prxy"),
    ("global.proxy.img=x", "'/global/proxy'", "img"),
    (
        "global.proxy.resources.limit.cpu=1",
        "'/global/proxy/resources'",
        "limit",
    ),
    (
        "global.proxy.lifecycle.preStopp.exec.command={x}",
        "'/global/proxy/lifecycle'",
        "preStopp",
    ),
    ("global.proxy_init.tag=x", "'/global/proxy_init'", "tag"),
    ("global.logging.levels=x", "'/global/logging'", "levels"),
    (
        "global.multiCluster.enabled=true",
        "'/global/multiCluster'",
        "enabled",
    ),
    (
        "global.sds.token.audience=x",
        "'/global/sds/token'",
        "audience",
    ),
    (
        "global.networkPolicy.enable=true",
        "'/global/networkPolicy'",
        "enable",
    ),
    (
        "global.defaultPodDisruptionBudget.minAvailable=2",
        "'/global/defaultPodDisruptionBudget'",
        "minAvailable",
    ),
    ("pilot.replicas=3", "'/pilot'", "replicas"),
    ("pilot.cni.enable=true", "'/pilot/cni'", "enable"),
    ("cni.enable=true", "'/cni'", "enable"),
    ("cni.binDir=/opt", "'/cni'", "binDir"),
    (
        "sidecarInjectorWebhook.certificate.issuer=x",
        "'/sidecarInjectorWebhook/certificate'",
        "issuer",
    ),
    (
        "pilot.affinity.podAntiAfinity=x",
        "'/pilot/affinity'",
        "podAntiAfinity",
    ),
    (
        "pilot.tolerations[0].kye=x",
        "'/pilot/tolerations/0'",
        "kye",
    ),
    (
        "pilot.topologySpreadConstraints[0].skew=1",
        "'/pilot/topologySpreadConstraints/0'",
        "skew",
    ),
    ("pilot.env.NOT-A-NAME=x", "'/pilot/env'", "NOT-A-NAME"),
    (
        "sidecarInjectorWebhook.template=x",
        "'/sidecarInjectorWebhook'",
        "template",
    ),
    (
        "sidecarInjectorWebhook.neverInjectSelector[0].matchLabel.a=b",
        "'/sidecarInjectorWebhook/neverInjectSelector/0'",
        "matchLabel",
    ),
    ("meshConfig.acessLogFile=x", "'/meshConfig'", "acessLogFile"),
    (
        "meshConfig.defaultConfig.concurency=1",
        "'/meshConfig/defaultConfig'",
        "concurency",
    ),
];

#[track_caller]
fn check(assignment: &str, expected: &[&str]) {
    match Install::default().set(assignment).try_render() {
        Ok(_) => panic!("{assignment} is accepted"),
        Err(error) => {
            for part in expected {
                assert!(error.contains(part), "{assignment}: {part:?} in {error}");
            }
        }
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn a_key_that_does_not_exist_is_refused_at_every_level() {
    for (assignment, at, key) in UNKNOWN_KEYS {
        check(assignment, &[at, &format!("'{key}' not allowed")]);
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn a_value_of_the_wrong_type_is_refused() {
    for (assignment, at, expected) in WRONG_TYPES {
        check(assignment, &[at, expected]);
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn a_value_that_is_none_of_the_possible_ones_is_refused() {
    for (assignment, at, possible) in [
        (
            "global.imagePullPolicy=Sometimes",
            "'/global/imagePullPolicy'",
            "'IfNotPresent'",
        ),
        (
            "global.proxy.autoInject=true",
            "'/global/proxy/autoInject'",
            "string",
        ),
        (
            "global.proxy.autoInject=on",
            "'/global/proxy/autoInject'",
            "'disabled'",
        ),
        (
            "global.proxy.logLevel=warn",
            "'/global/proxy/logLevel'",
            "'warning'",
        ),
        (
            "sidecarInjectorWebhook.reinvocationPolicy=Always",
            "'/sidecarInjectorWebhook/reinvocationPolicy'",
            "'IfNeeded'",
        ),
        (
            "meshConfig.accessLogEncoding=XML",
            "'/meshConfig/accessLogEncoding'",
            "'JSON'",
        ),
        (
            "meshConfig.defaultConfig.interceptionMode=TUN",
            "'/meshConfig/defaultConfig/interceptionMode'",
            "'REDIRECT'",
        ),
    ] {
        check(assignment, &[at, possible]);
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn what_belongs_to_the_chart_cannot_be_changed() {
    for name in [
        "POD_NAME",
        "POD_NAMESPACE",
        "SERVICE_ACCOUNT",
        "REVISION",
        "OWNER_CLUSTER_ROLE",
        "WORKLOAD_EVENTS",
    ] {
        check(
            &format!("pilot.env.{name}=x"),
            &[&format!("'/pilot/env/{name}'")],
        );
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn values_that_contradict_each_other_are_refused_with_what_to_do() {
    check(
        "sidecarInjectorWebhook.defaultTemplates={sidecar,own}",
        &[
            "sidecarInjectorWebhook.defaultTemplates names \"own\"",
            "there is sidecar",
        ],
    );
    check(
        "global.istioNamespace=mesh",
        &[
            "global.istioNamespace is \"mesh\"",
            "\"istio-system\"",
            "install with -n mesh",
        ],
    );
    check(
        "revisionTags={default}",
        &["revisionTags holds \"default\"", "leave it out"],
    );
    check(
        "sidecarInjectorWebhook.certificate.source=cert-manager",
        &["sidecarInjectorWebhook.certificate.issuerRef.name"],
    );
    check(
        "sidecarInjectorWebhook.certificate.source=cert-manager,sidecarInjectorWebhook.certificate.issuerRef.name=ca,sidecarInjectorWebhook.certificate.caBundle=eA==",
        &["leave sidecarInjectorWebhook.certificate.caBundle out"],
    );
    check(
        "sidecarInjectorWebhook.certificate.source=secret",
        &["sidecarInjectorWebhook.certificate.secretName"],
    );
}

use proptest::prelude::*;
use serde_json::json;

use super::{
    rule::{RULES, Rule},
    *,
};

fn problems(annotations: &Value) -> Vec<String> {
    super::annotations(&json!({"metadata": {"annotations": annotations}}))
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Keys with values that fit and values that do not.
const VALUES: &[(&str, &[&str], &[&str])] = &[
    (
        "sidecar.istio.io/interceptionMode",
        &["REDIRECT", "TPROXY", "NONE"],
        &["redirect", ""],
    ),
    (
        "status.sidecar.istio.io/port",
        &["0", "15020", " 1 "],
        &["", "65536", "-1", "+1", "http"],
    ),
    (
        "traffic.sidecar.istio.io/includeInboundPorts",
        &["*", "", "80,443"],
        &["80,", "*,80", "80-90"],
    ),
    (
        "traffic.sidecar.istio.io/excludeInboundPorts",
        &["", "80, 443"],
        &["*"],
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        &["80"],
        &["80\",\"-x"],
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundPorts",
        &["80"],
        &["80\"\n    - \"-m", "*"],
    ),
    (
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        &["*", "", "10.0.0.0/8,fd00::/8"],
        &[
            "10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/8, fd00::/8",
        ],
    ),
    (
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        &["", "0.0.0.0/0"],
        &["*"],
    ),
    (
        "traffic.sidecar.istio.io/excludeInterfaces",
        &["", "eth0,veth-1.2_3"],
        &["0eth", "abcdefghijklmnop", "eth0,", "eth 0"],
    ),
    (
        "readiness.status.sidecar.istio.io/periodSeconds",
        &["0", "4294967295"],
        &["", "-1", "1.5", "4294967296"],
    ),
    (
        "prometheus.istio.io/merge-metrics",
        &["t", "FALSE", "1"],
        &["yes", ""],
    ),
    (
        "sidecar.istio.io/proxyCPU",
        &["100m", "0.5", "1", "1e3", "2Ki"],
        &["", "1 m", "m", "1.5.5", "1\n", "100mm"],
    ),
    (
        "sidecar.istio.io/proxyImage",
        &[
            "",
            "agent",
            "registry.example:5000/mesh/agent:1.0",
            "a/b@sha256:0123abcd",
        ],
        &["a b", "a/b\"", "a/b\n- x", "a/b,c", "a/b#c", "a/b --x"],
    ),
    (
        "sidecar.istio.io/proxyImageType",
        &["", "debug", "distroless", "own-1.2_x"],
        &["a/b", "a:b", "a b", "debug\n"],
    ),
    (
        "sidecar.istio.io/logLevel",
        &[
            "",
            "info",
            "misc:error,upstream:debug",
            "http2:trace, ext_authz:off",
        ],
        &["info --x", "a:b:c", "a,", ":", "info\"", "{{"],
    ),
    (
        "sidecar.istio.io/agentLogLevel",
        &["default:info,ads:debug", "all:none"],
        &["a;b"],
    ),
    (
        "sidecar.istio.io/nativeSidecar",
        &["true", "false", "yes", ""],
        &["true false", "true\n"],
    ),
    (
        "sidecar.istio.io/bootstrapOverride",
        &["my-bootstrap", "a.b-c.1"],
        &["", "A", "a_b", "-a", "a..b", "a\n", "a b"],
    ),
    (
        "sidecar.istio.io/userVolume",
        &[
            "{}",
            "{\"data\": {\"configMap\": {\"name\": \"a: b\"}}}",
            "[{\"name\": \"data\", \"emptyDir\": {}}]",
        ],
        &[
            "",
            "data",
            "7",
            "{\"data\": 7}",
            "{\"a\\nb\": {}}",
            "{\"a\\\"b\": {}}",
            "{\"data\": {\"$patch\": \"delete\"}}",
            "{\"data\": {\"secret\": [{\"$retainKeys\": []}]}}",
        ],
    ),
    (
        "readiness.status.sidecar.istio.io/applicationPorts",
        &["", "1,2,3"],
        &["a", "1\"\n"],
    ),
    (
        "proxy.istio.io/config",
        &[
            "",
            "concurrency: 2",
            "{\"statusPort\": 15021}",
            "proxyMetadata: {A_B: 'x: \"y\"'}",
            "image: {imageType: debug}",
        ],
        &[
            "concurrency: two",
            "a: [",
            "- a",
            "proxyMetadata: {'A=B': x}",
            "proxyMetadata: {\"A\\n- name\": x}",
            "proxyMetadata: {'': x}",
            "image: {imageType: 'a/b'}",
            "concurrency: 2\nconcurrency: 3",
        ],
    ),
];

#[test]
fn values_are_checked_by_their_type() {
    for (key, good, bad) in VALUES {
        for value in *good {
            assert_eq!(
                problems(&json!({*key: value})),
                Vec::<String>::new(),
                "{key} {value:?}"
            );
        }
        for value in *bad {
            assert_eq!(problems(&json!({*key: value})).len(), 1, "{key} {value:?}");
        }
    }
}

#[test]
fn all_problems_are_reported_with_key_value_and_what_is_expected() {
    assert_eq!(
        problems(
            &json!({"status.sidecar.istio.io/port": "http", "traffic.sidecar.istio.io/excludeInboundPorts": "80,x", "other": "x"})
        ),
        [
            "invalid value \"http\" for annotation status.sidecar.istio.io/port: expected a port from 0 to 65535",
            "invalid value \"80,x\" for annotation traffic.sidecar.istio.io/excludeInboundPorts: expected a comma list of ports, but \"x\" is none",
        ]
    );
}

#[test]
fn each_rule_has_its_place() {
    assert_eq!(RULES.len(), 31);
    assert!(RULES.is_sorted_by_key(|(key, _)| key));
}

proptest! {
    #[test]
    fn nothing_that_passes_can_end_a_quoted_string(value in "[0-9a-z.,:/ \"\n*-]{0,20}") {
        for (key, rule) in RULES {
            if !matches!(rule, Rule::ProxyConfig | Rule::Volumes) && problems(&json!({*key: &value})).is_empty() {
                prop_assert!(!value.contains(['"', '\\']), "{} {:?}", key, value);
            }
        }
    }
}

//! The table of surprises: a pod, what it became, and the code that must come up for it alone.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::merge::{self, Directives};

/// A pod of one container, with `change` laid over it.
fn pod(change: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": {}},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    });
    merge::pod(&mut pod, change.clone(), Directives::Obey).unwrap();
    pod
}

/// As the default template does it, with an ordinary sidecar.
fn injected(pod: &Value) -> Outcome {
    let mut merged = pod.clone();
    let spec = json!({
        "initContainers": [{"name": "istio-init"}],
        "containers": [{"name": "istio-proxy", "image": "mesh/agent:1"}],
    });
    merge::pod(&mut merged, json!({"spec": spec}), Directives::Obey).unwrap();
    Outcome::Injected {
        pod: merged,
        warnings: Vec::new(),
    }
}

fn codes(pod: &Value, outcome: &Outcome) -> Vec<Code> {
    let found = surprises(pod, outcome).into_iter();
    found.map(|surprise| surprise.code).collect()
}

#[track_caller]
fn check(code: Code, change: &Value, part: &str) {
    let pod = pod(change);
    let found = surprises(&pod, &injected(&pod));
    let [surprise] = found.as_slice() else {
        panic!("{change}: {found:?}");
    };
    assert_eq!(surprise.code, code, "{change}");
    assert!(surprise.message.contains(part), "{}", surprise.message);
}

fn annotated(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn container(fields: &Value) -> Value {
    let mut container = json!({"name": "web"});
    let fields = fields.as_object().unwrap().clone();
    container.as_object_mut().unwrap().extend(fields);
    json!({"spec": {"containers": [container]}})
}

#[test]
fn an_ordinary_pod_is_no_surprise() {
    let pod = pod(&json!({"metadata": {
        "labels": {"sidecar.istio.io/inject": "true", "istio.io/rev": "default"},
        "annotations": {
            "traffic.sidecar.istio.io/includeInboundPorts": "80",
            "proxy.istio.io/config": "{}",
            "example.org/anything": "at all",
        },
    }}));
    assert_eq!(surprises(&pod, &injected(&pod)), []);
}

#[test]
fn wishes_and_annotations_that_do_not_do_what_they_seem_to_are_told() {
    let wishes = json!({"metadata": {
        "labels": {"sidecar.istio.io/inject": "true"},
        "annotations": {"sidecar.istio.io/inject": "false"},
    }});
    let pod = pod(&wishes);
    assert_eq!(
        codes(&pod, &injected(&pod)),
        [Code::ContradictingWish, Code::DeprecatedAnnotation]
    );
    for field in ["labels", "annotations"] {
        let change = json!({"metadata": {field: {"istio-injection": "enabled"}}});
        check(Code::NamespaceLabelOnPod, &change, "namespaces only");
    }
    check(
        Code::AnnotationAsLabel,
        &json!({"metadata": {"labels": {"sidecar.istio.io/logLevel": "debug"}}}),
        "sidecar.istio.io/logLevel",
    );
    for (key, instead) in [
        ("sidecar.istio.io/inject", "label"),
        (
            "traffic.sidecar.istio.io/kubevirtInterfaces",
            "reroute-virtual",
        ),
        ("sidecar.istio.io/enableCoreDump", "nothing"),
    ] {
        check(Code::DeprecatedAnnotation, &annotated(key, "true"), instead);
    }
    check(
        Code::ImageIgnored,
        &annotated("sidecar.istio.io/proxyImage", "proxyv2"),
        "mesh/agent:1",
    );
    check(
        Code::PartialResources,
        &annotated("sidecar.istio.io/proxyCPU", "1"),
        "no Memory",
    );
    check(
        Code::NoCapture,
        &annotated("sidecar.istio.io/interceptionMode", "NONE"),
        "nothing",
    );
}

#[test]
fn an_unknown_annotation_is_told_with_the_one_that_was_probably_meant() {
    for (key, meant) in [
        (
            "sidecar.istio.io/proxyCpu",
            "did you mean sidecar.istio.io/proxyCPU?",
        ),
        (
            "sidecar.istio.io/excludeOutboundPorts",
            "did you mean traffic.sidecar.istio.io/excludeOutboundPorts?",
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundIpRange",
            "did you mean traffic.sidecar.istio.io/excludeOutboundIPRanges?",
        ),
        (
            "inject.istio.io/template",
            "did you mean inject.istio.io/templates?",
        ),
    ] {
        check(Code::UnknownAnnotation, &annotated(key, "1"), meant);
    }
    let pod = pod(&annotated("sidecar.istio.io/somethingElseEntirely", "1"));
    let found = surprises(&pod, &injected(&pod)).remove(0);
    assert!(!found.message.contains("mean"), "{}", found.message);
}

#[test]
fn containers_that_escape_collide_or_wait_are_told() {
    check(
        Code::RunsAsProxy,
        &container(&json!({"securityContext": {"runAsUser": 1337}})),
        "web",
    );
    check(
        Code::RunsAsProxy,
        &json!({"spec": {"securityContext": {"runAsGroup": 1337}}}),
        "1337",
    );
    for context in [
        json!({"capabilities": {"add": ["NET_ADMIN"]}}),
        json!({"capabilities": {"add": ["SYS_TIME", "ALL"]}}),
        json!({"privileged": true}),
    ] {
        let change = container(&json!({"securityContext": context}));
        check(Code::NetAdmin, &change, "web");
    }
    for port in [15000, 15001, 15006, 15020, 15021, 15090] {
        let change = container(&json!({"ports": [{"containerPort": port}]}));
        check(Code::PortCollision, &change, &port.to_string());
    }
    check(
        Code::NeverEnds,
        &json!({"spec": {"restartPolicy": "OnFailure"}}),
        "OnFailure",
    );
    check(
        Code::DnsPolicy,
        &json!({"spec": {"dnsPolicy": "None"}}),
        "None",
    );
    check(
        Code::SharedProcessNamespace,
        &json!({"spec": {"shareProcessNamespace": true}}),
        "processes",
    );
    check(
        Code::AmbientToo,
        &json!({"metadata": {"labels": {"istio.io/dataplane-mode": "ambient"}}}),
        "ambient",
    );
}

#[test]
fn init_containers_are_told_only_if_captured_before_an_ordinary_sidecar() {
    let outcome = |spec: Value| Outcome::Injected {
        pod: json!({"spec": spec}),
        warnings: Vec::new(),
    };
    let before = pod(&json!({}));
    let init = json!({"name": "istio-init"});
    let own = json!({"name": "migrate"});
    let exempt = json!({"name": "migrate", "securityContext": {"runAsUser": 1337}});
    let proxy = json!({"name": "istio-proxy"});
    for (inits, mains, expected) in [
        (json!([init, own]), json!([{"name": "web"}, proxy]), true),
        (json!([own, init]), json!([{"name": "web"}, proxy]), false),
        (
            json!([init, exempt]),
            json!([{"name": "web"}, proxy]),
            false,
        ),
        (json!([proxy, init, own]), json!([{"name": "web"}]), false),
        (json!([own]), json!([{"name": "web"}, proxy]), false),
    ] {
        let outcome = outcome(json!({"initContainers": inits, "containers": mains}));
        let found = codes(&before, &outcome).contains(&Code::InitBeforeSidecar);
        assert_eq!(found, expected, "{inits}");
    }
}

#[test]
fn a_pod_that_is_not_injected_is_told_about_its_wishes_alone() {
    let skipped = Outcome::Skipped {
        reason: crate::Reason::OptedOutByLabel,
        warnings: Vec::new(),
    };
    let pod = pod(&json!({
        "metadata": {"labels": {"istio-injection": "enabled"}},
        "spec": {"dnsPolicy": "None", "securityContext": {"runAsUser": 1337}},
    }));
    assert_eq!(codes(&pod, &skipped), [Code::NamespaceLabelOnPod]);
}

#[test]
fn a_code_comes_up_once_however_much_there_is_of_it() {
    let containers: Vec<_> = (0..500)
        .map(|n| json!({"name": format!("c{n}"), "securityContext": {"privileged": true}}))
        .collect();
    let annotations: serde_json::Map<_, _> = (0..5000)
        .map(|n| (format!("sidecar.istio.io/odd{n}"), json!("")))
        .collect();
    let pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}});
    let found = surprises(&pod, &injected(&pod));
    assert_eq!(found.len(), 2);
    for surprise in found {
        assert!(surprise.message.contains("more"), "{}", surprise.message);
        assert!(surprise.message.len() < 400, "{}", surprise.message);
    }
}

#[test]
fn codes_are_unique_and_every_one_has_a_fix() {
    let mut codes: Vec<_> = Code::ALL.map(|code| (code.as_str(), code.fix())).into();
    codes.extend(crate::Reason::all().map(|reason| (reason.code(), reason.fix())));
    codes.extend(crate::Warning::all().map(|warning| (warning.code(), warning.fix())));
    let unique: BTreeSet<_> = codes.iter().map(|(code, _)| code).collect();
    assert_eq!(unique.len(), codes.len());
    for (code, fix) in &codes {
        assert!(
            code.chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '-')
        );
        assert!(!fix.is_empty() && !fix.ends_with('.'), "{code}");
    }
}

//! Annotations and what comes of them.

use std::num::NonZeroU16;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    capture::{Destinations, Inbound},
    error::chain,
};

/// A request for pod `shop/cart` with this as `runtimeConfig` and these other fields.
fn request(runtime: &Value, more: &Value) -> Request {
    let mut configuration = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": cni::PLUGIN, "prevResult": {}, "runtimeConfig": runtime,
    });
    for (key, value) in more.as_object().unwrap() {
        configuration[key] = value.clone();
    }
    let variable = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => "ADD",
            "CNI_CONTAINERID" => "c0ffee",
            "CNI_IFNAME" => "eth0",
            "CNI_NETNS" => "/var/run/netns/x",
            "CNI_ARGS" => "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart",
            _ => return None,
        };
        Some(OsString::from(value))
    };
    Request::read(&variable, &mut configuration.to_string().as_bytes()).unwrap()
}

fn annotated(annotations: &Value) -> Result<Decision, CniError> {
    let runtime = json!({cni::POD_ANNOTATIONS: annotations});
    decide(&request(&runtime, &json!({})))
}

/// An injected pod with this status and these annotations beside it.
fn injected(status: &Value, others: &Value) -> Result<Decision, CniError> {
    let mut annotations = others.clone();
    annotations[annotations::STATUS] = json!(status.to_string());
    annotated(&annotations)
}

#[track_caller]
fn capture(decision: Result<Decision, CniError>) -> Capture {
    match decision {
        Ok(Decision::Capture(capture)) => *capture,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuses(decision: Result<Decision, CniError>, parts: &[&str]) {
    let error = chain(&decision.unwrap_err());
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn checked() -> Value {
    json!({"initContainers": ["istio-validation"], "containers": ["istio-proxy"]})
}

#[test]
fn a_pod_that_is_not_injected_passes() {
    for annotations in [
        json!({}),
        json!(null),
        json!({"kubernetes.io/config.source": "api"}),
        json!({annotations::INCLUDE_INBOUND_PORTS: "no port"}),
    ] {
        assert_eq!(
            annotated(&annotations).unwrap(),
            Decision::Pass,
            "{annotations}"
        );
    }
}

#[test]
fn a_pod_whose_rules_others_set_or_that_has_none_passes() {
    let cases = [
        (
            json!({"containers": ["istio-proxy"], "initContainers": ["istio-init"]}),
            json!({}),
        ),
        (
            json!({"containers": null, "initContainers": ["istio-init", "istio-proxy"]}),
            json!({}),
        ),
        (
            json!({"containers": ["other"], "initContainers": null}),
            json!({}),
        ),
        (checked(), json!({annotations::INTERCEPTION_MODE: "NONE"})),
        (
            json!({"containers": ["istio-proxy"], "initContainers": null}),
            json!({annotations::TEMPLATES: "gateway"}),
        ),
    ];
    for (status, others) in cases {
        assert_eq!(
            injected(&status, &others).unwrap(),
            Decision::Pass,
            "{status} {others}"
        );
    }
}

#[test]
fn an_injected_pod_is_captured_as_an_init_container_would_do_it() {
    for status in [
        checked(),
        json!({"containers": ["istio-proxy"]}),
        json!({"initContainers": ["istio-validation", "istio-proxy"], "containers": null}),
    ] {
        let capture = capture(injected(&status, &json!({})));
        assert_eq!(
            (capture.outbound_port.get(), capture.inbound_port.get()),
            (ports::OUTBOUND, ports::INBOUND)
        );
        assert_eq!(
            (capture.proxy_uids, capture.proxy_gids),
            (vec![PROXY_UID], vec![PROXY_UID])
        );
        assert_eq!(capture.destinations, Destinations::All);
        let Inbound::All { except } = capture.inbound else {
            panic!("{:?}", capture.inbound)
        };
        let except: Vec<_> = except.iter().map(|ports| ports.first()).collect();
        assert_eq!(except, ports::INBOUND_EXCLUDED);
    }
}

#[test]
fn annotations_change_what_is_captured() {
    let capture = capture(injected(
        &checked(),
        &json!({
            annotations::INCLUDE_OUTBOUND_IP_RANGES: "10.0.0.0/8",
            annotations::EXCLUDE_OUTBOUND_IP_RANGES: "10.9.0.0/16",
            annotations::INCLUDE_INBOUND_PORTS: "80,443",
            annotations::EXCLUDE_INBOUND_PORTS: "443",
            annotations::INCLUDE_OUTBOUND_PORTS: "3306",
            annotations::EXCLUDE_OUTBOUND_PORTS: "9999",
            annotations::EXCLUDE_INTERFACES: "net1",
            annotations::KUBEVIRT_INTERFACES: "old0",
            annotations::REROUTE_VIRTUAL_INTERFACES: "vm0",
        }),
    ));
    assert_eq!(
        capture.destinations,
        Destinations::Only(vec!["10.0.0.0/8".parse().unwrap()])
    );
    assert_eq!(
        capture.excluded_destinations,
        ["10.9.0.0/16".parse().unwrap()]
    );
    assert_eq!(capture.included_ports[0].first(), 3306);
    assert_eq!(capture.excluded_ports[0].first(), 9999);
    assert_eq!(capture.excluded_interfaces[0].to_string(), "net1");
    assert_eq!(capture.virtual_interfaces[0].to_string(), "vm0");
    let Inbound::Only { ports, except } = capture.inbound else {
        panic!("{:?}", capture.inbound)
    };
    assert_eq!((ports.len(), except.len()), (2, 1));
    let none = injected(&checked(), &json!({annotations::INCLUDE_INBOUND_PORTS: ""}));
    assert_eq!(self::capture(none).inbound, Inbound::None);
}

#[test]
fn what_the_injector_recorded_counts_and_nothing_else() {
    let mut status = checked();
    status[cni::CAPTURE] = json!({
        "args": ["istio-iptables", "-p", "15101", "-u", "2000", "-i", "*", "-b", "80", "--skip-rule-apply", "--dry-run"],
        "env": {"DROP_INVALID": "true", "OTHER": "x"},
    });
    let others = json!({annotations::EXCLUDE_OUTBOUND_PORTS: "9999"});
    let capture = capture(injected(&status, &others));
    assert_eq!(capture.outbound_port, NonZeroU16::new(15101).unwrap());
    assert_eq!(
        (&capture.proxy_uids, &capture.proxy_gids),
        (&vec![2000], &vec![2000])
    );
    assert!(capture.drop_invalid && capture.excluded_ports.is_empty());
}

/// A node does not know whom the pod asks.
#[test]
fn where_dns_is_captured_questions_to_any_server_are() {
    for (env, dns) in [
        (json!({}), Dns::Off),
        (json!({"ISTIO_META_DNS_CAPTURE": "true"}), Dns::All),
    ] {
        let mut status = checked();
        status[cni::CAPTURE] = json!({"args": ["-i", "*", "-b", "*"], "env": env});
        assert_eq!(capture(injected(&status, &json!({}))).dns, dns);
    }
}

#[test]
fn what_cannot_be_understood_is_refused_by_its_name() {
    refuses(
        annotated(&json!({annotations::STATUS: "{"})),
        &["shop/cart", annotations::STATUS],
    );
    refuses(
        annotated(&json!({annotations::STATUS: "[]"})),
        &[annotations::STATUS],
    );
    refuses(annotated(&json!("text")), &[cni::POD_ANNOTATIONS]);
    for record in [
        json!(1),
        json!({}),
        json!({"args": "x"}),
        json!({"args": [1]}),
        json!({"args": [], "env": {"A": 1}}),
        json!({"args": [], "env": 1}),
    ] {
        let mut status = checked();
        status[cni::CAPTURE] = record;
        refuses(injected(&status, &json!({})), &["capture"]);
    }
    let ports = json!({annotations::EXCLUDE_OUTBOUND_PORTS: "80,http", annotations::INTERCEPTION_MODE: "MAYBE"});
    refuses(
        injected(&checked(), &ports),
        &["\"http\"", "\"MAYBE\"", "shop/cart"],
    );
    let mut status = checked();
    // The node knows nothing of the users of the pod's image.
    status[cni::CAPTURE] = json!({"args": ["-u", "root"]});
    refuses(injected(&status, &json!({})), &["root", "number"]);
    status[cni::CAPTURE] = json!({"args": ["--version"]});
    refuses(injected(&status, &json!({})), &["--version"]);
}

#[test]
fn without_annotations_only_pods_of_excluded_namespaces_pass() {
    for runtime in [json!(null), json!({}), json!({"portMappings": []})] {
        for excluded in [json!(null), json!([]), json!(["kube-system"]), json!([7])] {
            let request = request(&runtime, &json!({cni::EXCLUDE_NAMESPACES: excluded}));
            refuses(
                decide(&request),
                &["shop/cart", cni::POD_ANNOTATIONS, "excludeNamespaces"],
            );
        }
        let excluded = request(
            &runtime,
            &json!({cni::EXCLUDE_NAMESPACES: ["kube-system", "shop"]}),
        );
        assert_eq!(decide(&excluded).unwrap(), Decision::Pass);
    }
    refuses(
        decide(&request(
            &json!({}),
            &json!({cni::EXCLUDE_NAMESPACES: "shop"}),
        )),
        &["excludeNamespaces"],
    );
    // With annotations the list means nothing: an injected pod is never let through uncaptured.
    let runtime = json!({cni::POD_ANNOTATIONS: {annotations::STATUS: checked().to_string()}});
    capture(decide(&request(
        &runtime,
        &json!({cni::EXCLUDE_NAMESPACES: ["shop"]}),
    )));
}

proptest! {
    #[test]
    fn no_annotation_makes_it_panic(status in ".{0,80}", ports in ".{0,40}", record in ".{0,40}") {
        let _ = annotated(&json!({annotations::STATUS: status, annotations::INCLUDE_INBOUND_PORTS: ports}));
        let mut status = checked();
        status[cni::CAPTURE] = json!({"args": [record, ports]});
        let _ = injected(&status, &json!({annotations::EXCLUDE_INTERFACES: ports}));
    }
}

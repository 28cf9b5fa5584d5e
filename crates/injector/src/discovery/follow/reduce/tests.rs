//! What the API server sends, and what is kept of it.
#![expect(
    clippy::needless_pass_by_value,
    reason = "each value is written where it is given away"
)]

use serde_json::{Value, json};

use super::*;

fn received<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn reduced_pod(metadata: Value, spec: Value, status: Value) -> Option<Pod> {
    let object = received(json!({"metadata": metadata, "spec": spec, "status": status}));
    pod(&object, &mut Texts::default()).expect("it can be used")
}

fn reduced_service(spec: Value) -> Result<Option<Service>, Unusable> {
    let object = received(json!({"metadata": {"name": "web"}, "spec": spec}));
    service(&object, &mut Texts::default())
}

fn reduced_slice(value: Value) -> Result<Option<Slice>, Unusable> {
    slice(&received(value), &mut Texts::default())
}

#[test]
fn a_pod_is_named_after_what_owns_it() {
    let metadata = json!({
        "name": "web-7d9c-x2", "namespace": "shop", "generateName": "web-7d9c-",
        "labels": {"pod-template-hash": "7d9c", "app": "front", "version": "v2"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9c", "uid": "1", "controller": true}],
        "managedFields": [{"manager": "x"}],
    });
    let status = json!({"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
    let pod = reduced_pod(metadata, json!({"serviceAccountName": "web"}), status).expect("a pod");
    assert_eq!(&*pod.workload_name, "web");
    assert_eq!(pod.workload_type, WorkloadType::Deployment);
    assert_eq!(&*pod.canonical_name, "front");
    assert_eq!(&*pod.canonical_revision, "v2");
    assert_eq!(
        &*pod.addresses,
        ["10.0.0.1".parse::<IpAddr>().expect("an address")]
    );
    assert!(pod.state.serves);
    assert_eq!(pod.labels.len(), 3);
}

#[test]
fn a_pod_serves_while_it_is_ready_and_stays() {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let unready = json!([{"type": "Ready", "status": "False"}]);
    let now = json!("2026-01-01T00:00:00Z");
    let table = [
        (json!(null), &ready, true),
        (now, &ready, false),
        (json!(null), &unready, false),
        (json!(null), &json!([]), false),
    ];
    for (deleted, conditions, serves) in table {
        let metadata = json!({"name": "web", "deletionTimestamp": deleted});
        let status = json!({"phase": "Running", "conditions": conditions});
        let pod = reduced_pod(metadata, json!({}), status).expect("a pod");
        assert_eq!(pod.state.serves, serves, "{deleted} {conditions}");
    }
    for phase in ["Succeeded", "Failed"] {
        assert_eq!(
            reduced_pod(json!({}), json!({}), json!({"phase": phase})),
            None
        );
    }
}

#[test]
fn a_sidecar_is_known_by_its_label_or_else_by_what_injection_leaves() {
    let status = json!({"sidecar.istio.io/status": "{}"});
    let proxy = json!([{"name": "istio-proxy"}]);
    // Label, annotations, containers, init containers.
    let table = [
        (Some("istio"), json!({}), json!([]), json!([]), true),
        (
            Some("disabled"),
            status.clone(),
            proxy.clone(),
            json!([]),
            false,
        ),
        (None, status.clone(), proxy.clone(), json!([]), true),
        (None, status.clone(), json!([]), proxy.clone(), true),
        (None, status, json!([]), json!([]), false),
        (None, json!({}), proxy, json!([]), false),
    ];
    for (label, annotations, containers, init_containers, expected) in table {
        let mut metadata = json!({"name": "web", "annotations": annotations, "labels": {}});
        if let Some(label) = label {
            metadata["labels"]["security.istio.io/tlsMode"] = json!(label);
        }
        let spec = json!({"containers": containers, "initContainers": init_containers});
        let pod = reduced_pod(metadata.clone(), spec, json!({})).expect("a pod");
        assert_eq!(pod.state.sidecar, expected, "{metadata}");
    }
}

#[test]
fn several_addresses_are_kept_and_odd_ones_refused() {
    let two = json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]});
    let pod = reduced_pod(json!({}), json!({}), two).expect("a pod");
    assert_eq!(pod.addresses.len(), 2);
    for text in ["x", "0.0.0.0", "224.0.0.1", "10.0.0.1/24"] {
        let object = received(json!({"metadata": {}, "status": {"podIP": text}}));
        let outcome = super::pod(&object, &mut Texts::default());
        let expected = Unusable::Address {
            field: "status.podIPs",
            value: text.to_owned(),
        };
        assert_eq!(outcome, Err(expected));
    }
}

#[test]
fn a_service_is_kept_with_its_tcp_ports() {
    let service = reduced_service(json!({
        "clusterIP": "10.96.0.1",
        "clusterIPs": ["10.96.0.1", "fd00::1"],
        "ipFamilies": ["IPv4", "IPv6"],
        "publishNotReadyAddresses": true,
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 5353},
            {"name": "http", "port": 80, "targetPort": "web"},
            {"name": "plain", "port": 81},
        ],
    }));
    let service = service.expect("it can be used").expect("a Service");
    assert_eq!(service.addresses.len(), 2);
    assert_eq!(service.ip_families, IpFamilies::Dual);
    assert!(service.publish_not_ready);
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| (port.number, port.target))
        .collect();
    assert_eq!(ports, [(53, 5353), (80, 0), (81, 81)]);
}

#[test]
fn headless_services_have_no_address_and_other_names_are_no_services() {
    let headless = reduced_service(json!({"clusterIP": "None", "clusterIPs": ["None"]}));
    let headless = headless.expect("it can be used").expect("a Service");
    assert!(headless.addresses.is_empty());
    let other = json!({"type": "ExternalName", "externalName": "example.org"});
    assert_eq!(reduced_service(other), Ok(None));
    let odd = reduced_service(json!({"ports": [{"port": 70000}]}));
    assert!(
        matches!(odd, Err(Unusable::Port { value: 70000, .. })),
        "{odd:?}"
    );
}

#[test]
fn endpoints_that_are_near_come_first_as_in_istio() {
    let table = [
        (json!({}), json!({}), Preference::Any),
        (
            json!({"internalTrafficPolicy": "Cluster"}),
            json!({}),
            Preference::Any,
        ),
        (
            json!({"internalTrafficPolicy": "Local"}),
            json!({}),
            Preference::OnlySameNode,
        ),
        (
            json!({"trafficDistribution": "PreferClose"}),
            json!({}),
            Preference::SameZone,
        ),
        (
            json!({"trafficDistribution": "PreferSameNode"}),
            json!({}),
            Preference::SameNode,
        ),
        (
            json!({}),
            json!({TRAFFIC_DISTRIBUTION: "PreferClose"}),
            Preference::SameZone,
        ),
        (
            json!({"trafficDistribution": "PreferSameNode"}),
            json!({TRAFFIC_DISTRIBUTION: "PreferClose"}),
            Preference::SameNode,
        ),
        (
            json!({}),
            json!({TRAFFIC_DISTRIBUTION: "odd"}),
            Preference::Any,
        ),
    ];
    for (spec, annotations, expected) in table {
        let value = json!({"metadata": {"annotations": annotations}, "spec": spec});
        let near = service(&received(value.clone()), &mut Texts::default());
        let near = near.expect("it can be used").expect("a Service");
        assert_eq!(near.preference, expected, "{value}");
    }
}

#[test]
fn a_slice_names_pods_of_its_own_namespace_and_addresses() {
    let slice = reduced_slice(json!({
        "metadata": {
            "name": "web-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "udp", "port": 53, "protocol": "UDP"},
            {"name": "all", "protocol": "TCP"},
            {"port": 1},
        ],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "web-0", "namespace": "shop"}},
            {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Pod", "name": "x", "namespace": "bank"}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
            {"addresses": []},
        ],
    }));
    let slice = slice.expect("it can be used").expect("a slice");
    assert_eq!(&*slice.service, "web");
    assert_eq!(&*slice.ports, [("http".into(), 8080), ("".into(), 1)]);
    let expected = [
        Endpoint {
            target: Target::Pod("web-0".into()),
            ready: true,
        },
        Endpoint {
            target: Target::Address("10.0.0.3".parse().expect("an address")),
            ready: false,
        },
    ];
    assert_eq!(&*slice.endpoints, expected);
}

#[test]
fn slices_of_nobody_or_of_names_are_left_out() {
    let labels = json!({"kubernetes.io/service-name": "web"});
    for (labels, kind) in [(json!({}), "IPv4"), (labels, "FQDN")] {
        let slice = json!({
            "metadata": {"name": "a", "labels": labels},
            "addressType": kind,
            "endpoints": null,
            "ports": null,
        });
        assert_eq!(reduced_slice(slice), Ok(None));
    }
}

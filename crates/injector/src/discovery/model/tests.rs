//! Objects in, messages out.

use std::{collections::BTreeMap, num::NonZeroU16};

use proptest::prelude::*;
use wire::{
    Any,
    minimesh::{InboundTls, Scope},
    peer_authentication::{Mode, Policy},
    workload::{
        Address, AppProtocol, IpFamilies, NetworkMode, TunnelProtocol, Workload, WorkloadStatus,
        WorkloadType, address::Type,
    },
};

use super::*;
use crate::{
    discovery::{
        object::{Endpoint, PodState, Preference, ServicePort},
        store::{Change, Store},
    },
    policy::PeerAuthentication,
};

const WEB: &str = "shop/web.shop.svc.cluster.local";

fn model() -> Model {
    Model::new(Cluster::default())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(name: &str) -> Key {
    Key::new("shop", name)
}

fn pod(address: &str) -> Pod {
    Pod {
        addresses: Box::new([ip(address)]),
        labels: Labels::from([("app".into(), "web".into())]),
        service_account: "web-account".into(),
        node: "node-1".into(),
        workload_name: "web".into(),
        workload_type: WorkloadType::Deployment,
        canonical_name: "web".into(),
        canonical_revision: "v1".into(),
        state: PodState {
            serves: true,
            host_network: false,
            sidecar: true,
        },
    }
}

fn service(address: Option<&str>) -> Service {
    Service {
        addresses: address.into_iter().map(ip).collect(),
        ports: Box::new([
            ServicePort {
                number: 80,
                target: 0,
                name: "http".into(),
                protocol: AppProtocol::Http11,
            },
            ServicePort {
                number: 90,
                target: 9090,
                name: "metrics".into(),
                protocol: AppProtocol::Unknown,
            },
        ]),
        ip_families: IpFamilies::Ipv4Only,
        publish_not_ready: false,
        preference: Preference::Any,
    }
}

fn slice(service: &str, endpoints: &[(Target, bool)]) -> Slice {
    Slice {
        service: service.into(),
        ports: Box::new([("http".into(), 8080), ("metrics".into(), 9090)]),
        endpoints: endpoints
            .iter()
            .map(|(target, ready)| Endpoint {
                target: target.clone(),
                ready: *ready,
            })
            .collect(),
    }
}

fn named(pod: &str) -> Target {
    Target::Pod(pod.into())
}

/// The resources, by name.
fn all(model: &mut Model) -> BTreeMap<String, Resource> {
    let everything = model.everything().into_iter();
    everything
        .map(|resource| (resource.name.to_string(), resource))
        .collect()
}

fn decoded(resource: &Resource) -> Type {
    let address = <Address as prost::Message>::decode(resource.value.clone()).unwrap();
    address.r#type.unwrap()
}

fn workload(model: &mut Model, uid: &str) -> Workload {
    match decoded(&all(model)[uid]) {
        Type::Workload(workload) => workload,
        Type::Service(service) => panic!("{service:?}"),
    }
}

/// Ports by service: service port to application's.
fn ports(workload: &Workload) -> BTreeMap<&str, Vec<(u32, u32)>> {
    let services = workload.services.iter();
    services
        .map(|(name, list)| {
            let ports = list.ports.iter();
            let pairs = ports.map(|port| (port.service_port, port.target_port));
            (name.as_str(), pairs.collect())
        })
        .collect()
}

#[test]
fn a_pod_behind_a_service_is_a_workload_of_it() {
    let mut model = model();
    model.set_service(&key("web"), Some(service(Some("10.96.0.1"))));
    model.set_slice(&key("web-x"), Some(slice("web", &[(named("web-0"), true)])));
    model.set_pod(&key("web-0"), Some(pod("10.0.0.1")));
    let node = Node {
        region: "eu".into(),
        zone: "eu-1".into(),
        subzone: "".into(),
    };
    model.set_node(&"node-1".into(), Some(node));
    let web = workload(&mut model, "Kubernetes//Pod/shop/web-0");
    assert_eq!(ports(&web), [(WEB, vec![(80, 8080), (90, 9090)])].into());
    assert_eq!(&web.addresses[0][..], [10, 0, 0, 1]);
    assert_eq!(web.tunnel_protocol(), TunnelProtocol::LegacyIstioMtls);
    assert_eq!(web.status(), WorkloadStatus::Healthy);
    assert_eq!(web.service_account, "web-account");
    assert_eq!(web.trust_domain, "", "that of most meshes is left out");
    assert_eq!(web.workload_type(), WorkloadType::Deployment);
    assert_eq!(web.locality.unwrap().zone, "eu-1");
    let resource = &all(&mut model)["Kubernetes//Pod/shop/web-0"];
    assert_eq!(&*resource.services, [WEB.into()]);
    assert_eq!(&*resource.addresses, [ip("10.0.0.1")]);
}

#[test]
fn a_service_is_told_with_its_addresses_and_protocols() {
    let mut model = model();
    model.set_service(&key("web"), Some(service(Some("10.96.0.1"))));
    model.set_service(&key("db"), Some(service(None)));
    let resources = all(&mut model);
    let Type::Service(web) = decoded(&resources[WEB]) else {
        panic!("a service");
    };
    assert_eq!(web.hostname, "web.shop.svc.cluster.local");
    assert_eq!(&web.addresses[0].address[..], [10, 96, 0, 1]);
    assert_eq!(web.addresses[0].network, "");
    assert_eq!(web.ports[0].app_protocol(), AppProtocol::Http11);
    assert_eq!(
        web.ports[0].target_port, 0,
        "its name is known to pods only"
    );
    assert_eq!(web.ports[1].target_port, 9090);
    let Type::Service(db) = decoded(&resources["shop/db.shop.svc.cluster.local"]) else {
        panic!("a service");
    };
    assert!(db.addresses.is_empty(), "it is headless");
}

/// Numbers and types of fields are those of the contract, written out by hand.
#[test]
fn the_bytes_are_those_that_other_programs_read() {
    let mut model = model();
    model.set_service(
        &Key::new("n", "s"),
        Some(Service {
            ports: Box::default(),
            ..service(Some("10.0.0.9"))
        }),
    );
    let value = &all(&mut model)["n/s.n.svc.cluster.local"].value;
    let mut service: Vec<u8> = Vec::new();
    service.extend(b"\x0a\x01s"); // 1, name
    service.extend(b"\x12\x01n"); // 2, namespace
    service.extend(b"\x1a\x15s.n.svc.cluster.local"); // 3, hostname
    service.extend(b"\x22\x06\x12\x04\x0a\x00\x00\x09"); // 4, addresses: 2, address
    service.extend(b"\x48\x01"); // 9, ip_families: IPV4_ONLY
    service.extend(b"\x58\x01"); // 11, canonical
    let mut address = vec![0x12, u8::try_from(service.len()).unwrap()]; // 2, service
    address.extend(service);
    assert_eq!(&value[..], address);
}

#[test]
fn a_pod_counts_as_serving_if_it_says_so_and_its_slice_does() {
    // The pod serves, the slice says so; in the service, status.
    let table = [
        (true, true, true, WorkloadStatus::Healthy),
        (true, false, false, WorkloadStatus::Healthy),
        (false, true, true, WorkloadStatus::Unhealthy),
        (false, false, true, WorkloadStatus::Unhealthy),
    ];
    for (serves, ready, is_in, status) in table {
        let mut model = model();
        model.set_service(&key("web"), Some(service(None)));
        model.set_slice(
            &key("web-x"),
            Some(slice("web", &[(named("web-0"), ready)])),
        );
        let mut web = pod("10.0.0.1");
        web.state.serves = serves;
        model.set_pod(&key("web-0"), Some(web));
        let web = workload(&mut model, "Kubernetes//Pod/shop/web-0");
        assert_eq!(web.status(), status, "{serves} {ready}");
        assert_eq!(web.services.contains_key(WEB), is_in, "{serves} {ready}");
    }
}

#[test]
fn a_named_port_is_what_the_slice_of_the_pod_says() {
    let mut model = model();
    model.set_service(&key("web"), Some(service(None)));
    let old = slice("web", &[(named("old"), true)]);
    let new = Slice {
        ports: Box::new([("http".into(), 8888)]),
        ..slice("web", &[(named("new"), true)])
    };
    model.set_slice(&key("web-1"), Some(old));
    model.set_slice(&key("web-2"), Some(new));
    model.set_pod(&key("old"), Some(pod("10.0.0.1")));
    model.set_pod(&key("new"), Some(pod("10.0.0.2")));
    let old = workload(&mut model, "Kubernetes//Pod/shop/old");
    assert_eq!(ports(&old)[WEB], [(80, 8080), (90, 9090)]);
    let new = workload(&mut model, "Kubernetes//Pod/shop/new");
    assert_eq!(ports(&new)[WEB], [(80, 8888)]);
}

#[test]
fn an_address_that_is_no_pods_is_a_workload_that_nobody_vouches_for() {
    let mut model = model();
    model.set_service(&key("db"), Some(service(None)));
    let outside = Target::Address(ip("192.0.2.1"));
    model.set_slice(&key("db-1"), Some(slice("db", &[(outside, true)])));
    let uid = "Kubernetes/discovery.k8s.io/EndpointSlice/shop/db-1/192.0.2.1";
    let db = workload(&mut model, uid);
    assert_eq!(db.tunnel_protocol(), TunnelProtocol::None);
    assert_eq!(db.service_account, "");
    assert_eq!(db.network_mode(), NetworkMode::HostNetwork);
    assert!(db.services.contains_key("shop/db.shop.svc.cluster.local"));
}

#[test]
fn whoever_names_a_pods_address_names_the_pod() {
    let mut model = model();
    model.set_service(&Key::new("bank", "x"), Some(service(None)));
    let address = Target::Address(ip("10.0.0.1"));
    model.set_slice(
        &Key::new("bank", "x-1"),
        Some(slice("x", &[(address, true)])),
    );
    let uid = "Kubernetes/discovery.k8s.io/EndpointSlice/bank/x-1/10.0.0.1";
    assert!(all(&mut model).contains_key(uid));
    model.set_pod(&key("web-0"), Some(pod("10.0.0.1")));
    let updates = model.settle();
    assert!(updates.contains(&Update::Remove(uid.into())), "{updates:?}");
    let web = workload(&mut model, "Kubernetes//Pod/shop/web-0");
    assert_eq!(web.tunnel_protocol(), TunnelProtocol::LegacyIstioMtls);
    assert!(web.services.contains_key("bank/x.bank.svc.cluster.local"));
}

#[test]
fn pods_without_address_or_sidecar_or_network_of_their_own() {
    let mut model = model();
    let mut starting = pod("10.0.0.1");
    starting.addresses = Box::default();
    model.set_pod(&key("starting"), Some(starting));
    let mut plain = pod("10.0.0.2");
    plain.state.sidecar = false;
    model.set_pod(&key("plain"), Some(plain));
    let mut host = pod("192.168.0.1");
    host.state.host_network = true;
    model.set_pod(&key("host"), Some(host));
    assert_eq!(all(&mut model).len(), 2);
    let plain = workload(&mut model, "Kubernetes//Pod/shop/plain");
    assert_eq!(plain.tunnel_protocol(), TunnelProtocol::None);
    let host = workload(&mut model, "Kubernetes//Pod/shop/host");
    assert_eq!(host.network_mode(), NetworkMode::HostNetwork);
}

/// Switches mutual TLS off: for pods of namespace `off`, and for port 8080 of those of `shop` that are labelled.
fn partly() -> Policies {
    let policy = |namespace: &str, scope, selector: &[(&str, &str)], mode, ports: &[u16]| {
        let selector = selector.iter();
        Arc::new(PeerAuthentication {
            selector: selector
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            policy: Policy {
                name: "default".to_owned(),
                namespace: namespace.to_owned(),
                scope,
                mode,
                port_modes: ports
                    .iter()
                    .map(|&port| (NonZeroU16::new(port).unwrap(), Some(Mode::Disable)))
                    .collect(),
                created: 1,
            },
        })
    };
    let web = [("app", "web")];
    Policies::new(
        "istio-system",
        [
            policy("off", Scope::Namespace, &[], Some(Mode::Disable), &[]),
            policy("shop", Scope::Workload, &web, None, &[8080]),
        ],
    )
}

#[test]
fn where_a_policy_switches_mutual_tls_off_clients_are_told_not_to_begin_it() {
    let mut model = model();
    model.set_pod(&key("web-0"), Some(pod("10.0.0.1")));
    model.set_pod(&Key::new("off", "web-0"), Some(pod("10.0.0.2")));
    model.settle();
    model.set_policies(Arc::new(partly()));
    assert_eq!(model.settle().len(), 2);
    let off = workload(&mut model, "Kubernetes//Pod/off/web-0");
    assert_eq!(off.tunnel_protocol(), TunnelProtocol::None);
    let web = workload(&mut model, "Kubernetes//Pod/shop/web-0");
    assert_eq!(web.tunnel_protocol(), TunnelProtocol::LegacyIstioMtls);
    assert_eq!(web.extensions[0].name, "minimesh.discovery.v1.InboundTls");
    let config: &Any = web.extensions[0].config.as_ref().unwrap();
    let tls: InboundTls = config.unpack().unwrap();
    assert_eq!(tls.disabled_ports, [8080]);
}

#[test]
fn another_cluster_name_gives_other_uids() {
    let mut model = model();
    model.set_pod(&key("web-0"), Some(pod("10.0.0.1")));
    let other = Cluster {
        name: "east".to_owned(),
        trust_domain: "example.org".to_owned(),
        ..Cluster::default()
    };
    assert!(model.set_cluster(&other));
    assert!(!model.set_cluster(&other));
    let web = workload(&mut model, "east//Pod/shop/web-0");
    assert_eq!(web.trust_domain, "example.org");
    assert_eq!(web.cluster_id, "east");
}

/// What can happen to a cluster of few names, so that everything meets everything.
#[derive(Clone, Debug)]
enum Event {
    Service(Key, Option<Service>),
    Slice(Key, Option<Slice>),
    Pod(Key, Option<Pod>),
    Node(&'static str, Option<Node>),
    Settle,
}

fn any_key(names: &'static str) -> impl Strategy<Value = Key> {
    (prop_oneof![Just("shop"), Just("bank")], names)
        .prop_map(|(namespace, name)| Key::new(namespace, &name))
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    (1..4_u8).prop_map(|last| IpAddr::from([10, 0, 0, last]))
}

prop_compose! {
    fn any_service()(address in prop::option::of(Just("10.96.0.1")), named in any::<bool>()) -> Service {
        let mut service = service(address);
        if named {
            service.ports[0].name = "other".into();
        }
        service
    }
}

prop_compose! {
    fn any_slice()(
        service in "[st]",
        targets in prop::collection::vec(
            (prop_oneof!["[pq]".prop_map(|name| Target::Pod(name.into())), any_ip().prop_map(Target::Address)], any::<bool>()),
            0..3,
        ),
    ) -> Slice {
        slice(&service, &targets)
    }
}

prop_compose! {
    fn any_pod()(address in prop::option::of(any_ip()), serves in any::<bool>(), host_network in any::<bool>()) -> Pod {
        let mut pod = pod("10.0.0.1");
        pod.addresses = address.into_iter().collect();
        pod.state.serves = serves;
        pod.state.host_network = host_network;
        pod
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let service = (any_key("[st]"), prop::option::of(any_service()));
    let slice = (any_key("[ab]"), prop::option::of(any_slice()));
    let pod = (any_key("[pq]"), prop::option::of(any_pod()));
    let node = prop::option::of("[xy]").prop_map(|zone| {
        zone.map(|zone| Node {
            zone: zone.into(),
            ..Node::default()
        })
    });
    prop_oneof![
        2 => service.prop_map(|(key, service)| Event::Service(key, service)),
        3 => slice.prop_map(|(key, slice)| Event::Slice(key, slice)),
        3 => pod.prop_map(|(key, pod)| Event::Pod(key, pod)),
        1 => node.prop_map(|node| Event::Node("node-1", node)),
        1 => Just(Event::Settle),
    ]
}

fn apply(model: &mut Model, event: Event) -> bool {
    match event {
        Event::Service(key, service) => model.set_service(&key, service),
        Event::Slice(key, slice) => model.set_slice(&key, slice),
        Event::Pod(key, pod) => model.set_pod(&key, pod),
        Event::Node(name, node) => model.set_node(&name.into(), node),
        Event::Settle => false,
    }
}

fn settle(model: &mut Model, store: &mut Store) {
    for update in model.settle() {
        match update {
            Update::Put(resource) => store.put(resource),
            Update::Remove(name) => store.remove(&name),
        };
    }
}

proptest! {
    #[test]
    fn what_is_kept_in_step_is_what_comes_of_making_everything_anew(
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut kept = model();
        let mut store = Store::default();
        // A reader that is told of changes only, as sessions are.
        let mut told: BTreeMap<String, Resource> = BTreeMap::new();
        let mut seen = 0;
        for event in events {
            apply(&mut kept, event.clone());
            if matches!(event, Event::Settle) {
                settle(&mut kept, &mut store);
                for (number, change) in store.since(seen) {
                    seen = number;
                    match change {
                        Change::Present(resource) => drop(told.insert(resource.name.to_string(), (*resource).clone())),
                        Change::Gone(resource) => drop(told.remove(&*resource.name)),
                    }
                }
            }
        }
        settle(&mut kept, &mut store);
        for (_, change) in store.since(seen) {
            match change {
                Change::Present(resource) => drop(told.insert(resource.name.to_string(), (*resource).clone())),
                Change::Gone(resource) => drop(told.remove(&*resource.name)),
            }
        }
        // From nothing but the objects that there are in the end.
        let mut naive = model();
        for (key, object) in kept.services.clone() { naive.set_service(&key, Some(object)); }
        for (key, object) in kept.pods.clone() { naive.set_pod(&key, Some(object)); }
        for (key, object) in kept.slices.clone() { naive.set_slice(&key, Some(object)); }
        for (name, object) in kept.nodes.clone() { naive.set_node(&name, Some(object)); }
        let expected = all(&mut naive);
        let kept: BTreeMap<_, _> = store.iter().map(|resource| (resource.name.to_string(), (**resource).clone())).collect();
        prop_assert_eq!(&kept, &expected);
        prop_assert_eq!(&told, &expected);
    }
}

//! Models of resources that contradict each other for a while.

use proptest::prelude::*;
use prost::Message;
use wire::workload as wds;

use super::*;
use crate::mesh::{Mesh, Own};

fn client() -> Client {
    Client::new(wire::core::Node::default(), true)
}

fn hold(client: &mut Client, name: &str, r#type: wds::address::Type) {
    let r#type = Some(r#type);
    let body = wds::Address { r#type }.encode_to_vec();
    convert::check_address(name, &body, &Own::new("shop", "client"), "").unwrap();
    assert!(client.restore(Kind::Address, name, "1", &body));
}

fn pod(client: &mut Client, name: &str, address: u8, services: &[&str]) {
    let port = |service_port| wds::Port {
        service_port,
        target_port: 8080,
        ..Default::default()
    };
    let ports = vec![port(80), port(80), port(99)];
    let list = |service: &&str| {
        let name = format!("shop/{service}.shop.svc.cluster.local");
        let ports = ports.clone();
        (name, wds::PortList { ports })
    };
    let pod = wds::Workload {
        uid: format!("c//Pod/shop/{name}"),
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        addresses: vec![vec![10, 0, 0, address].into()],
        services: services.iter().map(list).collect(),
        ..Default::default()
    };
    hold(client, &pod.uid.clone(), wds::address::Type::Workload(pod));
}

fn service(client: &mut Client, name: &str, address: u8, canonical: bool) {
    let service = wds::Service {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        hostname: format!("{name}.shop.svc.cluster.local"),
        addresses: vec![wds::NetworkAddress {
            address: vec![10, 96, 0, address].into(),
            ..Default::default()
        }],
        ports: vec![wds::Port {
            service_port: 80,
            ..Default::default()
        }],
        canonical,
        ..Default::default()
    };
    let key = format!("shop/{}", service.hostname);
    hold(client, &key, wds::address::Type::Service(service));
}

fn mesh(client: &Client) -> Mesh {
    let model = assemble(client, "", Settings::default());
    Mesh::build(&model, &Own::new("shop", "client"), None).unwrap()
}

#[test]
fn of_two_pods_with_one_address_the_later_one_has_it() {
    let mut client = client();
    pod(&mut client, "old", 1, &[]);
    pod(&mut client, "new", 1, &[]);
    let mesh = mesh(&client);
    let at = mesh.workload_at([10, 0, 0, 1].into()).unwrap();
    assert_eq!(&*at.name, "new");
    assert_eq!(mesh.workloads().len(), 1);
}

#[test]
fn of_two_services_with_one_address_kubernetes_own_has_it() {
    let mut client = client();
    service(&mut client, "web", 1, true);
    service(&mut client, "copy", 1, false);
    let mesh = mesh(&client);
    let at = mesh.service_at(([10, 96, 0, 1], 80).into()).unwrap();
    assert_eq!(&*at.service.name, "web");
    assert!(mesh.service_named(b"copy", 80).is_some());
}

#[test]
fn references_to_what_is_not_there_are_passed_over() {
    let mut client = client();
    service(&mut client, "web", 1, true);
    pod(&mut client, "web-0", 1, &["web", "gone"]);
    let mesh = mesh(&client);
    let web = mesh.service_named(b"web", 80).unwrap();
    assert_eq!(web.endpoints[0].address, ([10, 0, 0, 1], 8080).into());
}

proptest! {
    #[test]
    fn what_can_be_built_one_by_one_can_be_built_together(
        pods in prop::collection::vec((0..4u8, 1..4u8, prop::sample::subsequence(vec!["a", "b", "c"], 0..=3)), 0..8),
        services in prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), 1..3u8, any::<bool>()), 0..5),
    ) {
        let mut client = client();
        for (name, address, services) in pods {
            pod(&mut client, &format!("p{name}"), address, &services);
        }
        for (name, address, canonical) in services {
            service(&mut client, name, address, canonical);
        }
        mesh(&client);
    }
}

//! What becomes of messages, and which are refused with what reason.

use proptest::prelude::*;
use wire::Any;

use super::*;
use crate::mesh::MtlsMode;

const WEB: &str = "Kubernetes//Pod/shop/web-0";
const SERVICE: &str = "shop/web.shop.svc.cluster.local";

fn own() -> Own {
    Own::new("shop", "client")
}

fn pod() -> wds::Workload {
    let port = wds::Port {
        service_port: 80,
        target_port: 8080,
        ..Default::default()
    };
    wds::Workload {
        uid: WEB.to_owned(),
        name: "web-0".to_owned(),
        namespace: "shop".to_owned(),
        addresses: vec![vec![10, 0, 0, 1].into()],
        tunnel_protocol: wds::TunnelProtocol::LegacyIstioMtls.into(),
        services: [(SERVICE.to_owned(), wds::PortList { ports: vec![port] })].into(),
        ..Default::default()
    }
}

fn web() -> wds::Service {
    wds::Service {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        hostname: "web.shop.svc.cluster.local".to_owned(),
        addresses: vec![wds::NetworkAddress {
            address: vec![10, 96, 0, 1].into(),
            ..Default::default()
        }],
        ports: vec![wds::Port {
            service_port: 80,
            target_port: 0,
            app_protocol: wds::AppProtocol::Grpc.into(),
        }],
        ..Default::default()
    }
}

fn of_pod(pod: wds::Workload) -> Vec<u8> {
    let r#type = Some(wds::address::Type::Workload(pod));
    wds::Address { r#type }.encode_to_vec()
}

fn of_service(service: wds::Service) -> Vec<u8> {
    let r#type = Some(wds::address::Type::Service(service));
    wds::Address { r#type }.encode_to_vec()
}

fn workload_of(pod: wds::Workload) -> Workload {
    match address(&of_pod(pod), "").unwrap() {
        Address::Workload(workload) => *workload,
        other => panic!("{other:?}"),
    }
}

fn service_of(service: wds::Service) -> Service {
    match address(&of_service(service), "").unwrap() {
        Address::Service(service, _) => service,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(body: &[u8], name: &str, reason: &str) {
    let error = check_address(name, body, &own(), "").unwrap_err();
    assert_eq!(error.to_string(), reason);
}

#[test]
fn a_pod_keeps_what_matters() {
    let workload = workload_of(pod());
    assert_eq!(workload.tunnel_protocol, TunnelProtocol::LegacyIstioMtls);
    assert_eq!(workload.addresses[0].0, IpAddr::from([10, 0, 0, 1]));
    let port = workload.services[SERVICE].ports[0];
    assert_eq!(
        (port.service_port.get(), port.target_port.get()),
        (80, 8080)
    );
    check_address(WEB, &of_pod(pod()), &own(), "").unwrap();
}

#[test]
fn a_service_keeps_what_matters() {
    let service = service_of(web());
    assert_eq!(service.ports[0].target_port, None);
    assert_eq!(service.ports[0].app_protocol.as_deref(), Some("grpc"));
    check_address(SERVICE, &of_service(web()), &own(), "").unwrap();
}

#[test]
fn a_port_of_two_transports_is_one() {
    let mut dns = web();
    dns.ports.push(dns.ports[0]);
    assert_eq!(service_of(dns).ports.len(), 1);
}

#[test]
fn tunnels_alone_are_dialled_in_plain_text() {
    let mut pod = pod();
    pod.tunnel_protocol = wds::TunnelProtocol::Hbone.into();
    assert_eq!(workload_of(pod).tunnel_protocol, TunnelProtocol::None);
}

#[test]
fn ports_can_be_left_out_of_mutual_tls() {
    let mut pod = pod();
    let extension = |config| wds::Extension {
        name: EXTENSION.to_owned(),
        config: Some(config),
    };
    let disabled_ports = vec![9090];
    let tls = Any::pack(&wire_mesh::InboundTls { disabled_ports });
    pod.extensions = vec![wds::Extension::default(), extension(tls)];
    let ports = workload_of(pod.clone()).inbound_tls.disabled_ports;
    assert_eq!(ports[0].get(), 9090);
    pod.extensions = vec![extension(Any::default())];
    refused(
        &of_pod(pod),
        WEB,
        "extensions[0].config: `the message` is not an InboundTls",
    );
}

#[test]
fn what_is_elsewhere_is_nothing_to_dial() {
    let mut far = pod();
    far.network = "far".to_owned();
    let mut nameless = pod();
    nameless.addresses.clear();
    for pod in [far.clone(), nameless] {
        let body = of_pod(pod);
        assert_eq!(address(&body, "").unwrap(), Address::Elsewhere);
        check_address(WEB, &body, &own(), "").unwrap();
    }
    assert_ne!(address(&of_pod(far), "far").unwrap(), Address::Elsewhere);
    let mut service = web();
    service.addresses = [
        ("far", vec![10, 96, 0, 1], None),
        ("", vec![10, 96, 0, 2], Some(24)),
        ("", vec![0, 0, 0, 0], None),
        ("", vec![10, 96, 0, 3], Some(32)),
    ]
    .map(|(network, address, length)| wds::NetworkAddress {
        network: network.to_owned(),
        address: address.into(),
        length,
    })
    .into();
    let addresses = service_of(service).addresses;
    assert_eq!(addresses, [NetworkAddress([10, 96, 0, 3].into())]);
}

#[test]
fn what_is_wrong_is_refused_with_the_field() {
    refused(b"\xff\xff", WEB, "it cannot be decoded");
    refused(b"", WEB, "it is neither a service nor a workload");
    refused(
        &of_pod(pod()),
        "other",
        "by its contents its name would be \"Kubernetes//Pod/shop/web-0\"",
    );
    type Change = fn(&mut wds::Workload);
    let table: [(Change, &str); 6] = [
        (
            |pod| pod.addresses = vec![vec![1, 2, 3].into()],
            "addresses[0]: `3 bytes` is not an IP address of 4 or 16 bytes",
        ),
        (
            |pod| pod.addresses = vec![vec![224, 0, 0, 1].into()],
            "workloads[0].addresses[0]: `224.0.0.1` is not an address that a connection can have",
        ),
        (
            |pod| pod.tunnel_protocol = 9,
            "tunnelProtocol: `9` is not a value that this version knows",
        ),
        (
            |pod| pod.services.get_mut(SERVICE).unwrap().ports[0].service_port = 0,
            "services[\"shop/web.shop.svc.cluster.local\"].ports[0].servicePort: `0` is not a port number from 1 to 65535",
        ),
        (
            |pod| pod.service_account = "a/b".to_owned(),
            "workloads[0].serviceAccount: `a/b` is not a name of letters, digits, `-`, `_` and `.`, at most 253 of them",
        ),
        (
            |pod| pod.name = "a\nb".to_owned(),
            "workloads[0].name: `a; b` is not a name of letters, digits, `-`, `_` and `.`, at most 253 of them",
        ),
    ];
    for (change, reason) in table {
        let mut pod = pod();
        change(&mut pod);
        refused(&of_pod(pod), WEB, reason);
    }
}

#[test]
fn settings_keep_what_was_said() {
    let message = wire_mesh::MeshSettings {
        outbound_policy: wire_mesh::OutboundPolicy::RegistryOnly.into(),
        access_log_encoding: Some(wire_mesh::AccessLogEncoding::Json.into()),
        connect_timeout: Some(prost_types::Duration {
            seconds: 3,
            nanos: 0,
        }),
        trust_domain_aliases: vec!["old".to_owned()],
        ..Default::default()
    };
    let settings = settings(&message.encode_to_vec()).unwrap();
    assert_eq!(
        settings.outbound_traffic_policy.mode,
        OutboundPolicy::RegistryOnly
    );
    assert_eq!(settings.access_log_encoding, Some(Encoding::Json));
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(settings.trust_domain, None);
    assert_eq!(settings.trust_domain_aliases, ["old"]);
    check_settings(&message.encode_to_vec(), &own()).unwrap();
    let wrong = wire_mesh::MeshSettings {
        connect_timeout: Some(prost_types::Duration {
            seconds: -3,
            nanos: 0,
        }),
        ..message
    };
    let error = check_settings(&wrong.encode_to_vec(), &own()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "connectTimeout: `-3s` is not a duration that is not negative"
    );
}

#[test]
fn the_own_ports_are_taken_as_the_policies_say() {
    let message = wire_mesh::PeerAuthentication {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        scope: wire_mesh::Scope::Workload.into(),
        mode: wire_mesh::MtlsMode::Strict.into(),
        port_modes: [(9090, wire_mesh::MtlsMode::Permissive.into())].into(),
        created: 1,
    };
    let body = message.encode_to_vec();
    let own = own_modes(&[policy("shop/web", &body).unwrap()]);
    assert_eq!(own.mode, Some(MtlsMode::Strict));
    let ports = own.ports.into_iter().map(|(port, mode)| (port.get(), mode));
    assert_eq!(ports.collect::<Vec<_>>(), [(9090, MtlsMode::Permissive)]);
    assert_eq!(own_modes(&[]).mode, Some(MtlsMode::Permissive));
    let error = policy("shop/other", &body).unwrap_err();
    assert_eq!(
        error.to_string(),
        "by its contents its name would be \"shop/web\""
    );
    let wrong = wire_mesh::PeerAuthentication { mode: 9, ..message };
    let error = policy("shop/web", &wrong.encode_to_vec()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mode: 9 is none of UNSET, DISABLE, PERMISSIVE and STRICT"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check_address(WEB, &bytes, &own(), "");
        let _ = check_settings(&bytes, &own());
    }
}

//! What a mesh answers.

mod preference;
mod refusals;

use serde_json::{Value, json};

use super::*;

fn own() -> Own {
    Own {
        addresses: vec!["10.1.0.1".parse().unwrap()],
        ..Own::new("shop", "web")
    }
}

/// Services `web` (80 to 8080, 81) of two pods, one of which is this agent's, headless `db` of two pods, one not ready, and `bank`.
fn shop() -> Value {
    json!({
        "services": [
            {
                "name": "web", "namespace": "shop", "addresses": ["10.96.0.1", "fd00::1"],
                "ports": [
                    {"servicePort": 80, "targetPort": 8080, "name": "http"},
                    {"servicePort": 81, "name": "grpc-admin"},
                    {"servicePort": 5353, "name": "udp-dns"},
                ],
            },
            {
                "name": "db", "namespace": "shop", "hostname": "DB.shop.svc.cluster.local.",
                "ports": [{"servicePort": 3306}],
                "subjectAltNames": ["spiffe://other/ns/shop/sa/db"],
            },
            {
                "name": "bank", "namespace": "bank", "addresses": ["10.96.0.2"],
                "ports": [{"servicePort": 80, "appProtocol": "kubernetes.io/h2c"}],
            },
        ],
        "workloads": [
            pod("web-0", "10.1.0.1", "web"),
            pod("web-1", "10.1.0.2", "web"),
            pod("db-0", "10.1.0.3", "db"),
            {
                "name": "db-1", "namespace": "shop", "addresses": ["10.1.0.4"], "workloadName": "db", "serviceAccount": "db-1",
                "status": "UNHEALTHY", "services": {"shop/db.shop.svc.cluster.local": {}},
            },
        ],
    })
}

fn pod(name: &str, address: &str, service: &str) -> Value {
    let hostname = format!("shop/{service}.shop.svc.cluster.local");
    json!({
        "name": name, "namespace": "shop", "addresses": [address], "serviceAccount": service, "workloadName": service,
        "canonicalName": service, "tunnelProtocol": "LEGACY_ISTIO_MTLS", "services": {hostname: {}},
    })
}

fn model(value: Value) -> Model {
    serde_json::from_value(value).unwrap()
}

fn build(value: Value) -> Mesh {
    Mesh::build(&model(value), &own(), None).unwrap()
}

fn addresses(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect()
}

#[test]
fn a_mesh_that_knows_nothing_forbids_nothing() {
    let mesh = Mesh::default();
    assert_eq!(mesh.settings(), &Settings::default());
    assert_eq!(mesh.settings().outbound_policy, OutboundPolicy::AllowAny);
    assert!(mesh.service_named(b"web", 80).is_none());
    assert!(mesh.service_at("10.96.0.1:80".parse().unwrap()).is_none());
    assert!(mesh.endpoint_at("10.1.0.1:80".parse().unwrap()).is_none());
    assert!(mesh.workload_at("10.1.0.1".parse().unwrap()).is_none());
    let inbound = mesh.inbound(8080);
    assert_eq!(inbound.mtls, MtlsMode::Permissive);
    assert_eq!(inbound.protocol, Protocol::Auto);
    assert!(inbound.service.is_none());
    assert_eq!(mesh.inbound(3306).protocol, Protocol::Tcp);
}

#[test]
fn a_virtual_address_leads_to_its_port() {
    let mesh = build(shop());
    for address in ["10.96.0.1:80", "[fd00::1]:80", "[::ffff:10.96.0.1]:80"] {
        let port = mesh.service_at(address.parse().unwrap()).unwrap();
        assert_eq!(&*port.service.hostname, "web.shop.svc.cluster.local");
        assert_eq!(port.protocol, Protocol::Http);
        assert_eq!(
            addresses(&port.endpoints),
            ["10.1.0.1:8080", "10.1.0.2:8080"]
        );
        assert_eq!(&*port.sni, "outbound_.80_._.web.shop.svc.cluster.local");
        assert_eq!(
            &*port.identities,
            ["spiffe://cluster.local/ns/shop/sa/web".into()]
        );
    }
    for address in ["10.96.0.1:82", "10.96.0.3:80", "10.96.0.1:5353"] {
        assert!(
            mesh.service_at(address.parse().unwrap()).is_none(),
            "{address}"
        );
    }
}

#[test]
fn a_host_name_leads_to_the_port_that_was_dialled() {
    let mesh = build(shop());
    let table = [
        ("web", 80, Some(80)),
        ("web:81", 81, Some(81)),
        ("web:80", 81, None),
        ("WEB.shop.svc.cluster.local.", 81, Some(81)),
        ("web", 82, None),
        ("bank", 80, None),
        ("bank.bank", 80, Some(80)),
        ("10.96.0.1", 80, None),
    ];
    for (host, port, expected) in table {
        let found = mesh.service_named(host.as_bytes(), port);
        assert_eq!(found.map(|port| port.port), expected, "{host} {port}");
    }
    let bank = mesh.service_named(b"bank.bank.svc", 80).unwrap();
    assert_eq!(bank.protocol, Protocol::Http2);
    assert!(bank.endpoints.is_empty());
}

#[test]
fn one_name_in_two_namespaces_means_the_own_one() {
    let service = |namespace| json!({"name": "api", "namespace": namespace, "hostname": "api.example.com", "ports": [{"servicePort": 443}]});
    for namespaces in [["bank", "shop"], ["shop", "zoo"]] {
        let mesh = build(json!({"services": namespaces.map(service)}));
        let found = mesh.service_named(b"api.example.com", 443).unwrap();
        assert_eq!(&*found.service.namespace, "shop");
    }
    let others = ["zoo", "bank"].map(service);
    let mesh = build(json!({"services": others}));
    let found = mesh.service_named(b"api.example.com", 443).unwrap();
    assert_eq!(&*found.service.namespace, "bank");
}

#[test]
fn a_pod_that_is_dialled_by_itself_is_found_ready_or_not() {
    let mesh = build(shop());
    let (port, endpoint) = mesh.endpoint_at("10.1.0.3:3306".parse().unwrap()).unwrap();
    assert_eq!(&*port.service.name, "db");
    assert!(port.service.headless);
    assert_eq!(endpoint.transport, Transport::IstioMtls);
    let (port, endpoint) = mesh.endpoint_at("10.1.0.4:3306".parse().unwrap()).unwrap();
    assert_eq!(&*endpoint.workload.name, "db-1");
    assert_eq!(endpoint.transport, Transport::Plaintext);
    assert_eq!(addresses(&port.endpoints), ["10.1.0.3:3306"]);
    assert_eq!(addresses(&port.aside), ["10.1.0.4:3306"]);
    // Who is not ready may still answer on a connection that is open.
    let identities: Vec<&str> = port.identities.iter().map(|identity| &**identity).collect();
    assert_eq!(
        identities,
        [
            "spiffe://cluster.local/ns/shop/sa/db",
            "spiffe://cluster.local/ns/shop/sa/db-1",
            "spiffe://other/ns/shop/sa/db",
        ]
    );
    assert!(mesh.endpoint_at("10.1.0.3:3307".parse().unwrap()).is_none());
}

#[test]
fn a_headless_service_is_preferred_for_its_pods() {
    let mut value = shop();
    for (idx, name) in [(0, "a"), (1, "z")] {
        let mut service = value["services"][idx].clone();
        service["name"] = json!(name);
        service["hostname"] = json!("");
        service["addresses"] = json!(if idx == 0 { vec!["10.96.0.9"] } else { vec![] });
        value["services"].as_array_mut().unwrap().push(service);
    }
    for pod in [0, 2] {
        value["workloads"][pod]["services"] = json!({
            "shop/a.shop.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": 3306}]},
            "shop/z.shop.svc.cluster.local": {},
        });
    }
    let mesh = build(value);
    let (port, _) = mesh.endpoint_at("10.1.0.3:3306".parse().unwrap()).unwrap();
    assert_eq!(&*port.service.name, "z");
}

#[test]
fn a_workload_may_serve_a_port_elsewhere_than_its_service_says() {
    let mut value = shop();
    value["workloads"][1]["services"]["shop/web.shop.svc.cluster.local"] =
        json!({"ports": [{"servicePort": 80, "targetPort": 9090}]});
    let mesh = build(value);
    let port = mesh.service_named(b"web", 80).unwrap();
    assert_eq!(
        addresses(&port.endpoints),
        ["10.1.0.1:8080", "10.1.0.2:9090"]
    );
    let port = mesh.service_named(b"web", 81).unwrap();
    assert_eq!(addresses(&port.endpoints), ["10.1.0.1:81", "10.1.0.2:81"]);
}

#[test]
fn an_address_names_its_workload() {
    let mesh = build(shop());
    let workload = mesh
        .workload_at("::ffff:10.1.0.2".parse().unwrap())
        .unwrap();
    assert_eq!(&*workload.name, "web-1");
    assert_eq!(&*workload.uid, "Kubernetes//Pod/shop/web-1");
    assert_eq!(&*workload.identity, "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(&*workload.canonical_name, "web");
    assert_eq!(&*workload.canonical_revision, "latest");
    assert_eq!(mesh.own_workload().map(|own| &*own.name), Some("web-0"));
}

#[test]
fn pods_of_a_nodes_network_share_its_address() {
    let mut value = shop();
    for idx in [0, 1] {
        value["workloads"][idx]["addresses"] = json!(["10.0.0.1"]);
        value["workloads"][idx]["networkMode"] = json!("HOST_NETWORK");
    }
    let mesh = build(value);
    assert!(mesh.workload_at("10.0.0.1".parse().unwrap()).is_none());
    assert!(mesh.endpoint_at("10.0.0.1:8080".parse().unwrap()).is_some());
}

#[test]
fn without_automatic_tls_endpoints_are_reached_as_they_are() {
    let mut value = shop();
    value["settings"] = json!({"enableAutoMtls": false});
    let mesh = build(value);
    let port = mesh.service_named(b"web", 80).unwrap();
    assert_eq!(port.endpoints[0].transport, Transport::Plaintext);
    assert_eq!(port.endpoints[0].workload.transport, Transport::IstioMtls);
}

#[test]
fn settings_bear_the_names_of_the_mesh_configuration() {
    let mesh = build(json!({"settings": {
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON",
        "protocolDetectionTimeout": "250ms", "connectTimeout": "3s",
        "trustDomain": "example.org", "trustDomainAliases": ["old.example.org"],
    }}));
    let settings = mesh.settings();
    assert_eq!(settings.outbound_policy, OutboundPolicy::RegistryOnly);
    let file = AccessLog::File {
        path: "/dev/stdout".into(),
        encoding: crate::config::Encoding::Json,
    };
    assert_eq!(settings.access_log, Some(file));
    assert_eq!(settings.detection_timeout.unwrap().as_millis(), 250);
    assert_eq!(settings.connect_timeout.unwrap().as_secs(), 3);
    assert_eq!(&*settings.trust_domain, "example.org");
    assert_eq!(&*settings.trust_domain_aliases, ["old.example.org".into()]);
    let off = build(json!({"settings": {"accessLogFile": "", "protocolDetectionTimeout": "0s"}}));
    assert_eq!(off.settings().access_log, Some(AccessLog::Off));
    assert_eq!(off.settings().detection_timeout, None);
}

#[test]
fn own_ports_are_taken_as_services_and_modes_say() {
    use MtlsMode::{Disable, Permissive, Strict};
    let web = |mode: Value| json!({"shop/web": mode});
    // The modes of port 8080, which a service leads to, and of port 9000, which none does.
    let table = [
        (json!({}), Permissive, Permissive),
        (json!({"mode": "STRICT"}), Strict, Strict),
        (
            json!({"mode": "STRICT", "namespaces": {"shop": "DISABLE"}}),
            Disable,
            Disable,
        ),
        (
            json!({"mode": "STRICT", "namespaces": {"zoo": "DISABLE"}}),
            Strict,
            Strict,
        ),
        (
            json!({"namespaces": {"shop": "DISABLE"}, "workloads": web(json!({"mode": "STRICT"}))}),
            Strict,
            Strict,
        ),
        (
            json!({"mode": "STRICT", "workloads": web(json!({"ports": {"8080": "DISABLE"}}))}),
            Disable,
            Strict,
        ),
        (
            json!({"workloads": web(json!({"mode": "STRICT", "ports": {"9000": "PERMISSIVE"}}))}),
            Strict,
            Permissive,
        ),
        (
            json!({"workloads": {"shop/db": {"mode": "STRICT"}}}),
            Permissive,
            Permissive,
        ),
    ];
    for (modes, declared, other) in table {
        let mut value = shop();
        let other_pod = json!({"name": "z-0", "namespace": "zoo", "addresses": ["10.1.9.9"]});
        value["workloads"].as_array_mut().unwrap().push(other_pod);
        value["peerAuthentication"] = modes.clone();
        let mesh = build(value);
        assert_eq!(mesh.inbound(8080).mtls, declared, "{modes}");
        assert_eq!(mesh.inbound(9000).mtls, other, "{modes}");
    }
    let mesh = build(shop());
    let inbound = mesh.inbound(8080);
    assert_eq!(inbound.protocol, Protocol::Http);
    assert_eq!(inbound.service.map(|port| port.port), Some(80));
    assert_eq!(mesh.inbound(81).protocol, Protocol::Grpc);
    assert_eq!(mesh.inbound(80).service, None);
    let ports: Vec<u16> = mesh.inbound_ports().map(|(port, _)| port).collect();
    assert_eq!(ports, [81, 8080]);
}

#[test]
fn services_that_differ_about_a_port_leave_it_to_the_first_bytes() {
    let mut value = shop();
    value["services"][0]["ports"] = json!([
        {"servicePort": 80, "targetPort": 8080, "name": "http"},
        {"servicePort": 90, "targetPort": 8080, "name": "tcp"},
    ]);
    let inbound = build(value);
    let inbound = inbound.inbound(8080);
    assert_eq!(inbound.protocol, Protocol::Auto);
    assert_eq!(inbound.service.map(|port| port.port), Some(80));
}

#[test]
fn the_own_pod_is_known_by_its_owner_where_its_address_is_not() {
    let own = |name| Own::new("shop", name);
    let mesh = |name| Mesh::build(&model(shop()), &own(name), None).unwrap();
    // Two pods of one owner: nobody can tell which.
    assert!(mesh("web").own_workload().is_none());
    assert!(mesh("nobody").own_workload().is_none());
    let mut value = shop();
    value["workloads"].as_array_mut().unwrap().remove(1);
    let mesh = Mesh::build(&model(value), &own("web"), None).unwrap();
    assert_eq!(mesh.own_workload().map(|own| &*own.name), Some("web-0"));
}

#[test]
fn what_stays_the_same_is_shared_with_the_previous_mesh() {
    let first = build(shop());
    let port = Arc::clone(first.service_named(b"web", 80).unwrap());
    for _ in 0..7 {
        port.endpoints[1].standing.begin();
    }

    let same = Mesh::build(&model(shop()), &own(), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(same.service_named(b"web", 80).unwrap(), &port));
    for (first, same) in first.workloads().iter().zip(same.workloads()) {
        assert!(Arc::ptr_eq(first, same));
    }

    let mut value = shop();
    value["workloads"].as_array_mut().unwrap().remove(0);
    let fewer = Mesh::build(&model(value), &own(), Some(&same)).unwrap();
    let changed = fewer.service_named(b"web", 80).unwrap();
    assert!(!Arc::ptr_eq(changed, &port));
    assert!(Arc::ptr_eq(&changed.service, &port.service));
    assert!(Arc::ptr_eq(
        &changed.endpoints[0].workload,
        &port.endpoints[1].workload
    ));
    assert_eq!(changed.endpoints[0].load(), 7);
    let other = (
        fewer.service_named(b"bank.bank", 80),
        same.service_named(b"bank.bank", 80),
    );
    assert!(Arc::ptr_eq(other.0.unwrap(), other.1.unwrap()));
}

#[test]
fn every_service_of_an_address_counts_the_same_requests() {
    let mut value = shop();
    let mut service = value["services"][0].clone();
    service["name"] = json!("alias");
    service["addresses"] = json!(["10.96.0.7"]);
    value["services"].as_array_mut().unwrap().push(service);
    value["workloads"][0]["services"]["shop/alias.shop.svc.cluster.local"] = json!({});
    let mesh = build(value);
    let web = mesh.service_named(b"web", 80).unwrap();
    let alias = mesh.service_named(b"alias", 80).unwrap();
    web.endpoints[0].standing.begin();
    assert_eq!(alias.endpoints[0].load(), 1);
}

#[test]
fn pods_that_are_told_alike_have_one_name_in_telemetry() {
    let names = crate::peer::Names::default();
    let mesh = build(shop());
    let party = |ip: &str| {
        let workload = mesh.workload_at(ip.parse().unwrap()).unwrap();
        workload.party(&names).clone()
    };
    let web = party("10.1.0.1");
    assert_eq!(web, party("10.1.0.2"));
    assert_ne!(web, party("10.1.0.3"));
    assert_eq!(web.workload, "web");
    assert_eq!(web.principal, "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(web.cluster, "Kubernetes");
    let port = |mesh: &Mesh| Arc::clone(mesh.service_named(b"web", 80).unwrap());
    let service = port(&mesh).service.names(&names).clone();
    assert_eq!(service.host, "web.shop.svc.cluster.local");
    let later = Mesh::build(&model(shop()), &own(), None).unwrap();
    assert_eq!(service, *port(&later).service.names(&names));
}

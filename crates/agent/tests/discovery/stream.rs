//! What comes on a stream, and what becomes of the mesh.

use std::net::SocketAddr;

use agent::{
    discovery::client::Kind,
    mesh::{MtlsMode, Transport},
};
use wire::{discovery::DeltaDiscoveryResponse, minimesh::MtlsMode as Mode};

use crate::harness::{OWN, Plane, VIP, WEB, pod, policy, service, settings, uid, web};

const AT_VIP: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)),
    80,
);

#[tokio::test]
async fn the_sidecar_is_ready_when_settings_policies_and_its_own_address_are_told() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    // Nobody has said that plain text is taken.
    assert_eq!(sidecar.store.load().inbound(8080).mtls, MtlsMode::Strict);
    let mut stream = plane.stream().await;
    assert_eq!(stream.token, "Bearer t0ken");
    let first = stream.request().await;
    assert!(first.node.unwrap().id.starts_with("sidecar~10.0.0.1~"));
    assert_eq!(first.type_url, Kind::Address.type_url());
    assert_eq!(first.resource_names_subscribe, [OWN]);
    stream
        .send(Kind::Address, &[pod("client-0", [10, 0, 0, 1], &[])], &[])
        .await;
    sidecar
        .knows("the own pod", |mesh| mesh.own_workload().is_some())
        .await;
    // Who knows what else the mesh has is asked for it.
    for kind in [Kind::Address, Kind::Settings, Kind::PeerAuthentication] {
        assert_eq!(stream.request().await.type_url, kind.type_url());
    }
    let strict = settings("1", |settings| settings.trust_domain = "mesh".to_owned());
    stream.send(Kind::Settings, &[strict], &[]).await;
    sidecar
        .knows("the settings", |mesh| {
            &*mesh.settings().trust_domain == "mesh"
        })
        .await;
    assert!(!sidecar.readiness.is_ready());
    assert_eq!(sidecar.store.load().inbound(8080).mtls, MtlsMode::Strict);
    stream.send(Kind::PeerAuthentication, &[], &[]).await;
    sidecar.is_ready().await;
    assert_eq!(
        sidecar.store.load().inbound(8080).mtls,
        MtlsMode::Permissive
    );
    let strict = policy("default", Mode::Strict);
    stream.send(Kind::PeerAuthentication, &[strict], &[]).await;
    let is_strict = |mesh: &agent::mesh::Mesh| mesh.inbound(8080).mtls == MtlsMode::Strict;
    sidecar.knows("the policy", is_strict).await;
}

#[tokio::test]
async fn a_question_is_answered_with_the_service_and_all_its_pods() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.begin().await;
    sidecar.is_ready().await;
    stream.change().await;
    let (settled, ()) = tokio::join!(sidecar.settle(VIP), async {
        assert_eq!(
            stream.change().await.resource_names_subscribe,
            ["/10.96.0.1"]
        );
        let pods = [web(), pod("web-0", [10, 0, 0, 2], &[WEB])];
        stream.send(Kind::Address, &pods, &[]).await;
    });
    settled.unwrap();
    let mesh = sidecar.store.current();
    let port = mesh.service_at(AT_VIP).unwrap();
    assert_eq!(port.endpoints[0].transport, Transport::IstioMtls);
    assert!(sidecar.demand.is_settled(AT_VIP.ip()));
    // Pods that come and go.
    let other = pod("web-1", [10, 0, 0, 3], &[WEB]);
    stream.send(Kind::Address, &[other], &[&uid("web-0")]).await;
    let has = |mesh: &agent::mesh::Mesh| {
        let port = mesh.service_at(AT_VIP).unwrap();
        port.endpoints.len() == 1 && port.endpoints[0].address == ([10, 0, 0, 3], 80).into()
    };
    sidecar.knows("the other pod", has).await;
}

#[tokio::test]
async fn an_address_where_nobody_is_is_asked_about_once() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.begin().await;
    stream.change().await;
    let (settled, ()) = tokio::join!(sidecar.settle("192.0.2.1"), async {
        assert_eq!(
            stream.change().await.resource_names_subscribe,
            ["/192.0.2.1"]
        );
        stream.send(Kind::Address, &[], &["/192.0.2.1"]).await;
    });
    settled.unwrap();
    assert!(sidecar.demand.is_settled("192.0.2.1".parse().unwrap()));
    sidecar.settle("192.0.2.1").await.unwrap();
}

#[tokio::test]
async fn one_bad_resource_is_refused_by_name_and_hurts_no_other() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.request().await;
    let mut bad = service("bad", [10, 96, 0, 2]);
    bad.resource = Some(wire::Any {
        value: b"\xff\xff".as_slice().into(),
        ..bad.resource.unwrap()
    });
    stream.send(Kind::Address, &[bad, web()], &[OWN]).await;
    let answer = stream.request().await;
    assert_eq!(answer.response_nonce, "1");
    let error = answer.error_detail.unwrap();
    assert!(
        error.message.starts_with(
            "1 of 2 resources are refused, the others are used: shop/bad.shop.svc.cluster.local: it cannot be decoded"
        ),
        "{}",
        error.message
    );
    sidecar
        .knows("the good one", |mesh| mesh.service_at(AT_VIP).is_some())
        .await;
    let report = sidecar.status.report();
    let refusal = report.kinds.iter().find_map(|of| of.refusal.clone());
    assert_eq!(refusal, Some(error.message));
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_leaves_the_ports_closed() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream
        .send(Kind::Settings, &[settings("1", |_| ())], &[])
        .await;
    stream.send(Kind::Address, &[], &[OWN]).await;
    let mut wrong = policy("default", Mode::Strict);
    wrong.name = "other".to_owned();
    stream.send(Kind::PeerAuthentication, &[wrong], &[]).await;
    let refused = |kind: &agent::discovery::status::KindReport| kind.refusal.is_some();
    let is_refused = || sidecar.status.report().kinds.iter().any(refused);
    sidecar.comes_to("the refusal", is_refused).await;
    assert!(!sidecar.readiness.is_ready());
    assert_eq!(sidecar.store.load().inbound(8080).mtls, MtlsMode::Strict);
}

#[tokio::test]
async fn everything_is_known_at_once_where_everything_is_asked_for() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|settings| settings.wildcard = true);
    let mut stream = plane.stream().await;
    let (settled, ()) = tokio::join!(sidecar.settle("192.0.2.1"), async {
        assert_eq!(stream.change().await.resource_names_subscribe, ["*"]);
        stream
            .send(Kind::Settings, &[settings("1", |_| ())], &[])
            .await;
        stream.send(Kind::PeerAuthentication, &[], &[]).await;
        // In several parts.
        for part in 0..10 {
            let services: Vec<_> = (0..100)
                .map(|n| service(&format!("s{part}-{n}"), [10, 97, part, n]))
                .collect();
            stream.send_part(&services, part < 9).await;
        }
    });
    settled.unwrap();
    sidecar.is_ready().await;
    assert_eq!(sidecar.store.load().service_ports().len(), 1000);
    assert!(sidecar.demand.is_settled("192.0.2.2".parse().unwrap()));
}

#[tokio::test]
async fn ten_thousand_resources_come_in_one_stream() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|settings| settings.wildcard = true);
    let mut stream = plane.stream().await;
    let sending = async {
        for part in 0..10u8 {
            let pods: Vec<_> = (0..1000u16)
                .map(|n| {
                    let [high, low] = n.to_be_bytes();
                    pod(&format!("p{part}-{n}"), [10, part, high, low], &[])
                })
                .collect();
            assert!(stream.send_part(&pods, part < 9).await);
        }
    };
    // A large push must not hold up those that ask.
    tokio::join!(sending, async {
        for _ in 0..10 {
            assert!(sidecar.readiness.report().pending.contains(&"discovery"));
            tokio::task::yield_now().await;
        }
    });
    sidecar
        .knows("all pods", |mesh| mesh.workloads().len() > 9_900)
        .await;
}

#[tokio::test]
async fn a_stream_of_nonsense_is_closed_and_the_mesh_stays() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.begin().await;
    stream.send(Kind::Address, &[web()], &[]).await;
    sidecar
        .knows("the service", |mesh| mesh.service_at(AT_VIP).is_some())
        .await;
    let nonsense = DeltaDiscoveryResponse {
        type_url: "type.googleapis.com/nonsense".to_owned(),
        ..Default::default()
    };
    stream.send_as_it_is(Ok(nonsense)).await;
    assert!(stream.is_closed().await);
    let mut next = plane.stream().await;
    assert_eq!(next.change().await.initial_resource_versions[WEB], "1");
    assert!(sidecar.store.load().service_at(AT_VIP).is_some());
    // A response that is larger than any is allowed to be ends the stream, too.
    let mut large = web();
    large.version = "v".repeat(5 << 20);
    next.send(Kind::Address, &[large], &[]).await;
    plane.stream().await;
    assert!(sidecar.store.load().service_at(AT_VIP).is_some());
}

#[tokio::test]
async fn a_flood_is_survived_and_what_it_ends_with_counts() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.begin().await;
    for n in 0..2000 {
        let version = settings(&n.to_string(), |settings| {
            settings.trust_domain = format!("mesh{n}");
        });
        // Nobody reads the acknowledgements, so the sidecar stops reading, and goes on when they are taken.
        if n % 100 == 99 {
            for _ in 0..50 {
                stream.request().await;
            }
        }
        if tokio::time::timeout(
            std::time::Duration::from_millis(200),
            stream.send(Kind::Settings, &[version], &[]),
        )
        .await
        .is_err()
        {
            stream.request().await;
        }
    }
    let last = settings("last", |settings| settings.trust_domain = "last".to_owned());
    stream.send(Kind::Settings, &[last], &[]).await;
    sidecar
        .knows("the last settings", |mesh| {
            &*mesh.settings().trust_domain == "last"
        })
        .await;
}

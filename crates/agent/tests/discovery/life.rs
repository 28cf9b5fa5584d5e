//! A control plane that goes and comes back, and a sidecar that does.

use std::{net::SocketAddr, path::Path, time::Duration};

use agent::{discovery::client::Kind, mesh::MtlsMode};
use tonic::Status;
use wire::minimesh::MtlsMode as Mode;

use crate::harness::{OWN, Plane, VIP, WEB, pod, policy, settings, uid, web};

fn vip() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), 80)
}

#[tokio::test]
async fn a_new_stream_resumes_and_brings_only_what_is_new() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.begin().await;
    stream
        .send(
            Kind::Address,
            &[pod("client-0", [10, 0, 0, 1], &[WEB])],
            &[],
        )
        .await;
    stream.change().await;
    assert_eq!(stream.change().await.resource_names_subscribe, [WEB]);
    stream
        .send(
            Kind::Address,
            &[web(), pod("web-0", [10, 0, 0, 2], &[WEB])],
            &[],
        )
        .await;
    sidecar
        .knows("both pods", |mesh| mesh.workloads().len() == 2)
        .await;
    drop(stream);
    let mut stream = plane.stream().await;
    let resumed = stream.change().await;
    assert_eq!(resumed.resource_names_subscribe, [OWN, WEB]);
    let versions: Vec<_> = resumed.initial_resource_versions.keys().cloned().collect();
    assert_eq!(versions, [uid("client-0"), uid("web-0"), WEB.to_owned()]);
    assert!(sidecar.store.load().service_at(vip()).is_some());
    assert!(sidecar.readiness.is_ready());
    let reason = sidecar.readiness.report().details["discovery"].clone();
    assert!(
        reason.contains("the last picture of the mesh is in use"),
        "{reason}"
    );
    stream.send(Kind::Address, &[], &[&uid("web-0")]).await;
    sidecar
        .knows("one pod", |mesh| mesh.workloads().len() == 1)
        .await;
}

#[tokio::test]
async fn without_a_control_plane_the_mesh_stays_and_the_unknown_is_not_settled() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|settings| settings.wait = Duration::from_millis(200));
    let mut stream = plane.stream().await;
    stream.begin().await;
    stream.send(Kind::Address, &[web()], &[]).await;
    sidecar
        .knows("the service", |mesh| mesh.service_at(vip()).is_some())
        .await;
    sidecar.is_ready().await;
    drop(stream);
    plane.stop().await;
    let details = || sidecar.readiness.report().details;
    let is_told = || {
        details()
            .get("discovery")
            .is_some_and(|told| told.contains("cannot connect"))
    };
    sidecar
        .comes_to("it says that nobody answers", is_told)
        .await;
    assert!(sidecar.readiness.is_ready());
    assert!(sidecar.settle("10.0.0.9").await.is_err());
    assert!(!sidecar.demand.is_settled("10.0.0.9".parse().unwrap()));
    assert!(sidecar.store.load().service_at(vip()).is_some());
    plane.start_again().await;
    let mut stream = plane.stream().await;
    let names = stream.change().await.resource_names_subscribe;
    assert_eq!(names, ["/10.0.0.1", "/10.0.0.9"]);
    stream.begin().await;
    stream.send(Kind::Address, &[], &["/10.0.0.9"]).await;
    sidecar
        .comes_to("all is well again", || details().is_empty())
        .await;
    assert!(sidecar.demand.is_settled("10.0.0.9".parse().unwrap()));
}

#[tokio::test]
async fn a_control_plane_that_refuses_is_asked_again() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let stream = plane.stream().await;
    let refusal = Status::unauthenticated("the token\nhas expired");
    stream.send_as_it_is(Err(refusal)).await;
    let mut stream = plane.stream().await;
    let is_over = || sidecar.status.report().last_error.is_none();
    sidecar.comes_to("the next stream is open", is_over).await;
    stream.begin().await;
    sidecar.is_ready().await;
}

#[tokio::test]
async fn a_slow_control_plane_delays_only_those_who_ask() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|settings| settings.wait = Duration::from_millis(100));
    let mut stream = plane.stream().await;
    stream.begin().await;
    sidecar.is_ready().await;
    assert!(sidecar.settle(VIP).await.is_err());
    stream.send(Kind::Address, &[web()], &[]).await;
    sidecar
        .knows("the late answer", |mesh| mesh.service_at(vip()).is_some())
        .await;
    sidecar.settle(VIP).await.unwrap();
}

/// A sidecar that learns of a service and of an address where nobody is, and ends with the control plane.
async fn first_life(plane: &mut Plane, cache: &Path) {
    let first = plane.sidecar(|settings| settings.cache = Some(cache.to_owned()));
    let mut stream = plane.stream().await;
    let own = settings("1", |settings| settings.trust_domain = "mesh".to_owned());
    stream.send(Kind::Settings, &[own], &[]).await;
    let strict = policy("default", Mode::Strict);
    stream.send(Kind::PeerAuthentication, &[strict], &[]).await;
    stream.send(Kind::Address, &[], &[OWN]).await;
    let (settled, ()) = tokio::join!(first.settle(VIP), async {
        stream.change().await;
        stream.change().await;
        stream
            .send(
                Kind::Address,
                &[web(), pod("web-0", [10, 0, 0, 2], &[WEB])],
                &[],
            )
            .await;
    });
    settled.unwrap();
    let (also, ()) = tokio::join!(first.settle("192.0.2.1"), async {
        stream.change().await;
        stream.send(Kind::Address, &[], &["/192.0.2.1"]).await;
    });
    also.unwrap();
    let is_written = || {
        std::fs::read(cache).is_ok_and(|bytes| {
            let needle = b"192.0.2.1";
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    };
    first.comes_to("the cache is written", is_written).await;
    drop(first);
    plane.stop().await;
}

#[tokio::test]
async fn a_restarted_sidecar_starts_from_its_cache_and_believes_a_live_answer() {
    let mut plane = Plane::start().await;
    let cache = plane.file("cache");
    let with_cache = |settings: &mut agent::discovery::Settings| {
        settings.cache = Some(cache.clone());
    };
    first_life(&mut plane, &cache).await;

    let second = plane.sidecar(with_cache);
    let mesh = second.store.current();
    assert_eq!(&*mesh.settings().trust_domain, "mesh");
    assert_eq!(mesh.inbound(8080).mtls, MtlsMode::Strict);
    assert_eq!(mesh.service_at(vip()).unwrap().endpoints.len(), 1);
    assert!(second.demand.is_settled(vip().ip()));
    assert!(second.demand.is_settled("192.0.2.1".parse().unwrap()));
    second.is_ready().await;
    let told = second.readiness.report().details["discovery"].clone();
    assert!(told.contains("what the cache of 20"), "{told}");
    assert!(second.status.report().cache_from.is_some());
    plane.start_again().await;
    let mut stream = plane.stream().await;
    let resumed = stream.change().await;
    assert_eq!(
        resumed.resource_names_subscribe,
        [OWN, VIP_NAME, "/192.0.2.1"]
    );
    assert_eq!(resumed.initial_resource_versions.len(), 2);
    stream.begin().await;
    stream.send(Kind::Address, &[], &[&uid("web-0")]).await;
    second
        .knows("what is true now", |mesh| {
            &*mesh.settings().trust_domain == "cluster.local"
                && mesh.service_at(vip()).unwrap().endpoints.is_empty()
        })
        .await;
    second
        .comes_to("the cache is not in use", || {
            second.status.report().cache_from.is_none()
        })
        .await;
    assert!(second.readiness.report().details.is_empty());
}

const VIP_NAME: &str = "/10.96.0.1";

//! A control plane of Istio, which knows addresses and nothing of our own types.

use agent::{
    discovery::client::Kind,
    mesh::{Mesh, MtlsMode},
};
use tonic::Status;
use wire::{discovery::Resource, minimesh::MtlsMode as Mode};

use crate::harness::{OWN, Plane, Sidecar, Stream, VIP, WEB, pod, pod_with, policy, uid, web};

/// The own pod, to which Istio's control plane has attached policies of these names.
fn own_pod(version: &str, policies: &[&str]) -> Resource {
    let mut own = pod_with("client-0", [10, 0, 0, 1], |pod| {
        pod.authorization_policies = policies.iter().map(|name| (*name).to_owned()).collect();
    });
    own.version = version.to_owned();
    own
}

fn mode(sidecar: &Sidecar) -> MtlsMode {
    sidecar.store.load().inbound(8080).mtls
}

fn takes(expected: MtlsMode) -> impl Fn(&Mesh) -> bool {
    move |mesh| mesh.inbound(8080).mtls == expected
}

/// Its next stream.
async fn foreign(plane: &mut Plane) -> Stream {
    let mut stream = plane.stream().await;
    stream.identifier = "";
    stream
}

#[tokio::test]
async fn it_is_asked_for_addresses_alone_and_makes_the_sidecar_ready() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = foreign(&mut plane).await;
    assert_eq!(stream.request().await.type_url, Kind::Address.type_url());
    stream.send(Kind::Address, &[own_pod("1", &[])], &[]).await;
    sidecar.is_ready().await;
    assert_eq!(mode(&sidecar), MtlsMode::Permissive);
    let acknowledgement = stream.request().await;
    assert_eq!(acknowledgement.response_nonce, "1");
    drop(stream);
    // It would end the stream of whoever asks for more, the next one, too.
    let mut stream = foreign(&mut plane).await;
    let resumed = stream.request().await;
    assert_eq!(resumed.type_url, Kind::Address.type_url());
    assert_eq!(resumed.initial_resource_versions.len(), 1);
    stream.send(Kind::Address, &[], &[]).await;
    assert_eq!(stream.request().await.response_nonce, "1");
    let is_well = || sidecar.readiness.report().details.is_empty();
    sidecar.comes_to("all is well", is_well).await;
}

#[tokio::test]
async fn ports_are_closed_by_the_policies_that_it_attaches_to_the_own_pod() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = foreign(&mut plane).await;
    let table = [
        (
            "istio-system/istio_converted_static_strict",
            MtlsMode::Strict,
        ),
        ("shop/allow-web", MtlsMode::Permissive),
        ("shop/converted_peer_authentication_ports", MtlsMode::Strict),
    ];
    for (n, (name, expected)) in table.into_iter().enumerate() {
        let own = own_pod(&n.to_string(), &[name]);
        stream.send(Kind::Address, &[own], &[]).await;
        sidecar.knows(name, takes(expected)).await;
    }
    // Nobody says otherwise, so it stays like this.
    let uid = own_pod("", &[]).name;
    stream.send(Kind::Address, &[], &[&uid, OWN]).await;
    sidecar
        .knows("the own pod is gone", |mesh| mesh.own_workload().is_none())
        .await;
    assert_eq!(mode(&sidecar), MtlsMode::Strict);
}

#[tokio::test]
async fn until_it_knows_the_own_pod_the_ports_are_closed_and_it_is_asked_again() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = foreign(&mut plane).await;
    assert_eq!(stream.change().await.resource_names_subscribe, [OWN]);
    stream.send(Kind::Address, &[], &[OWN]).await;
    let is_said = || {
        let report = sidecar.readiness.report();
        let detail = report.details.get("discovery");
        detail.is_some_and(|detail| detail.contains("does not tell of this pod"))
    };
    sidecar.comes_to("it says what it waits for", is_said).await;
    assert!(!sidecar.readiness.is_ready());
    assert_eq!(mode(&sidecar), MtlsMode::Strict);
    assert_eq!(stream.change().await.resource_names_unsubscribe, [OWN]);
    assert_eq!(stream.change().await.resource_names_subscribe, [OWN]);
    stream.send(Kind::Address, &[own_pod("1", &[])], &[]).await;
    sidecar.is_ready().await;
    assert_eq!(mode(&sidecar), MtlsMode::Permissive);
    assert!(sidecar.readiness.report().details.is_empty());
}

#[tokio::test]
async fn when_a_pod_of_a_service_goes_it_is_asked_which_ones_have_come() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = foreign(&mut plane).await;
    assert_eq!(stream.change().await.resource_names_subscribe, [OWN]);
    stream.send(Kind::Address, &[own_pod("1", &[])], &[]).await;
    let (settled, ()) = tokio::join!(sidecar.settle(VIP), async {
        stream.change().await;
        let old = pod("web-0", [10, 0, 0, 2], &[WEB]);
        stream.send(Kind::Address, &[web(), old], &[]).await;
    });
    settled.unwrap();
    // By itself it tells of those alone that it has told of before.
    stream.send(Kind::Address, &[], &[&uid("web-0")]).await;
    let again = ["/10.96.0.1"];
    let let_go = stream.change().await;
    assert_eq!(let_go.resource_names_unsubscribe, again);
    assert_eq!(let_go.resource_names_subscribe, [OWN]);
    assert_eq!(stream.change().await.resource_names_subscribe, again);
    assert!(sidecar.demand.is_settled(VIP.parse().unwrap()));
}

#[tokio::test]
async fn it_may_take_the_place_of_our_own_and_give_it_back() {
    let mut plane = Plane::start().await;
    let sidecar = plane.sidecar(|_| ());
    let mut stream = plane.stream().await;
    stream.begin().await;
    let strict = policy("default", Mode::Strict);
    stream.send(Kind::PeerAuthentication, &[strict], &[]).await;
    sidecar.knows("the policy", takes(MtlsMode::Strict)).await;
    sidecar.is_ready().await;
    drop(stream);
    // It answers what it knows, and refuses the rest.
    let stream = &mut foreign(&mut plane).await;
    stream.send(Kind::Address, &[], &[OWN]).await;
    let refusal = Status::permission_denied("not for you");
    stream.send_as_it_is(Err(refusal)).await;
    let mut stream = foreign(&mut plane).await;
    assert_eq!(stream.request().await.type_url, Kind::Address.type_url());
    stream.send(Kind::Address, &[own_pod("1", &[])], &[]).await;
    sidecar
        .knows("its own mind", takes(MtlsMode::Permissive))
        .await;
    drop(stream);
    let mut stream = plane.stream().await;
    stream
        .send(Kind::Address, &[pod("client-1", [10, 0, 0, 7], &[])], &[])
        .await;
    sidecar
        .knows("ours", |mesh| {
            mesh.workload_at([10, 0, 0, 7].into()).is_some()
        })
        .await;
    stream.begin().await;
    let strict = policy("default", Mode::Strict);
    stream.send(Kind::PeerAuthentication, &[strict], &[]).await;
    sidecar
        .knows("the policy again", takes(MtlsMode::Strict))
        .await;
}

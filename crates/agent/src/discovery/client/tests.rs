//! What a client of discovery asks, and what it makes of the answers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::{Any, core::ControlPlane, discovery::Resource, workload};

use super::{
    held::{LONGEST_NAME, LONGEST_VERSION, MOST_RESOURCES},
    *,
};

fn node() -> Node {
    Node {
        id: "sidecar~10.0.0.1~web.shop~shop.svc.cluster.local".to_owned(),
        ..Default::default()
    }
}

fn client() -> Client {
    Client::new(node(), false)
}

fn resource(name: &str, version: &str) -> Resource {
    let body = workload::Workload {
        uid: name.to_owned(),
        canonical_revision: version.to_owned(),
        ..Default::default()
    };
    Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        resource: Some(Any::pack(&workload::Address {
            r#type: Some(workload::address::Type::Workload(body)),
        })),
        aliases: Vec::new(),
    }
}

fn response(nonce: &str, resources: &[Resource], removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: Kind::Address.type_url(),
        nonce: nonce.to_owned(),
        resources: resources.to_vec(),
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

/// Everything that is to be sent, of addresses alone.
fn requests(client: &mut Client) -> Vec<DeltaDiscoveryRequest> {
    let all = std::iter::from_fn(|| client.next_request());
    all.filter(|request| request.type_url == Kind::Address.type_url())
        .collect()
}

fn request(client: &mut Client) -> DeltaDiscoveryRequest {
    let mut requests = requests(client);
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn take(client: &mut Client, response: DeltaDiscoveryResponse) -> Taken {
    client.take(response, &mut |_, _, _| Ok(())).unwrap()
}

fn names(client: &Client) -> Vec<&str> {
    let held = client.resources(Kind::Address);
    held.map(|(name, _)| name).collect()
}

/// The types of everything that is to be sent.
fn types(client: &mut Client) -> Vec<Kind> {
    let all = std::iter::from_fn(|| client.next_request());
    let kind_of = |type_url: &str| {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    };
    all.map(|request| kind_of(&request.type_url).unwrap())
        .collect()
}

/// An answer of the control plane that calls itself so.
fn answer_of(identifier: &str) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        control_plane: Some(ControlPlane {
            identifier: identifier.to_owned(),
        }),
        ..response("1", &[], &["/10.0.0.1"])
    }
}

#[test]
fn the_first_request_says_who_asks() {
    let mut client = client();
    client.subscribe("/10.0.0.1");
    let first = client.next_request().unwrap();
    assert_eq!(first.type_url, "type.googleapis.com/istio.workload.Address");
    assert_eq!(first.node, Some(node()));
    assert_eq!(first.resource_names_subscribe, ["/10.0.0.1"]);
    assert_eq!(client.next_request(), None);
    take(&mut client, answer_of("minimesh/1.0.0"));
    let next = client.next_request().unwrap();
    assert_eq!(next.node, None);
}

#[test]
fn the_mesh_s_own_types_are_asked_of_its_own_control_plane_alone() {
    use Kind::{Address, PeerAuthentication, Settings};
    let mut client = client();
    client.subscribe("/10.0.0.1");
    assert_eq!(types(&mut client), [Address]);
    take(&mut client, answer_of("minimesh/1.0.0"));
    let acknowledgement = Address;
    assert_eq!(
        types(&mut client),
        [acknowledgement, Settings, PeerAuthentication]
    );
    // Known from the stream before.
    client.restart();
    assert_eq!(types(&mut client), [Address, Settings, PeerAuthentication]);
    take(&mut client, answer_of(""));
    client.restart();
    assert_eq!(types(&mut client), [Address]);
    take(&mut client, answer_of("{\"Component\":\"istiod\"}"));
    assert_eq!(types(&mut client), [acknowledgement]);
    assert_eq!(client.server(), Some(super::Server::Foreign));
    // Another one has taken its place.
    client.restart();
    assert_eq!(types(&mut client), [Address]);
    take(&mut client, answer_of("minimesh/1.0.0"));
    assert_eq!(
        types(&mut client),
        [acknowledgement, Settings, PeerAuthentication]
    );
}

#[test]
fn who_asks_about_no_address_does_not_wait_for_an_answer_about_one() {
    let mut client = client();
    assert_eq!(types(&mut client), Kind::ALL);
    // Once it is known that the other types would end the stream, they are not asked for.
    take(&mut client, answer_of(""));
    client.restart();
    assert_eq!(types(&mut client), [Kind::Address]);
}

#[test]
fn wanting_nothing_is_not_wanting_everything() {
    let first = request(&mut client());
    assert_eq!(first.resource_names_subscribe, ["*"]);
    assert_eq!(first.resource_names_unsubscribe, ["*"]);
    let first = request(&mut Client::new(node(), true));
    assert_eq!(first.resource_names_subscribe, ["*"]);
    assert!(first.resource_names_unsubscribe.is_empty());
}

#[test]
fn names_are_subscribed_to_in_requests_that_acknowledge_nothing() {
    let mut client = client();
    client.subscribe("/10.0.0.1");
    requests(&mut client);
    take(&mut client, response("1", &[resource("a", "1")], &[]));
    client.subscribe("/10.0.0.2");
    client.subscribe("/10.0.0.2");
    let sent = requests(&mut client);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].response_nonce, "1");
    assert!(sent[0].error_detail.is_none());
    assert!(sent[0].resource_names_subscribe.is_empty());
    assert_eq!(sent[1].response_nonce, "");
    assert_eq!(sent[1].resource_names_subscribe, ["/10.0.0.2"]);
    assert!(client.next_request().is_none());
}

#[test]
fn a_request_never_subscribes_to_nothing() {
    let mut client = client();
    for name in ["/10.0.0.1", "/10.0.0.2"] {
        client.subscribe(name);
    }
    requests(&mut client);
    client.unsubscribe("/10.0.0.2");
    let sent = request(&mut client);
    assert_eq!(sent.resource_names_unsubscribe, ["/10.0.0.2"]);
    assert_eq!(sent.resource_names_subscribe, ["/10.0.0.1"]);
}

#[test]
fn what_is_asked_for_again_is_let_go_before() {
    let mut client = client();
    for name in ["/10.0.0.1", "/10.0.0.2"] {
        client.subscribe(name);
    }
    requests(&mut client);
    client.unsubscribe("/10.0.0.2");
    client.subscribe("/10.0.0.2");
    let sent = requests(&mut client);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].resource_names_unsubscribe, ["/10.0.0.2"]);
    assert_eq!(sent[0].resource_names_subscribe, ["/10.0.0.1"]);
    assert_eq!(sent[1].resource_names_subscribe, ["/10.0.0.2"]);
}

#[test]
fn a_request_subscribes_to_something_even_if_all_is_asked_for_again() {
    let names = ["/10.0.0.1", "/10.0.0.2"];
    for names in [&names[..], &names[..1]] {
        let mut client = client();
        for name in names {
            client.subscribe(name);
        }
        requests(&mut client);
        for name in names {
            client.unsubscribe(name);
            client.subscribe(name);
        }
        let sent = requests(&mut client);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].resource_names_subscribe, ["/10.0.0.1"]);
        assert_eq!(sent[0].resource_names_unsubscribe, names);
        assert_eq!(sent[1].resource_names_subscribe, names);
    }
}

#[test]
fn bad_resources_are_refused_by_name_and_the_good_ones_used() {
    let mut client = client();
    requests(&mut client);
    take(&mut client, response("1", &[resource("bad", "1")], &[]));
    requests(&mut client);
    let mut strange = resource("strange", "1");
    strange.resource = Some(Any::pack(&workload::Service::default()));
    let mut empty = resource("empty", "1");
    empty.resource = None;
    let sent = [
        resource("good", "1"),
        resource("bad", "2"),
        strange,
        empty,
        resource("", "1"),
    ];
    let mut check = |_, name: &str, _: &[u8]| match name {
        "bad" => Err("ports[0]: `0` is not a port".to_owned()),
        _ => Ok(()),
    };
    let taken = client.take(response("2", &sent, &[]), &mut check).unwrap();
    let refused: Vec<_> = taken.refused.iter().map(|(name, _)| &**name).collect();
    assert_eq!(refused, ["bad", "strange", "empty", ""]);
    assert_eq!(names(&client), ["bad", "good"]);
    // The last good one stays.
    let held = client.resource(Kind::Address, "bad").unwrap();
    assert_eq!(&*held.version, "1");
    let sent = request(&mut client);
    let error = sent.error_detail.unwrap();
    assert_eq!(error.code, 3);
    assert_eq!(
        error.message,
        "4 of 5 resources are refused, the others are used: bad: ports[0]: `0` is not a port; strange: it is of type \
         \"type.googleapis.com/istio.workload.Service\"; empty: there is nothing in it"
    );
}

#[test]
fn a_new_stream_resumes_with_the_versions_that_are_held() {
    let mut client = client();
    client.subscribe("/10.0.0.1");
    requests(&mut client);
    let both = [resource("a", "1"), resource("b", "2")];
    take(&mut client, response("1", &both, &[]));
    client.subscribe("/10.0.0.2");
    client.restart();
    assert!(!client.is_answered(Kind::Address));
    assert_eq!(names(&client), ["a", "b"]);
    let first = request(&mut client);
    assert!(
        first.response_nonce.is_empty(),
        "the other stream's nonce is of no use"
    );
    assert_eq!(first.resource_names_subscribe, ["/10.0.0.1", "/10.0.0.2"]);
    let versions = [("a", "1"), ("b", "2")].map(|(name, version)| (name.into(), version.into()));
    assert_eq!(first.initial_resource_versions, versions.into());
    let taken = take(&mut client, response("1", &[], &["a", "/10.0.0.2"]));
    assert_eq!(taken.removed, ["a", "/10.0.0.2"]);
    assert!(taken.is_changed);
    assert_eq!(names(&client), ["b"]);
}

#[test]
fn what_is_the_same_is_no_change() {
    let mut client = client();
    assert!(take(&mut client, response("1", &[resource("a", "1")], &[])).is_changed);
    let order = client.resource(Kind::Address, "a").unwrap().order;
    let again = take(
        &mut client,
        response("2", &[resource("a", "1")], &["never there"]),
    );
    assert!(!again.is_changed);
    assert_eq!(again.used.len(), 1);
    assert_eq!(client.resource(Kind::Address, "a").unwrap().order, order);
}

#[test]
fn what_is_forgotten_is_not_sent_any_more() {
    let mut client = client();
    client.subscribe("/10.0.0.1");
    requests(&mut client);
    take(&mut client, response("1", &[resource("a", "1")], &[]));
    client.forget("a");
    assert_eq!(client.n_bytes(), 0);
    let sent = requests(&mut client);
    assert_eq!(sent[1].resource_names_unsubscribe, ["a"]);
}

#[test]
fn many_names_take_many_requests() {
    let mut client = client();
    for n in 0..2500 {
        client.subscribe(&format!("/{n}"));
    }
    let sent = requests(&mut client);
    let sizes = sent
        .iter()
        .map(|request| request.resource_names_subscribe.len());
    assert_eq!(sizes.collect::<Vec<_>>(), [1000, 1000, 500]);
}

#[test]
fn there_is_an_end_to_what_is_held() {
    let mut client = client();
    let long = resource(&"n".repeat(LONGEST_NAME + 1), "1");
    let versioned = resource("a", &"v".repeat(LONGEST_VERSION + 1));
    let taken = take(&mut client, response("1", &[long, versioned], &[]));
    assert_eq!(taken.refused.len(), 2);
    let many: Vec<_> = (0..MOST_RESOURCES + 5)
        .map(|n| resource(&n.to_string(), "1"))
        .collect();
    let taken = take(&mut client, response("2", &many, &[]));
    assert_eq!(taken.refused.len(), 5);
    // One that is known may still change.
    let taken = take(&mut client, response("3", &[resource("7", "2")], &[]));
    assert!(taken.refused.is_empty());
}

#[test]
fn a_type_that_nobody_asked_for_is_an_error() {
    let mut response = response("1", &[], &[]);
    response.type_url = "type.googleapis.com/envoy\n".to_owned();
    let error = client().take(response, &mut |_, _, _| Ok(())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the control plane sent resources of type \"type.googleapis.com/envoy\u{fffd}\", which nobody asked for"
    );
}

/// A server that keeps what it was asked for by the letter of the protocol.
#[derive(Default)]
struct Server(BTreeSet<String>);

impl Server {
    fn hear(&mut self, request: &DeltaDiscoveryRequest) {
        self.0.extend(request.resource_names_subscribe.clone());
        for name in &request.resource_names_unsubscribe {
            self.0.remove(name);
        }
    }
}

proptest! {
    #[test]
    fn the_server_ends_up_with_what_the_client_wants(steps in prop::collection::vec((0..5u8, 0..6u8), 0..60)) {
        let mut client = client();
        let mut server = Server::default();
        let mut wanted = BTreeSet::new();
        let mut held = BTreeMap::new();
        let mut n_sent = 0;
        for (step, n) in steps {
            let name = format!("/{n}");
            match step {
                0 => {
                    client.subscribe(&name);
                    wanted.insert(name);
                }
                1 => {
                    client.unsubscribe(&name);
                    wanted.remove(&name);
                }
                2 => {
                    let version = n_sent.to_string();
                    take(&mut client, response(&version, &[resource(&name, &version)], &[]));
                    held.insert(name, version);
                    n_sent += 1;
                }
                3 => {
                    take(&mut client, response("r", &[], &[&name]));
                    held.remove(&name);
                }
                _ => {
                    client.restart();
                    server = Server::default();
                }
            }
            if n % 2 == 0 {
                for request in requests(&mut client) {
                    server.hear(&request);
                }
            }
        }
        for request in requests(&mut client) {
            server.hear(&request);
        }
        prop_assert_eq!(client.n_owed(), 0);
        prop_assert_eq!(&server.0, &wanted);
        let versions = client.resources(Kind::Address);
        let versions: BTreeMap<_, _> = versions.map(|(name, held)| (name.to_owned(), held.version.to_string())).collect();
        prop_assert_eq!(versions, held);
        let size: usize = client.resources(Kind::Address).map(|(name, held)| held.size(name)).sum();
        prop_assert_eq!(client.n_bytes(), size);
    }
}

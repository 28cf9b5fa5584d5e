//! A stream, request by request.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Name;
use wire::rpc::Status;

use super::*;

const WEB: &str = "shop/web.shop.svc.cluster.local";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn resource(name: &str, version: u64, address: Option<u8>, services: &[&str]) -> Resource {
    Resource {
        name: name.into(),
        version,
        value: Bytes::from_static(b"value"),
        addresses: address.into_iter().map(ip).collect(),
        services: services.iter().map(|&name| name.into()).collect(),
    }
}

/// A stream and what it can see.
#[derive(Default)]
struct Fixture {
    store: Store,
    settings: Vec<Resource>,
    policies: Vec<Resource>,
    session: Session,
}

/// What a response says: resources with their aliases, and removed names with a minus.
type Said = Vec<String>;

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self::default();
        fixture.put(resource(WEB, 1, Some(90), &[]));
        fixture.put(resource("uid-1", 1, Some(1), &[WEB]));
        fixture.put(resource("uid-2", 1, Some(2), &[WEB]));
        fixture.put(resource("uid-3", 1, Some(3), &[]));
        fixture
    }

    fn put(&mut self, resource: Resource) {
        self.store.put(resource);
    }

    fn ask(&mut self, request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
        self.try_ask(request).unwrap().1
    }

    fn try_ask(
        &mut self,
        request: DeltaDiscoveryRequest,
    ) -> Result<(Heard, Option<DeltaDiscoveryResponse>), Violation> {
        let view = View {
            store: &self.store,
            settings: &self.settings,
            peer_authentications: &self.policies,
        };
        self.session.request(request, view)
    }

    fn changed(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let view = View {
            store: &self.store,
            settings: &self.settings,
            peer_authentications: &self.policies,
        };
        self.session.changed(view).unwrap()
    }

    /// As [`Fixture::changed`], where one response is expected and acknowledged.
    fn told(&mut self) -> Said {
        let mut responses = self.changed();
        assert_eq!(responses.len(), 1, "{responses:?}");
        let response = responses.remove(0);
        self.take(&response)
    }

    /// Acknowledges; nothing follows.
    fn take(&mut self, response: &DeltaDiscoveryResponse) -> Said {
        let (heard, next) = self.try_ask(ack(response)).unwrap();
        assert_eq!(heard, Heard::Taken);
        assert_eq!(next, None);
        said(response)
    }
}

fn said(response: &DeltaDiscoveryResponse) -> Said {
    let resources = response.resources.iter().map(|resource| {
        let aliases = resource.aliases.iter().map(|alias| format!(" {alias}"));
        format!("{}{}", resource.name, aliases.collect::<String>())
    });
    let removed = response.removed_resources.iter();
    let mut said: Said = resources
        .chain(removed.map(|name| format!("-{name}")))
        .collect();
    said.sort();
    said
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn asking<T: Name>(subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: T::type_url(),
        resource_names_subscribe: names(subscribe),
        resource_names_unsubscribe: names(unsubscribe),
        ..DeltaDiscoveryRequest::default()
    }
}

fn subscribe(names: &[&str]) -> DeltaDiscoveryRequest {
    asking::<workload::Address>(names, &[])
}

fn unsubscribe(names: &[&str]) -> DeltaDiscoveryRequest {
    asking::<workload::Address>(&[], names)
}

fn ack(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn known(request: DeltaDiscoveryRequest, versions: &[(&str, u64)]) -> DeltaDiscoveryRequest {
    let versions = versions.iter();
    DeltaDiscoveryRequest {
        initial_resource_versions: versions
            .map(|&(name, version)| (name.to_owned(), format!("{version:016x}")))
            .collect(),
        ..request
    }
}

#[test]
fn a_first_request_without_names_is_for_everything() {
    for request in [subscribe(&[]), subscribe(&["*"])] {
        let mut fixture = Fixture::new();
        let response = fixture.ask(request).unwrap();
        assert_eq!(response.nonce, "1");
        let identifier = response.control_plane.as_ref().unwrap().identifier.clone();
        assert!(identifier.starts_with("minimesh/"), "{identifier}");
        assert_eq!(fixture.take(&response), [WEB, "uid-1", "uid-2", "uid-3"]);
        fixture.put(resource("uid-4", 1, Some(4), &[]));
        fixture.store.remove("uid-3");
        assert_eq!(fixture.told(), ["-uid-3", "uid-4"]);
        assert!(fixture.changed().is_empty());
    }
}

#[test]
fn nothing_can_be_asked_for() {
    let mut fixture = Fixture::new();
    let response = fixture
        .ask(asking::<workload::Address>(&["*"], &["*"]))
        .unwrap();
    assert_eq!(fixture.take(&response), [""; 0]);
    fixture.put(resource("uid-4", 1, Some(4), &[]));
    assert!(fixture.changed().is_empty());
}

#[test]
fn an_address_is_answered_by_whoever_has_it() {
    let mut fixture = Fixture::new();
    let response = fixture.ask(subscribe(&["/10.0.0.1", "/10.0.0.77", "else/10.0.0.1"]));
    let said = fixture.take(&response.unwrap());
    assert_eq!(said, ["-/10.0.0.77", "-else/10.0.0.1", "uid-1 /10.0.0.1"]);
    fixture.put(resource("uid-1", 2, Some(1), &[WEB]));
    fixture.put(resource("uid-2", 2, Some(2), &[WEB]));
    assert_eq!(
        fixture.told(),
        ["uid-1 /10.0.0.1"],
        "no more than was asked for"
    );
    fixture.put(resource("uid-77", 1, Some(77), &[]));
    assert_eq!(fixture.told(), ["uid-77 /10.0.0.77"], "it has come to be");
    fixture.store.remove("uid-77");
    assert_eq!(fixture.told(), ["-/10.0.0.77", "-uid-77"]);
}

#[test]
fn an_address_that_changes_hands_is_answered_by_the_next_owner() {
    let mut fixture = Fixture::new();
    let response = fixture.ask(subscribe(&["/10.0.0.1"])).unwrap();
    fixture.take(&response);
    fixture.put(resource("uid-1", 2, Some(5), &[]));
    assert_eq!(fixture.told(), ["-/10.0.0.1", "uid-1"]);
    fixture.put(resource("uid-9", 1, Some(1), &[]));
    assert_eq!(fixture.told(), ["uid-9 /10.0.0.1"]);
}

#[test]
fn a_service_brings_its_workloads_also_those_that_come_later() {
    for name in [WEB, "/10.0.0.90"] {
        let mut fixture = Fixture::new();
        let response = fixture.ask(subscribe(&[name])).unwrap();
        let said = fixture.take(&response);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with(WEB));
        fixture.put(resource("uid-4", 1, Some(4), &[WEB]));
        fixture.put(resource("uid-5", 1, Some(5), &["shop/other"]));
        assert_eq!(fixture.told(), ["uid-4"]);
        fixture.put(resource("uid-4", 2, Some(4), &[]));
        assert_eq!(fixture.told(), ["uid-4"], "that it left is told too");
        fixture.store.remove("uid-1");
        assert_eq!(fixture.told(), ["-uid-1"]);
    }
}

#[test]
fn a_service_that_is_made_later_brings_the_workloads_that_are_there() {
    let mut fixture = Fixture::new();
    let other = "shop/other.shop.svc.cluster.local";
    let response = fixture.ask(subscribe(&[other])).unwrap();
    assert_eq!(fixture.take(&response), [format!("-{other}")]);
    fixture.put(resource("uid-3", 2, Some(3), &[other]));
    assert!(fixture.changed().is_empty());
    fixture.put(resource(other, 1, None, &[]));
    assert_eq!(fixture.told(), [other, "uid-3"]);
}

#[test]
fn what_is_not_asked_for_any_more_is_not_told() {
    let mut fixture = Fixture::new();
    let response = fixture.ask(subscribe(&[WEB, "/10.0.0.1"])).unwrap();
    fixture.take(&response);
    assert_eq!(fixture.ask(unsubscribe(&[WEB])), None);
    fixture.put(resource(WEB, 2, Some(90), &[]));
    fixture.put(resource("uid-1", 2, Some(1), &[WEB]));
    fixture.put(resource("uid-2", 2, Some(2), &[WEB]));
    assert_eq!(fixture.told(), ["uid-1 /10.0.0.1"]);
    assert_eq!(fixture.ask(unsubscribe(&["/10.0.0.1"])), None);
    fixture.put(resource("uid-1", 3, Some(1), &[WEB]));
    assert!(fixture.changed().is_empty());
}

#[test]
fn whoever_asks_again_is_answered_again() {
    let mut fixture = Fixture::new();
    for _ in 0..2 {
        let response = fixture.ask(subscribe(&["/10.0.0.3", "none"])).unwrap();
        assert_eq!(fixture.take(&response), ["-none", "uid-3 /10.0.0.3"]);
    }
}

#[test]
fn one_response_is_on_its_way_and_what_changes_meanwhile_makes_one_more() {
    let mut fixture = Fixture::new();
    let first = fixture.ask(subscribe(&["uid-1"])).unwrap();
    fixture.put(resource("uid-1", 2, Some(1), &[]));
    assert!(fixture.changed().is_empty());
    assert_eq!(
        fixture.ask(subscribe(&["uid-3"])),
        None,
        "it is answered later"
    );
    fixture.put(resource("uid-1", 3, Some(1), &[]));
    assert!(fixture.changed().is_empty());
    let second = fixture.ask(ack(&first)).unwrap();
    assert_eq!(said(&second), ["uid-1", "uid-3"]);
    let versions: Vec<_> = second
        .resources
        .iter()
        .map(|resource| &resource.version)
        .collect();
    assert!(versions.contains(&&format!("{:016x}", 3)), "{versions:?}");
    assert_ne!(second.nonce, first.nonce);
    fixture.take(&second);
}

#[test]
fn what_is_refused_is_not_sent_again_before_it_changes() {
    let mut fixture = Fixture::new();
    let response = fixture.ask(subscribe(&["uid-1"])).unwrap();
    let refusal = DeltaDiscoveryRequest {
        error_detail: Some(Status {
            code: 3,
            message: "no such field".to_owned(),
            ..Status::default()
        }),
        ..ack(&response)
    };
    let (heard, next) = fixture.try_ask(refusal).unwrap();
    assert_eq!(heard, Heard::Refused("no such field".to_owned()));
    assert_eq!(next, None);
    assert!(fixture.changed().is_empty());
    fixture.put(resource("uid-1", 2, Some(1), &[]));
    assert_eq!(fixture.told(), ["uid-1"]);
}

#[test]
fn an_acknowledgement_of_another_response_is_stale_but_its_names_count() {
    let mut fixture = Fixture::new();
    let first = fixture.ask(subscribe(&["uid-1"])).unwrap();
    fixture.take(&first);
    fixture.put(resource("uid-1", 2, Some(1), &[]));
    let second = fixture.changed().remove(0);
    let stale = DeltaDiscoveryRequest {
        resource_names_subscribe: names(&["uid-3"]),
        ..ack(&first)
    };
    let (heard, next) = fixture.try_ask(stale).unwrap();
    assert_eq!((heard, next), (Heard::Stale, None));
    let third = fixture.ask(ack(&second)).unwrap();
    assert_eq!(said(&third), ["uid-3"]);
}

#[test]
fn after_a_break_only_the_difference_is_sent() {
    let versions = [(WEB, 1), ("uid-1", 7), ("uid-gone", 1)];
    let mut fixture = Fixture::new();
    let response = fixture.ask(known(subscribe(&[]), &versions)).unwrap();
    let said = fixture.take(&response);
    assert_eq!(said, ["-uid-gone", "uid-1", "uid-2", "uid-3"]);

    let mut fixture = Fixture::new();
    let response = fixture
        .ask(known(subscribe(&[WEB, "/10.0.0.3"]), &versions))
        .unwrap();
    let said = fixture.take(&response);
    assert_eq!(said, ["-uid-gone", "uid-1", "uid-2", "uid-3 /10.0.0.3"]);
    fixture.put(resource("uid-4", 1, Some(4), &[WEB]));
    assert_eq!(fixture.told(), ["uid-4"], "what was not sent again is held");

    let mut fixture = Fixture::new();
    let all = [(WEB, 1), ("uid-1", 1), ("uid-2", 1)];
    let response = fixture.ask(known(subscribe(&[WEB]), &all)).unwrap();
    assert_eq!(fixture.take(&response), [""; 0], "nothing is an answer too");
}

#[test]
fn a_version_that_is_passed_through_is_not_taken_for_the_one_that_is_held() {
    let mut fixture = Fixture::new();
    let response = fixture.ask(known(subscribe(&[]), &[("uid-1", 1)])).unwrap();
    fixture.take(&response);
    fixture.put(resource("uid-1", 2, Some(1), &[]));
    assert_eq!(fixture.told(), ["uid-1"]);
    fixture.put(resource("uid-1", 1, Some(1), &[]));
    assert_eq!(fixture.told(), ["uid-1"]);
}

#[test]
fn a_large_answer_comes_in_parts_and_misses_nothing() {
    let mut fixture = Fixture::default();
    let large = |number: u32| Resource {
        value: Bytes::from(vec![0; 100_000]),
        ..resource(&format!("uid-{number:02}"), 1, None, &[WEB])
    };
    fixture.put(resource(WEB, 1, None, &[]));
    for number in 0..25 {
        fixture.put(large(number));
    }
    for request in [subscribe(&[]), subscribe(&[WEB])] {
        fixture.session = Session::default();
        let mut parts = vec![fixture.ask(request).unwrap()];
        while parts.last().unwrap().system_version_info == wire::PARTIAL {
            let next = ack(parts.last().unwrap());
            parts.push(fixture.ask(next).unwrap());
        }
        assert_eq!(parts.len(), 3);
        let n_resources: usize = parts.iter().map(|part| part.resources.len()).sum();
        assert_eq!(n_resources, 26);
        let last = parts.pop().unwrap();
        fixture.take(&last);
    }
}

#[test]
fn a_client_that_is_too_far_behind_must_begin_anew() {
    let mut fixture = Fixture::new();
    let response = fixture.ask(subscribe(&[])).unwrap();
    for number in 0..20_000 {
        let name = format!("short-lived-{number}");
        fixture.put(resource(&name, 1, None, &[]));
        fixture.store.remove(&name);
    }
    let outcome = fixture.try_ask(ack(&response));
    assert_eq!(outcome, Err(Violation::Behind));
}

#[test]
fn settings_and_policies_are_told_whole_and_then_by_difference() {
    let mut fixture = Fixture::new();
    fixture.settings = vec![resource("default", 1, None, &[])];
    fixture.policies = vec![
        resource("shop/a", 1, None, &[]),
        resource("shop/b", 1, None, &[]),
    ];
    let settings = fixture.ask(asking::<minimesh::MeshSettings>(&["default"], &[]));
    assert_eq!(fixture.take(&settings.unwrap()), ["default"]);
    let policies = fixture.ask(asking::<minimesh::PeerAuthentication>(&[], &[]));
    assert_eq!(fixture.take(&policies.unwrap()), ["shop/a", "shop/b"]);
    assert!(fixture.changed().is_empty());
    fixture.policies = vec![
        resource("shop/b", 2, None, &[]),
        resource("shop/c", 1, None, &[]),
    ];
    assert_eq!(fixture.told(), ["-shop/a", "shop/b", "shop/c"]);
    fixture.policies.clear();
    assert_eq!(fixture.told(), ["-shop/b", "-shop/c"]);
}

#[test]
fn policies_are_resumed_by_version() {
    let mut fixture = Fixture::new();
    fixture.policies = vec![resource("shop/a", 1, None, &[])];
    let request = asking::<minimesh::PeerAuthentication>(&["*"], &[]);
    let request = known(request, &[("shop/a", 1), ("shop/gone", 1)]);
    let response = fixture.ask(request).unwrap();
    assert_eq!(fixture.take(&response), ["-shop/gone"]);
}

#[test]
fn authorization_and_unknown_types_are_answered_with_nothing() {
    let mut fixture = Fixture::new();
    let mut unknown = asking::<security::Authorization>(&[], &[]);
    for type_url in ["type.googleapis.com/istio.security.Authorization", "odd"] {
        unknown.type_url = type_url.to_owned();
        let response = fixture.ask(unknown.clone()).unwrap();
        assert_eq!(response.type_url, type_url);
        assert_eq!(fixture.take(&response), [""; 0]);
    }
    assert!(fixture.changed().is_empty());
}

#[test]
fn a_client_that_asks_for_too_much_is_refused() {
    let many: Vec<String> = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(MAX_NAME + 1);
    let no_type = DeltaDiscoveryRequest::default();
    let table = [
        (subscribe(&many), Violation::Names),
        (subscribe(&[&long]), Violation::Name),
        (no_type, Violation::NoType),
    ];
    for (request, expected) in table {
        assert_eq!(Fixture::new().try_ask(request), Err(expected));
    }
    let mut fixture = Fixture::new();
    let mut request = subscribe(&[]);
    for number in 0..MAX_TYPES {
        request.type_url = number.to_string();
        assert!(fixture.try_ask(request.clone()).is_ok());
    }
    request.type_url = "one more".to_owned();
    assert_eq!(fixture.try_ask(request), Err(Violation::Types));
}

#[test]
fn a_name_asked_for_again_and_again_does_not_pile_up() {
    let mut fixture = Fixture::new();
    fixture.ask(subscribe(&["uid-1"])).unwrap();
    let many = vec!["uid-1"; 1000];
    let outcome = (0..1000).try_for_each(|_| fixture.try_ask(subscribe(&many)).map(drop));
    assert_eq!(outcome, Err(Violation::Names));
}

/// What can happen to a stream that asks on demand.
#[derive(Clone, Debug)]
enum Event {
    Put(Resource),
    Remove(&'static str),
    Ask(&'static str),
    Change,
    Take,
}

/// A client that believes what it is told.
#[derive(Default)]
struct Believer {
    holds: BTreeMap<String, String>,
    unknown: BTreeSet<String>,
    waiting: VecDeque<DeltaDiscoveryResponse>,
}

impl Believer {
    fn take(&mut self) -> Option<DeltaDiscoveryRequest> {
        let response = self.waiting.pop_front()?;
        for name in &response.removed_resources {
            self.holds.remove(name);
            self.unknown.insert(name.clone());
        }
        for resource in &response.resources {
            for name in resource.aliases.iter().chain([&resource.name]) {
                self.unknown.remove(name);
            }
            let (name, version) = (resource.name.clone(), resource.version.clone());
            self.holds.insert(name, version);
        }
        Some(ack(&response))
    }
}

const SERVICES: [&str; 2] = ["shop/s", "shop/t"];
const WORKLOADS: [&str; 3] = ["uid-1", "uid-2", "uid-3"];
const ADDRESSES: [&str; 4] = ["/10.0.0.1", "/10.0.0.2", "/10.0.0.8", "/10.0.0.9"];

fn any_resource() -> impl Strategy<Value = Resource> {
    let service = (0..2_usize, 1..4_u64);
    let service = service.prop_map(|(which, version)| {
        let address = [8, 9][which];
        resource(SERVICES[which], version, Some(address), &[])
    });
    let services = prop::sample::subsequence(SERVICES.to_vec(), 0..=2);
    let workload = (0..3_usize, 1..9_u64, 1..3_u8, services);
    let workload = workload.prop_map(|(which, version, address, services)| {
        // Contents and version go together.
        let n_services = services
            .iter()
            .map(|name| name.len() + usize::from(name.ends_with('t')));
        let mixed = version * 1000 + u64::from(address) * 100 + n_services.sum::<usize>() as u64;
        resource(WORKLOADS[which], mixed, Some(address), &services)
    });
    prop_oneof![1 => service, 2 => workload]
}

fn any_event() -> impl Strategy<Value = Event> {
    let names = || prop::sample::select([&SERVICES[..], &WORKLOADS[..]].concat());
    let asked = prop::sample::select([&SERVICES[..], &WORKLOADS[..], &ADDRESSES[..]].concat());
    prop_oneof![
        4 => any_resource().prop_map(Event::Put),
        1 => names().prop_map(Event::Remove),
        1 => asked.prop_map(Event::Ask),
        2 => Just(Event::Change),
        2 => Just(Event::Take),
    ]
}

fn apply(fixture: &mut Fixture, client: &mut Believer, event: Event) {
    match event {
        Event::Put(resource) => fixture.put(resource),
        Event::Remove(name) => drop(fixture.store.remove(name)),
        Event::Ask(name) => client.waiting.extend(fixture.ask(subscribe(&[name]))),
        Event::Change => client.waiting.extend(fixture.changed()),
        Event::Take => {
            if let Some(request) = client.take() {
                client.waiting.extend(fixture.ask(request));
            }
        }
    }
}

proptest! {
    #[test]
    fn whoever_asks_on_demand_ends_up_with_what_there_is(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let (mut fixture, mut client) = (Fixture::default(), Believer::default());
        let nothing = fixture.ask(asking::<workload::Address>(&["*"], &["*"]));
        client.waiting.extend(nothing);
        let mut asked = BTreeSet::new();
        for event in events {
            if let Event::Ask(name) = event {
                asked.insert(name);
            }
            apply(&mut fixture, &mut client, event);
            prop_assert!(client.waiting.len() <= 1, "one response is on its way");
        }
        for _ in 0..4 {
            apply(&mut fixture, &mut client, Event::Change);
            apply(&mut fixture, &mut client, Event::Take);
        }
        let store = &fixture.store;
        // What it holds is current.
        for (name, version) in &client.holds {
            let current = store.get(name).map(|resource| resource.version_text());
            prop_assert_eq!(current.as_ref(), Some(version), "{}", name);
        }
        // What it asked for it holds, or was told that nobody has it.
        for name in asked {
            let found: Vec<_> = match name.strip_prefix('/') {
                Some(address) => store.at(address.parse().unwrap()).collect(),
                None => store.get(name).into_iter().collect(),
            };
            prop_assert_eq!(client.unknown.contains(name), found.is_empty(), "{}", name);
            for resource in found {
                prop_assert!(client.holds.contains_key(&*resource.name), "{}", name);
            }
        }
        // Of a service that it holds it knows all workloads.
        for service in client.holds.keys() {
            for workload in store.behind(service) {
                prop_assert!(client.holds.contains_key(&*workload.name), "{}", workload.name);
            }
        }
    }
}

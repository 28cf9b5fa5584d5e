//! What is asked, and when an address is settled.

use std::time::Duration;

use wire::{
    Any,
    discovery::{DeltaDiscoveryResponse, Resource},
    workload as wds,
};

use super::{
    upkeep::{IDLE, RECENT},
    *,
};

const WEB: &str = "shop/web.shop.svc.cluster.local";
const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1));
const UID: &str = "c//Pod/shop/web-0";

/// A book, its client, and a clock that the test moves.
struct Fixture {
    book: Book,
    client: Client,
    now: Instant,
}

fn of(name: &str, r#type: wds::address::Type, aliases: &[IpAddr]) -> Resource {
    let r#type = Some(r#type);
    Resource {
        name: name.to_owned(),
        version: "1".to_owned(),
        resource: Some(Any::pack(&wds::Address { r#type })),
        aliases: aliases.iter().map(|address| name_of(*address)).collect(),
    }
}

fn octets(address: IpAddr) -> bytes::Bytes {
    match address {
        IpAddr::V4(address) => address.octets().to_vec().into(),
        IpAddr::V6(address) => address.octets().to_vec().into(),
    }
}

fn pod(uid: &str, address: IpAddr, services: &[&str]) -> Resource {
    let services = services
        .iter()
        .map(|name| ((*name).to_owned(), wds::PortList::default()));
    let pod = wds::Workload {
        uid: uid.to_owned(),
        name: "web-0".to_owned(),
        namespace: "shop".to_owned(),
        addresses: vec![octets(address)],
        services: services.collect(),
        ..Default::default()
    };
    of(uid, wds::address::Type::Workload(pod), &[])
}

fn web() -> Resource {
    let service = wds::Service {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        hostname: "web.shop.svc.cluster.local".to_owned(),
        addresses: vec![wds::NetworkAddress {
            address: octets(VIP),
            ..Default::default()
        }],
        ..Default::default()
    };
    of(WEB, wds::address::Type::Service(service), &[VIP])
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self {
            book: Book::new(""),
            client: Client::new(wire::core::Node::default(), false),
            now: Instant::now(),
        };
        fixture.sent();
        fixture
    }

    fn ask(&mut self, address: IpAddr) -> oneshot::Receiver<()> {
        let (settled, told) = oneshot::channel();
        assert!(self.book.ask(address, settled, &mut self.client, self.now));
        told
    }

    fn hear(&mut self, resources: &[Resource], removed: &[&str]) {
        let response = DeltaDiscoveryResponse {
            type_url: Kind::Address.type_url(),
            resources: resources.to_vec(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let mut check = |_, name: &str, _: &[u8]| match name.contains("bad") {
            true => Err("bad".to_owned()),
            false => Ok(()),
        };
        let taken = self.client.take(response, &mut check).unwrap();
        self.book.hear(&taken, &mut self.client);
    }

    /// Names that are newly subscribed to, and those that no longer are.
    fn sent(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut subscribed, mut unsubscribed) = (Vec::new(), Vec::new());
        while let Some(request) = self.client.next_request() {
            if request.resource_names_unsubscribe.is_empty() {
                subscribed.extend(request.resource_names_subscribe);
            }
            unsubscribed.extend(request.resource_names_unsubscribe);
        }
        (subscribed, unsubscribed)
    }

    fn is_settled(&self, address: IpAddr) -> bool {
        let asked = self.book.asked.get(&address);
        asked.is_some_and(|asked| self.book.is_settled(address, asked))
    }
}

#[test]
fn an_address_where_nobody_is_settles_and_stays_subscribed() {
    let mut fixture = Fixture::new();
    let mut told = fixture.ask(POD);
    let also = fixture.ask(POD);
    assert_eq!(fixture.sent().0, ["/10.0.0.1"], "one question for both");
    assert_eq!(fixture.book.release(), (0, 0));
    assert!(told.try_recv().is_err());
    fixture.hear(&[], &["/10.0.0.1"]);
    assert_eq!(fixture.book.settled(), Some([POD].into()));
    assert_eq!(fixture.book.release(), (0, 1));
    assert_eq!(told.try_recv(), Ok(()));
    drop(also);
    assert!(
        fixture
            .client
            .names(Kind::Address)
            .unwrap()
            .contains("/10.0.0.1")
    );
    assert_eq!(fixture.book.settled(), None, "nothing has changed since");
    // Somebody comes there.
    fixture.hear(&[pod(UID, POD, &[])], &[]);
    let answered: Vec<_> = fixture
        .book
        .answered()
        .map(|(_, names)| names.count())
        .collect();
    assert_eq!(answered, [1]);
}

#[test]
fn a_pod_settles_with_the_services_that_it_is_behind() {
    let mut fixture = Fixture::new();
    let _told = fixture.ask(POD);
    fixture.sent();
    fixture.hear(&[pod(UID, POD, &[WEB])], &[]);
    assert_eq!(fixture.sent().0, [WEB]);
    assert!(!fixture.is_settled(POD));
    fixture.hear(&[web()], &[]);
    assert!(fixture.is_settled(POD));
    // A service that is not there is as good an answer.
    let mut fixture = Fixture::new();
    let _told = fixture.ask(POD);
    fixture.hear(&[pod(UID, POD, &[WEB])], &[]);
    fixture.hear(&[], &[WEB]);
    assert!(fixture.is_settled(POD));
}

#[test]
fn a_virtual_address_settles_with_the_service_and_asks_for_no_others() {
    let mut fixture = Fixture::new();
    let _told = fixture.ask(VIP);
    fixture.sent();
    fixture.hear(&[web(), pod(UID, POD, &[WEB, "shop/other"])], &[]);
    assert!(fixture.is_settled(VIP));
    assert_eq!(fixture.sent().0, [""; 0]);
}

#[test]
fn what_came_along_is_known_when_it_is_asked_about() {
    let mut fixture = Fixture::new();
    let _told = fixture.ask(VIP);
    fixture.hear(&[web(), pod(UID, POD, &[WEB])], &[]);
    let mut told = fixture.ask(POD);
    assert!(fixture.is_settled(POD));
    fixture.book.release();
    assert_eq!(told.try_recv(), Ok(()));
}

#[test]
fn a_resource_that_is_refused_settles_nothing_and_unsettles_what_was_nobodys() {
    let mut fixture = Fixture::new();
    let _told = fixture.ask(POD);
    fixture.hear(&[], &["/10.0.0.1"]);
    assert!(fixture.is_settled(POD));
    let mut bad = pod("bad", POD, &[]);
    bad.aliases = vec![name_of(POD)];
    fixture.hear(&[bad], &[]);
    assert!(!fixture.is_settled(POD));
}

#[test]
fn an_address_whose_pod_is_gone_is_asked_about_anew() {
    let mut fixture = Fixture::new();
    let _told = fixture.ask(VIP);
    let _told = fixture.ask(POD);
    fixture.hear(&[web(), pod(UID, POD, &[])], &[]);
    fixture.sent();
    fixture.hear(&[], &[UID]);
    assert!(!fixture.is_settled(POD));
    let (subscribed, unsubscribed) = fixture.sent();
    assert_eq!(
        (subscribed, unsubscribed),
        (vec![name_of(POD)], vec![name_of(POD)])
    );
    // Unless it is said to be nobody's in the same breath, or another pod has it.
    fixture.hear(&[pod(UID, POD, &[])], &[]);
    fixture.hear(&[], &[UID, "/10.0.0.1"]);
    assert!(fixture.is_settled(POD));
    fixture.hear(&[pod(UID, POD, &[])], &[]);
    fixture.hear(&[pod("c//Pod/shop/web-1", POD, &[])], &[UID]);
    assert!(fixture.is_settled(POD));
    // The same where a pod has given up one of its addresses.
    let other = IpAddr::from([10, 0, 0, 2]);
    fixture.hear(&[pod("c//Pod/shop/web-1", other, &[])], &[]);
    assert!(!fixture.is_settled(POD));
}

#[test]
fn what_nobody_uses_is_let_go_of_with_all_that_came_along() {
    let mut fixture = Fixture::new();
    fixture.book.pin(POD, &mut fixture.client, fixture.now);
    let _told = fixture.ask(VIP);
    let used = IpAddr::from([10, 0, 0, 9]);
    let _told = fixture.ask(used);
    let other = pod("c//Pod/shop/web-1", [10, 0, 0, 2].into(), &[WEB]);
    fixture.hear(&[web(), other, pod(UID, POD, &[])], &["/10.0.0.9"]);
    fixture.sent();
    fixture.now += IDLE + Duration::from_secs(1);
    fixture.book.use_all(&[used], fixture.now);
    assert!(fixture.book.sweep(&mut fixture.client, fixture.now));
    let held: Vec<_> = fixture
        .client
        .resources(Kind::Address)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(held, [UID]);
    let unsubscribed = fixture.sent().1;
    assert_eq!(unsubscribed, ["/10.96.0.1", "c//Pod/shop/web-1", WEB]);
    assert_eq!(fixture.book.n_asked(), 2);
    assert_eq!(fixture.book.settled(), Some([POD, used].into()));
}

#[test]
fn there_is_an_end_to_what_is_asked_about() {
    let mut fixture = Fixture::new();
    let address = |n: usize| IpAddr::from(std::net::Ipv4Addr::from_bits(n as u32));
    for n in 0..MOST_ASKED {
        drop(fixture.ask(address(n)));
    }
    let (settled, mut told) = oneshot::channel();
    let full = fixture
        .book
        .ask(POD, settled, &mut fixture.client, fixture.now);
    assert!(!full, "everything may be in use");
    assert_eq!(told.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    fixture.now += RECENT + Duration::from_secs(1);
    fixture.book.use_all(&[address(0)], fixture.now);
    let _told = fixture.ask(POD);
    assert!(fixture.book.n_asked() < MOST_ASKED);
    assert!(fixture.book.asked.contains_key(&address(0)));
}

#[test]
fn an_earlier_life_is_taken_up_where_it_ended() {
    let mut before = Fixture::new();
    let node = IpAddr::from([192, 0, 2, 1]);
    for address in [VIP, node, [10, 0, 0, 9].into()] {
        drop(before.ask(address));
    }
    let mut shared = pod(UID, node, &[WEB]);
    shared.aliases = vec![name_of(node)];
    before.hear(&[web(), shared], &["/10.0.0.9"]);
    before.hear(&[], &[]);
    let mut after = Fixture::new();
    for (name, held) in before.client.resources(Kind::Address) {
        after
            .client
            .restore(Kind::Address, name, &held.version, &held.body);
    }
    after.book.read(&mut after.client);
    for (address, names) in before.book.answered() {
        let names: Vec<_> = names.map(str::to_owned).collect();
        after
            .book
            .restore(address, &names, &mut after.client, after.now);
    }
    assert_eq!(after.book.settled(), before.book.settled());
    let lost = IpAddr::from([10, 0, 0, 8]);
    after
        .book
        .restore(lost, &["gone".to_owned()], &mut after.client, after.now);
    assert!(!after.is_settled(lost));
}

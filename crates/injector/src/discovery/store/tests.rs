//! Names, addresses and numbers.

use super::*;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn resource(name: &str, version: u64, address: u8, service: Option<&str>) -> Resource {
    Resource {
        name: name.into(),
        version,
        value: Bytes::from_static(b"value"),
        addresses: Box::new([ip(address)]),
        services: service.into_iter().map(Text::from).collect(),
    }
}

fn names<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>) -> Vec<&'a str> {
    let mut names: Vec<_> = resources.map(|resource| &*resource.name).collect();
    names.sort_unstable();
    names
}

/// Names since a change, with a minus before those that are gone.
fn since(store: &Store, number: u64) -> Vec<String> {
    let changes = store.since(number);
    changes
        .map(|(_, change)| match change {
            Change::Present(resource) => resource.name.to_string(),
            Change::Gone(resource) => format!("-{}", resource.name),
        })
        .collect()
}

#[test]
fn resources_are_found_by_name_address_and_service() {
    let mut store = Store::default();
    assert!(store.put(resource("a", 1, 1, Some("s"))));
    assert!(store.put(resource("b", 1, 1, Some("s"))));
    assert!(store.put(resource("s", 1, 9, None)));
    assert_eq!(names(store.at(ip(1))), ["a", "b"]);
    assert_eq!(names(store.behind("s")), ["a", "b"]);
    assert!(store.put(resource("a", 2, 2, None)));
    assert_eq!(names(store.at(ip(1))), ["b"]);
    assert_eq!(names(store.at(ip(2))), ["a"]);
    assert_eq!(names(store.behind("s")), ["b"]);
    assert!(store.remove("b"));
    assert!(!store.remove("b"));
    assert_eq!(store.at(ip(1)).count() + store.behind("s").count(), 0);
    assert_eq!(store.len(), 2);
}

#[test]
fn an_address_in_the_longer_form_is_the_same() {
    let mut store = Store::default();
    store.put(resource("a", 1, 1, None));
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    assert_eq!(names(store.at(mapped)), ["a"]);
}

#[test]
fn changes_come_in_their_order_and_each_name_once() {
    let mut store = Store::default();
    store.put(resource("a", 1, 1, None));
    store.put(resource("b", 1, 2, None));
    assert!(!store.put(resource("a", 1, 1, None)), "nothing new");
    assert_eq!(since(&store, 0), ["a", "b"]);
    let seen = store.last();
    store.put(resource("a", 2, 1, None));
    store.remove("b");
    store.put(resource("c", 1, 3, None));
    store.remove("c");
    assert_eq!(since(&store, seen), ["a", "-b", "-c"]);
    store.put(resource("b", 3, 2, None));
    assert_eq!(since(&store, seen), ["a", "-c", "b"]);
    assert_eq!(since(&store, store.last()), [""; 0]);
}

#[test]
fn removals_are_remembered_for_a_while() {
    let mut store = Store::default();
    for number in 0..=REMEMBERED {
        let name = number.to_string();
        store.put(resource(&name, 1, 1, None));
        store.remove(&name);
    }
    assert!(!store.remembers(0));
    assert!(store.remembers(store.last()));
    assert!(store.gone.len() <= REMEMBERED);
    assert_eq!(store.log.len(), store.gone.len());
    let remembered = store.since(0).count();
    assert!(remembered >= REMEMBERED / 2, "{remembered}");
}

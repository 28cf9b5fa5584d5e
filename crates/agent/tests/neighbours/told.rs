//! What sidecars have from a stock istiod.

use std::thread;

use serde_json::Value;
use testkit::{http::get, process::eventually};

use crate::{
    cluster::{SHOP, SYSTEM, WEB, peer_authentication, pod},
    istiod::{Istiod, LIMIT},
    start::Agent,
};

fn dump(agent: &Agent, resource: &str) -> Value {
    let page = get(
        agent.admin,
        &format!("/config_dump?resource={resource}"),
        LIMIT,
    )
    .unwrap();
    serde_json::from_str(&page.body).unwrap()
}

/// Host names of the services that it knows, with the addresses of their endpoints.
fn services(agent: &Agent) -> Vec<(String, Vec<String>)> {
    let dump = dump(agent, "services");
    let services = dump["services"].as_array().unwrap().iter();
    services
        .map(|service| {
            let endpoints = service["endpoints"].as_array().unwrap().iter();
            let mut addresses: Vec<String> = endpoints
                .map(|endpoint| endpoint["address"].as_str().unwrap().to_owned())
                .collect();
            addresses.sort();
            (service["hostname"].as_str().unwrap().to_owned(), addresses)
        })
        .collect()
}

/// How ports are taken that nothing is said about.
fn inbound_mode(agent: &Agent) -> String {
    let dump = dump(agent, "inbound");
    let others = dump["inbound"].as_array().unwrap().iter();
    let others = others.clone().find(|row| row["port"].is_null()).unwrap();
    others["mtls"].as_str().unwrap().to_owned()
}

fn comes_to(what: &str, agent: &Agent, mut condition: impl FnMut() -> bool) {
    assert!(
        eventually(LIMIT, &mut condition),
        "never: {what}\n{}",
        agent.log()
    );
}

#[test]
#[ignore = "needs a stock istiod: ISTIOD=PROGRAM cargo xtask test"]
fn a_sidecar_is_certified_by_a_stock_istiod_and_told_of_its_mesh() {
    let istiod = Istiod::start();
    let agent = istiod.sidecar("10.0.0.1", "web", &[]);
    let certs = get(agent.admin, "/certs", LIMIT).unwrap().body;
    assert!(
        certs.contains("spiffe://cluster.local/ns/shop/sa/web"),
        "{certs}"
    );
    let discovery = dump(&agent, "discovery");
    assert_eq!(
        discovery["discovery"]["last_error"],
        Value::Null,
        "{discovery}"
    );
    // Of its own pod and of who is behind the same service, and of nobody else.
    let both = ["10.0.0.1:8080", "10.0.0.2:8080"]
        .map(str::to_owned)
        .to_vec();
    comes_to("both pods of the service", &agent, || {
        services(&agent) == [(WEB.to_owned(), both.clone())]
    });
    assert_eq!(inbound_mode(&agent), "PERMISSIVE");
    istiod.api.put("pods", pod("web-2", "web", "10.0.0.9"));
    istiod.api.delete("pods", SHOP, "web-1");
    let others = ["10.0.0.1:8080", "10.0.0.9:8080"]
        .map(str::to_owned)
        .to_vec();
    comes_to("a pod that came, and one that went", &agent, || {
        services(&agent) == [(WEB.to_owned(), others.clone())]
    });

    let agent = istiod.sidecar("10.0.0.3", "other", &["--discovery-mode=wildcard"]);
    comes_to("all services", &agent, || services(&agent).len() == 2);
}

#[test]
#[ignore = "needs a stock istiod: ISTIOD=PROGRAM cargo xtask test"]
fn peer_authentications_that_a_stock_istiod_has_count() {
    let istiod = Istiod::start();
    let agent = istiod.sidecar("10.0.0.1", "web", &[]);
    assert_eq!(inbound_mode(&agent), "PERMISSIVE");
    istiod
        .api
        .put("peerauthentications", peer_authentication("STRICT"));
    comes_to("STRICT", &agent, || inbound_mode(&agent) == "STRICT");
    istiod.api.delete("peerauthentications", SYSTEM, "default");
    comes_to("PERMISSIVE", &agent, || {
        inbound_mode(&agent) == "PERMISSIVE"
    });
}

#[test]
#[ignore = "needs a stock istiod: ISTIOD=PROGRAM cargo xtask test"]
fn a_stock_istiod_that_comes_back_is_resumed_with() {
    let mut istiod = Istiod::start();
    let agent = istiod.sidecar("10.0.0.1", "web", &[]);
    comes_to("the service", &agent, || services(&agent).len() == 1);
    istiod.stop();
    comes_to("it is missed", &agent, || {
        dump(&agent, "discovery")["discovery"]["last_error"].is_string()
    });
    assert_eq!(services(&agent).len(), 1);
    istiod.api.delete("pods", SHOP, "web-1");
    istiod.start_again();
    let left = vec!["10.0.0.1:8080".to_owned()];
    comes_to("what went meanwhile", &agent, || {
        services(&agent) == [(WEB.to_owned(), left.clone())]
    });
    assert!(dump(&agent, "discovery")["discovery"]["last_error"].is_null());
    // What is as it was is not sent again.
    assert!(
        istiod.log().contains("resources:0 removed:1"),
        "{}",
        istiod.log()
    );
}

#[test]
#[ignore = "needs a stock istiod: ISTIOD=PROGRAM cargo xtask test"]
fn a_pod_that_a_stock_istiod_does_not_know_yet_is_not_ready_before_it_does() {
    let istiod = Istiod::start();
    thread::scope(|scope| {
        let starting = scope.spawn(|| istiod.sidecar("10.0.0.7", "late", &[]));
        let has_answered = eventually(LIMIT, || istiod.log().contains("removed:1"));
        assert!(has_answered, "{}", istiod.log());
        assert!(!starting.is_finished());
        istiod.api.put("pods", pod("late-0", "late", "10.0.0.7"));
        let agent = starting.join().unwrap();
        assert_eq!(inbound_mode(&agent), "PERMISSIVE");
    });
}

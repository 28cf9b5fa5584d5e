//! Connections to addresses that nobody has told of yet wait for discovery, which the test plays.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use agent::{
    data_plane::Capture,
    discovery::demand::{Answers, Demand, Publisher, Question, Questions, demand},
    mesh::{Mesh, MeshStore},
    tls::Store,
};
use testkit::pki::Root;
use tokio::{runtime, sync::oneshot, time::timeout};

use crate::{
    harness::{PATIENCE, Proxy, Server, config, eventually, mesh, nobody},
    mutual_tls::{API, WEB, credentials, demanding, shop},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: api\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The virtual address of service `api`.
const VIP: ([u8; 4], u16) = ([10, 96, 0, 1], 80);

/// What the test knows that the proxy does not.
struct Discovery {
    store: MeshStore,
    questions: Questions,
    publisher: Publisher,
}

/// A proxy whose application dials `destination`, in a mesh that knows nothing, with so much patience.
fn proxy(destination: SocketAddr, limit: Duration, shown: Store) -> (Proxy, Discovery) {
    proxy_with(destination, demand(limit), shown)
}

fn proxy_with(
    destination: SocketAddr,
    (demand, questions, publisher): (Demand, Questions, Publisher),
    shown: Store,
) -> (Proxy, Discovery) {
    let store = MeshStore::default();
    let mut config = config(nobody());
    config.outbound_capture = Capture::Fixed(destination);
    config.mesh = store.clone();
    config.demand = Some(demand);
    config.credentials = shown;
    let discovery = Discovery {
        store,
        questions,
        publisher,
    };
    (Proxy::new(config), discovery)
}

impl Discovery {
    /// The next question.
    fn asked(&mut self) -> Question {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let mut questions = Vec::new();
        let asking = async { timeout(PATIENCE, self.questions.next(&mut questions, 1)).await };
        let heard = runtime.unwrap().block_on(asking);
        assert!(heard.expect("the proxy asks"));
        questions.remove(0)
    }

    /// The address of the next question, and who waits.
    fn who(&mut self) -> (IpAddr, oneshot::Sender<()>) {
        match self.asked() {
            Question::Who { address, settled } => (address, settled),
            used @ Question::Used(_) => panic!("{used:?}"),
        }
    }

    fn is_asked(&mut self) -> bool {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let mut questions = Vec::new();
        let moment = Duration::from_millis(100);
        let asking = async { timeout(moment, self.questions.next(&mut questions, 1)).await };
        runtime.unwrap().block_on(asking).is_ok()
    }

    fn know(&self, mesh: Mesh, settled: &[IpAddr]) {
        self.store.replace(mesh);
        let settled = settled.iter().copied().collect();
        self.publisher.publish(Answers::These(settled));
    }
}

fn unknown() -> Store {
    Store::default()
}

#[test]
fn the_first_request_to_an_unknown_address_waits_and_then_goes_by_mutual_tls() {
    let (root, server) = (Root::new("mesh"), Server::new());
    let holding = |id| {
        let store = Store::default();
        store.replace(credentials(&root, id));
        store
    };
    let mut of_api = config(server.address);
    of_api.mesh = MeshStore::new(demanding("STRICT"));
    of_api.credentials = holding(API);
    let api = Proxy::new(of_api);
    let (web, mut discovery) = proxy(VIP.into(), PATIENCE, holding(WEB));
    let mut client = web.outbound();
    client.send(GET);
    let (address, settled) = discovery.who();
    assert_eq!(address, IpAddr::from(VIP.0));
    server.was_not_dialled();
    let known = mesh(shop(api.plane.addresses().inbound, "api"));
    discovery.know(known, &[address]);
    settled.send(()).unwrap();
    let mut upstream = server.accept();
    upstream.skip_to("\r\n\r\n");
    upstream.send(OK);
    client.skip_to("\r\n\r\nok");
    let secured = [
        "reporter=\"source\"",
        "destination_principal=\"spiffe://cluster.local/ns/shop/sa/api\"",
    ];
    eventually("it is counted with the identity that was proven", || {
        web.metric("istio_requests_total", &secured) > 0.0
    });
    // The second connection asks nobody.
    let mut second = web.outbound();
    second.send(GET);
    upstream.skip_to("\r\n\r\n");
    assert!(!discovery.is_asked());
}

#[test]
fn where_nobody_is_the_connection_goes_where_it_was_meant_to() {
    let server = Server::new();
    let (proxy, mut discovery) = proxy(server.address, PATIENCE, unknown());
    let mut client = proxy.outbound();
    client.send(GET);
    let (address, settled) = discovery.who();
    discovery.know(Mesh::default(), &[address]);
    settled.send(()).unwrap();
    server.accept().expect(GET);
    let mut second = proxy.outbound();
    second.send(GET);
    server.accept().expect(GET);
    assert!(!discovery.is_asked());
}

#[test]
fn many_connections_wait_for_one_answer() {
    let server = Server::new();
    let (proxy, mut discovery) = proxy(server.address, PATIENCE, unknown());
    let mut clients: Vec<_> = (0..8).map(|_| proxy.outbound()).collect();
    let waiting: Vec<_> = (0..8).map(|_| discovery.who()).collect();
    discovery.know(Mesh::default(), &[waiting[0].0]);
    for (_, settled) in waiting {
        settled.send(()).unwrap();
    }
    for client in &mut clients {
        client.send(GET);
        server.accept().expect(GET);
    }
}

#[test]
fn without_an_answer_nothing_slips_out() {
    let server = Server::new();
    let limit = Duration::from_millis(300);
    let (proxy, mut discovery) = proxy(server.address, limit, unknown());
    let begun = Instant::now();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
    let refusal = client.refusal();
    assert_eq!(refusal, (503, "destination_undiscovered".to_owned()));
    assert!(begun.elapsed() >= limit);
    let refused = ["response_flags=\"NC\"", "response_code=\"503\""];
    eventually("it is counted", || {
        proxy.metric("istio_requests_total", &refused) > 0.0
    });
    let mut opaque = proxy.outbound();
    opaque.send("\x16\x03\x01opaque");
    opaque.expect_end();
    server.was_not_dialled();
    // Once it is answered, even those that are open go on.
    let mut patient = proxy.outbound();
    patient.send(GET);
    patient.skip_to("destination_undiscovered");
    let (address, _) = discovery.who();
    discovery.know(Mesh::default(), &[address]);
    let mut later = proxy.outbound();
    later.send(GET);
    server.accept().expect(GET);
}

#[test]
fn discovery_that_is_gone_is_not_waited_for() {
    let server = Server::new();
    let (proxy, discovery) = proxy(server.address, PATIENCE, unknown());
    drop(discovery);
    let begun = Instant::now();
    let mut client = proxy.outbound();
    client.send("GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
    assert_eq!(client.refusal().1, "destination_undiscovered");
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[test]
fn what_came_along_is_not_waited_for_and_asked_about_once() {
    let server = Server::new();
    let (proxy, mut discovery) = proxy(VIP.into(), PATIENCE, unknown());
    discovery.know(mesh(shop_in_plain_text(server.address)), &[]);
    let mut client = proxy.outbound();
    client.send(GET);
    server.accept().skip_to("\r\n\r\n");
    assert_eq!(discovery.who().0, IpAddr::from(VIP.0));
}

#[test]
fn a_request_is_refused_once_nobody_answers_for_its_address_any_more() {
    let server = Server::new();
    let (proxy, mut discovery) = proxy(server.address, PATIENCE, unknown());
    let mut client = proxy.outbound();
    client.send(GET);
    let (address, settled) = discovery.who();
    discovery.know(Mesh::default(), &[address]);
    settled.send(()).unwrap();
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
    discovery.know(Mesh::default(), &[]);
    client.send(GET);
    client.skip_to("destination_undiscovered");
}

#[test]
fn calls_to_the_workload_ask_nobody() {
    let server = Server::new();
    let (demand, questions, _publisher) = demand(PATIENCE);
    let mut config = config(server.address);
    config.demand = Some(demand);
    let proxy = Proxy::new(config);
    let asking = thread::spawn(move || {
        let mut discovery = Discovery {
            store: MeshStore::default(),
            questions,
            publisher: _publisher,
        };
        discovery.is_asked()
    });
    let mut client = proxy.inbound();
    client.send(GET);
    server.accept().skip_to("\r\n\r\n");
    assert!(!asking.join().unwrap());
}

/// Service `api` with one pod, which has no sidecar.
fn shop_in_plain_text(pod: SocketAddr) -> serde_json::Value {
    let mut shop = shop(pod, "api");
    shop["workloads"][0]["tunnelProtocol"] = "NONE".into();
    shop
}

#[test]
fn what_nobody_answers_about_passes_in_plain_text_only_where_that_is_allowed() {
    let limit = Duration::from_millis(50);
    let server = Server::new();
    let (demand, questions, publisher) = demand(limit);
    let asked = (demand.allowing_unanswered(), questions, publisher);
    let (web, discovery) = proxy_with(server.address, asked, Store::default());
    let mut client = web.outbound();
    client.send(GET);
    let mut upstream = server.accept();
    upstream.expect(GET);
    upstream.send(OK);
    client.expect(OK);
    // The mesh's policy holds all the same, and what is known is not guessed.
    let only =
        serde_json::json!({"settings": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}});
    discovery.know(mesh(only), &[]);
    client.send("GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
    assert_eq!(client.refusal(), (502, "no_route".to_owned()));
}

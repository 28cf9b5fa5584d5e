//! What another sidecar could not deliver goes to another pod, if the application cannot have seen it.
//!
//! Proxy `web` calls service `api`. Each of its pods is a sidecar with an application of its own, which the test plays, or nobody plays.

use std::{
    net::{SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};

use agent::{
    data_plane::{Capture, net::stream::Stream},
    mesh::{Mesh, MeshStore, Model, Own},
    tls::Store,
};
use serde_json::{Value, json};
use testkit::pki::Root;

use crate::{
    harness::{Proxy, Server, Wire, config, eventually, nobody},
    mutual_tls::{API, WEB, credentials, demanding},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: api\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n\r\nbody";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const RETRIES: &str = "minimesh_request_retries_total";
const REQUESTS: &str = "istio_requests_total";

/// The calling sidecar, and pods that it may know.
struct Shop {
    root: Root,
    web: Proxy,
    known: MeshStore,
    n_pods: u8,
}

/// A pod of the service: its sidecar, and where that listens.
struct Pod {
    proxy: Proxy,
    row: Value,
}

// === impl Shop ===

impl Shop {
    fn new() -> Self {
        let root = Root::new("mesh");
        let known = MeshStore::default();
        let mut of_web = config(nobody());
        of_web.outbound_capture = Capture::Fixed(([10, 96, 0, 1], 80).into());
        of_web.mesh = known.clone();
        of_web.credentials = shown(&root, WEB);
        Self {
            web: Proxy::new(of_web),
            root,
            known,
            n_pods: 0,
        }
    }

    /// A pod whose application is at `application`, on an address of its own.
    fn pod(&mut self, application: SocketAddr) -> Pod {
        let mut of_pod = config(application);
        of_pod.inbound = self.address();
        of_pod.mesh = MeshStore::new(demanding("STRICT"));
        of_pod.credentials = shown(&self.root, API);
        let proxy = Proxy::new(of_pod);
        let row = row(proxy.plane.addresses().inbound, "LEGACY_ISTIO_MTLS");
        Pod { proxy, row }
    }

    /// A pod whose application is not there.
    fn dead_pod(&mut self) -> Pod {
        self.pod(nobody())
    }

    /// Room for another listener, on an address that no other pod has.
    fn address(&mut self) -> SocketAddr {
        self.n_pods += 1;
        ([127, 0, 0, 100 + self.n_pods], 0).into()
    }

    /// From now on these pods are behind the service.
    fn know(&self, pods: &[&Value]) {
        let model = json!({
            "services": [
                {"name": "api", "namespace": "shop", "addresses": ["10.96.0.1"], "ports": [{"servicePort": 80}]},
            ],
            "workloads": pods,
        });
        let model: Model = serde_json::from_value(model).unwrap();
        let previous = self.known.current();
        let mesh = Mesh::build(&model, &Own::new("shop", "web"), Some(&previous)).unwrap();
        self.known.replace(mesh);
    }

    /// A request that `pod` has at hand, so that another pod is the better choice for the next one.
    fn occupy(&self, pod: &Value, application: &Server) -> (Wire, Wire) {
        self.know(&[pod]);
        let mut client = self.web.outbound();
        client.send(GET);
        let mut upstream = application.accept();
        upstream.skip_to("\r\n\r\n");
        (client, upstream)
    }

    fn n_retries(&self) -> f64 {
        self.web.metric(RETRIES, &[])
    }
}

// === impl Pod ===

impl Pod {
    /// Requests that its sidecar could not deliver.
    #[track_caller]
    fn has_refused(&self, n: u32) {
        let labels = ["response_code=\"503\""];
        eventually("it is counted", || {
            self.proxy.metric(REQUESTS, &labels) >= f64::from(n)
        });
        assert!(self.proxy.metric(REQUESTS, &labels) < f64::from(n) + 0.5);
    }
}

fn shown(root: &Root, id: &str) -> Store {
    let store = Store::default();
    store.replace(credentials(root, id));
    store
}

/// A pod of `api` at this address, as discovery tells of it.
fn row(at: SocketAddr, tunnel: &str) -> Value {
    json!({
        "name": format!("api-{}", at.port()), "namespace": "shop", "addresses": [at.ip()], "serviceAccount": "api",
        "tunnelProtocol": tunnel,
        "services": {"shop/api.shop.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": at.port()}]}},
    })
}

/// The request's bytes, with `head` as it arrives less what sidecars have added, and its answer.
#[track_caller]
fn serve(application: &Server, head: &str, body: &[u8], client: &mut Wire) -> Wire {
    let mut upstream = application.accept();
    upstream.expect(head);
    upstream.skip_to("\r\n\r\n");
    upstream.expect(body);
    upstream.send(OK);
    client.expect(OK);
    upstream
}

#[test]
fn a_request_goes_to_another_pod_where_the_application_does_not_listen() {
    let mut shop = Shop::new();
    let application = Server::new();
    let (dead, alive) = (shop.dead_pod(), shop.pod(application.address));
    let _busy = shop.occupy(&alive.row, &application);
    shop.know(&[&dead.row, &alive.row]);
    let mut client = shop.web.outbound();
    client.send(GET);
    serve(&application, "GET / HTTP/1.1\r\n", b"", &mut client);
    dead.has_refused(1);
    assert!((shop.n_retries() - 1.0).abs() < 0.1);
    // For a while the next one goes past it.
    let mut other = shop.web.outbound();
    other.send(GET);
    serve(&application, "GET / HTTP/1.1\r\n", b"", &mut other);
    dead.has_refused(1);
    application.was_not_dialled();
    let good = ["response_code=\"200\"", "response_flags=\"-\""];
    eventually("each is counted once", || {
        shop.web.metric(REQUESTS, &good) > 1.5
    });
    assert!(shop.web.metric(REQUESTS, &["response_code=\"503\""]) < 0.5);
}

#[test]
fn a_body_that_is_short_goes_along_however_it_came() {
    let pieces: [&[&str]; 3] = [
        &[POST],
        &[
            "POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 4\r\n\r\n",
            "bo",
            "dy",
        ],
        &[
            "POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\nbo",
            "dy\r\n",
            "0\r\n\r\n",
        ],
    ];
    for pieces in pieces {
        let mut shop = Shop::new();
        let application = Server::new();
        let (dead, alive) = (shop.dead_pod(), shop.pod(application.address));
        let _busy = shop.occupy(&alive.row, &application);
        shop.know(&[&dead.row, &alive.row]);
        let mut client = shop.web.outbound();
        for piece in pieces {
            client.send(piece);
        }
        let body = if pieces.len() > 3 {
            "4\r\nbody\r\n0\r\n\r\n"
        } else {
            "body"
        };
        serve(
            &application,
            "POST / HTTP/1.1\r\n",
            body.as_bytes(),
            &mut client,
        );
        dead.has_refused(1);
        application.was_not_dialled();
        // What follows on the connection is not confused with the body.
        client.send(GET);
        serve(&application, "GET / HTTP/1.1\r\n", b"", &mut client);
    }
}

#[test]
fn a_body_that_is_gone_is_not_sent_again() {
    let mut shop = Shop::new();
    let application = Server::new();
    let (dead, alive) = (shop.dead_pod(), shop.pod(application.address));
    let _busy = shop.occupy(&alive.row, &application);
    shop.know(&[&dead.row, &alive.row]);
    let mut client = shop.web.outbound();
    let head = "POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000\r\n\r\n";
    client.send([head.as_bytes(), &vec![b'x'; 100_000]].concat());
    client.expect("HTTP/1.1 503 Service Unavailable\r\n");
    client.skip_to("x-mesh-error: connect_failed\r\n");
    application.was_not_dialled();
    dead.has_refused(1);
    assert!(shop.n_retries() < 0.5);
}

#[test]
fn where_all_fail_the_last_answer_arrives_and_no_pod_is_asked_twice() {
    for n in [1, 2, 5] {
        let mut shop = Shop::new();
        let pods: Vec<Pod> = (0..n).map(|_| shop.dead_pod()).collect();
        shop.know(&pods.iter().map(|pod| &pod.row).collect::<Vec<_>>());
        let mut client = shop.web.outbound();
        client.send(POST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        assert_eq!(client.refusal(), (503, "connect_failed".to_owned()));
        let expected = [0, 1, 2][n.min(3) - 1];
        let n_retries = shop.n_retries();
        assert!((n_retries - f64::from(expected)).abs() < 0.1, "{n_retries}");
        let flag = if n > 1 { "URX" } else { "-" };
        let labels = [
            "response_code=\"503\"",
            &*format!("response_flags=\"{flag}\""),
        ];
        eventually("it is counted once", || {
            shop.web.metric(REQUESTS, &labels) > 0.5
        });
        let asked = || pods.iter().map(|pod| pod.proxy.metric(REQUESTS, &[]));
        eventually("those that were asked have counted it", || {
            asked().sum::<f64>() > f64::from(expected) + 0.5
        });
        assert!(asked().all(|n_asked| n_asked < 1.5));
        assert!(asked().sum::<f64>() < f64::from(expected) + 1.5);
    }
}

#[test]
fn nobody_unverified_and_no_application_can_make_a_request_go_elsewhere() {
    let lie = "HTTP/1.1 503 No\r\nx-mesh-error: connect_failed\r\nContent-Length: 2\r\n\r\nno";
    let arrives = "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno";
    for tunnel in ["NONE", "LEGACY_ISTIO_MTLS"] {
        let mut shop = Shop::new();
        let (liar, other) = (Server::new(), Server::on([127, 0, 0, 2]));
        let (pods, rows);
        if tunnel == "NONE" {
            rows = [&liar, &other].map(|server| row(server.address, tunnel));
        } else {
            pods = [&liar, &other].map(|server| shop.pod(server.address));
            rows = pods.each_ref().map(|pod| pod.row.clone());
        }
        let _busy = shop.occupy(&rows[1], &other);
        shop.know(&[&rows[0], &rows[1]]);
        let mut client = shop.web.outbound();
        client.send(GET);
        let mut upstream = liar.accept();
        upstream.skip_to("\r\n\r\n");
        upstream.send(lie);
        client.expect(arrives);
        other.was_not_dialled();
        assert!(shop.n_retries() < 0.5, "{tunnel}");
    }
}

#[test]
fn what_the_application_may_have_seen_goes_elsewhere_only_if_it_may_be_repeated() {
    for (request, may_repeat) in [(GET, true), (POST, false)] {
        let mut shop = Shop::new();
        let (crashing, other) = (Server::new(), Server::new());
        let pods = [shop.pod(crashing.address), shop.pod(other.address)];
        let _busy = shop.occupy(&pods[1].row, &other);
        shop.know(&[&pods[0].row, &pods[1].row]);
        let mut client = shop.web.outbound();
        client.send(request);
        let mut upstream = crashing.accept();
        upstream.skip_to("\r\n\r\n");
        drop(upstream);
        if may_repeat {
            serve(&other, "GET / HTTP/1.1\r\n", b"", &mut client);
        } else {
            client.expect("HTTP/1.1 503 Service Unavailable\r\n");
            client.skip_to("x-mesh-error: upstream_closed\r\n");
            other.was_not_dialled();
        }
    }
}

#[test]
fn a_pod_without_a_sidecar_does_not_take_over_for_one_that_has_one() {
    let mut shop = Shop::new();
    let plain = Server::new();
    let dead = shop.dead_pod();
    let rows = [&dead.row, &row(plain.address, "NONE")];
    let _busy = shop.occupy(rows[1], &plain);
    shop.know(&rows);
    let mut client = shop.web.outbound();
    client.send(GET);
    client.expect("HTTP/1.1 503 Service Unavailable\r\n");
    plain.was_not_dialled();
}

/// A sidecar that takes a connection and reads a request, but says goodbye instead of an answer.
fn goodbye(shop: &mut Shop) -> (Value, JoinHandle<()>) {
    let listener = TcpListener::bind(shop.address()).unwrap();
    let row = row(listener.local_addr().unwrap(), "LEGACY_ISTIO_MTLS");
    let own = credentials(&shop.root, API);
    let ending = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let accepted = Stream::new(stream).accept_tls(&own, Vec::new()).await;
            let mut stream = accepted.unwrap();
            let mut read = Vec::with_capacity(4096);
            std::future::poll_fn(|cx| stream.poll_read(cx, &mut read))
                .await
                .unwrap();
            stream.close();
        });
    });
    (row, ending)
}

#[test]
fn a_sidecar_that_says_goodbye_has_not_served_the_request() {
    let mut shop = Shop::new();
    let application = Server::new();
    let alive = shop.pod(application.address);
    let (row, ending) = goodbye(&mut shop);
    let _busy = shop.occupy(&alive.row, &application);
    shop.know(&[&row, &alive.row]);
    let mut client = shop.web.outbound();
    client.send(POST);
    serve(&application, "POST / HTTP/1.1\r\n", b"body", &mut client);
    ending.join().unwrap();
    application.was_not_dialled();
}

#[test]
fn a_pod_that_ends_without_its_application_loses_no_request_of_kept_connections() {
    let mut shop = Shop::new();
    let (leaving, staying) = (TcpListener::bind("127.0.0.1:0").unwrap(), Server::new());
    let pods = [leaving.local_addr().unwrap(), staying.address].map(|address| shop.pod(address));
    shop.know(&[&pods[0].row]);
    let mut client = shop.web.outbound();
    client.send(POST);
    let mut upstream = Wire::new(leaving.accept().unwrap().0);
    upstream.skip_to("body");
    upstream.send(OK);
    client.expect(OK);
    drop((leaving, upstream));
    pods[0].proxy.plane.drain();
    shop.know(&[&pods[0].row, &pods[1].row]);
    for _ in 0..4 {
        client.send(POST);
        let mut upstream = staying.accept();
        upstream.skip_to("\r\n\r\n");
        upstream.expect("body");
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        client.expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

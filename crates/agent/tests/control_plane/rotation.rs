//! The mesh's own authority, certificates of seconds, and clocks that differ.
//!
//! What signs here is what signs in the injector, [`Authority::issue_workload`]; whom it signs for, the token says.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use agent::{
    ca::{Client, Keep, KeyKind, Renewal, Source},
    control_plane::Token,
    data_plane::{self, Capture, DataPlane},
    mesh::{Mesh, MeshStore, Model, Own},
    tls::{Store, credentials::Settings, holder::Holder},
};
use identity::{Authority, SigningRequest, SpiffeId};
use runtime::{readiness::Readiness, task::Group};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::pki::Root;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::{
    harness::{Answer, Ca, file},
    server::{Listening, PATIENCE},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OPAQUE: &[u8] = b"\0ping";

/// A sidecar as far as certificates are concerned; its token is its service account's name.
struct Sidecar {
    store: Store,
    group: Group,
    _folder: TempDir,
}

fn id(account: &str) -> SpiffeId {
    let id = format!("spiffe://cluster.local/ns/shop/sa/{account}");
    id.parse().unwrap()
}

/// An authority that certifies whoever asks, as the injector's does, for `life`.
fn authority(root: &Root, life: time::Duration) -> Ca {
    let authority = Authority::from_pem(root.pem().as_bytes(), root.key().as_bytes()).unwrap();
    Ca::new(root, move |call| {
        let request = SigningRequest::from_pem(call.csr.as_bytes()).unwrap();
        let account = call.token.strip_prefix("Bearer ").unwrap();
        let now = OffsetDateTime::now_utc();
        let leaf = authority
            .issue_workload(&request, &id(account), life, now)
            .unwrap();
        Answer::Chain(vec![leaf.pem(), authority.certificate_pem().to_owned()])
    })
}

// === impl Sidecar ===

impl Sidecar {
    fn start(account: &str, running: &Listening, root: &Root) -> Self {
        Self::start_by(account, running, root, Arc::new(SystemTime::now))
    }

    fn start_by(
        account: &str,
        running: &Listening,
        root: &Root,
        clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    ) -> Self {
        let (folder, group) = (TempDir::new().unwrap(), Group::new());
        let roots = file(folder.path(), "roots.pem", root.pem());
        let client = Client {
            endpoint: running.endpoint(&roots),
            token: Token::new(file(folder.path(), "istio-token", account), "Kubernetes"),
            id: id(account),
            key: KeyKind::P256,
            lifetime: Duration::from_secs(86_400),
            limit: Duration::from_secs(10),
            group: group.clone(),
        };
        let holder =
            Holder::new(Box::new(Settings::default), Some(id(account))).within(roots, false);
        let keep = Keep::default();
        let source = Source::new(client, holder, Renewal::default(), keep, &Readiness::new())
            .with_clock(clock);
        let (store, token) = (source.store().clone(), group.token().clone());
        group.spawn("certificates", async move {
            token.run_until_cancelled(source.run()).await;
        });
        Self {
            store,
            group,
            _folder: folder,
        }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Store) -> bool) {
        let since = Instant::now();
        while !holds(&self.store) {
            let refusal = self.store.refusal();
            assert!(since.elapsed() < PATIENCE, "never: {what}; {refusal:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// A server of HTTP, and of whatever begins with a NUL, which it gives back.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // A client that goes ends its thread.
            thread::spawn(move || drop(serve(stream)));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let (mut read, mut head) = ([0; 4096], Vec::new());
    loop {
        let n = stream.read(&mut read)?;
        if n == 0 {
            return Ok(());
        }
        head.extend_from_slice(&read[..n]);
        if head.starts_with(b"\0") {
            stream.write_all(&head)?;
            head.clear();
        } else if head.ends_with(b"\r\n\r\n") {
            stream.write_all(OK)?;
            head.clear();
        }
    }
}

fn plane(store: &Store, capture: SocketAddr, mesh: Value) -> DataPlane {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut config = data_plane::Config::new(any, any, any, capture);
    config.outbound_capture = Capture::Fixed(capture);
    config.inbound_capture = Capture::Fixed(capture);
    let model: Model = serde_json::from_value(mesh).unwrap();
    let mesh = Mesh::build(&model, &Own::new("shop", "client"), None).unwrap();
    config.mesh = MeshStore::new(mesh);
    config.credentials = store.clone();
    data_plane::start(config).unwrap()
}

/// Service `api` with one pod, which has a sidecar.
fn shop(pod: SocketAddr) -> Value {
    json!({
        "services": [
            {"name": "api", "namespace": "shop", "addresses": ["10.96.0.1"], "ports": [{"servicePort": 80}]},
        ],
        "workloads": [{
            "name": "api-0", "namespace": "shop", "addresses": [pod.ip()], "serviceAccount": "api",
            "tunnelProtocol": "LEGACY_ISTIO_MTLS",
            "services": {"shop/api.shop.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": pod.port()}]}},
        }],
    })
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, sent: &[u8], expected: &[u8]) -> io::Result<()> {
    stream.write_all(sent)?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, expected, "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Requests over one connection that is kept, and connections that each take a handshake between the sidecars; how many of each.
fn load(web: SocketAddr, until: Instant) -> io::Result<usize> {
    let mut kept = connect(web)?;
    let mut n = 0;
    while Instant::now() < until {
        exchange(&mut kept, GET, OK)?;
        let mut fresh = connect(web)?;
        exchange(&mut fresh, OPAQUE, OPAQUE)?;
        fresh.shutdown(Shutdown::Both)?;
        n += 1;
    }
    Ok(n)
}

#[tokio::test]
async fn certificates_of_seconds_are_renewed_under_load_without_a_lost_request() {
    const N_CLIENTS: usize = 4;
    let root = Root::new("mesh");
    let ca = authority(&root, time::Duration::seconds(6));
    let running = ca.start().await;
    let [web, api] = ["web", "api"].map(|name| Sidecar::start(name, &running, &root));
    let mut first = Vec::new();
    for sidecar in [&web, &api] {
        sidecar
            .until("certified", |store| store.current().is_some())
            .await;
        first.push(sidecar.store.current().unwrap().generation());
    }
    let strict = json!({"peerAuthentication": {"mode": "STRICT"}});
    let of_api = plane(&api.store, server(), strict);
    let pod = of_api.addresses().inbound;
    let of_web = plane(&web.store, ([10, 96, 0, 1], 80).into(), shop(pod));
    let address = of_web.addresses().outbound;
    // Beyond the end of the first certificates, and of those that follow them.
    let until = Instant::now() + Duration::from_secs(14);
    let clients: Vec<_> = (0..N_CLIENTS)
        .map(|_| tokio::task::spawn_blocking(move || load(address, until)))
        .collect();
    for client in clients {
        let n = client.await.unwrap().expect("no request is lost");
        assert!(n > 20, "{n} requests are no load");
    }
    for (sidecar, first) in [&web, &api].into_iter().zip(first) {
        let current = sidecar.store.current().unwrap();
        let n_renewed = current.generation() - first;
        assert!(
            n_renewed >= 3,
            "{} was renewed {n_renewed} times",
            current.id()
        );
        assert!(sidecar.store.refusal().is_none());
    }
}

#[tokio::test]
async fn clocks_may_differ_by_minutes_and_where_they_differ_by_more_the_clock_is_named() {
    const MINUTE: i64 = 60;
    let root = Root::new("mesh");
    let ca = authority(&root, time::Duration::minutes(30));
    let running = ca.start().await;
    for (skew, is_good) in [
        (-4 * MINUTE, true),
        (4 * MINUTE, true),
        (25 * MINUTE, true),
        (-7 * MINUTE, false),
        (31 * MINUTE, false),
    ] {
        let clock = move || {
            let moved = Duration::from_secs(skew.unsigned_abs());
            match skew {
                ..0 => SystemTime::now() - moved,
                _ => SystemTime::now() + moved,
            }
        };
        let sidecar = Sidecar::start_by("web", &running, &root, Arc::new(clock));
        if is_good {
            sidecar
                .until("certified", |store| store.current().is_some())
                .await;
            assert!(sidecar.store.refusal().is_none(), "{skew}");
        } else {
            sidecar
                .until("refused", |store| store.refusal().is_some())
                .await;
            let reason = sidecar.store.refusal().unwrap().reason.clone();
            assert!(reason.contains("the clock says"), "{skew}: {reason}");
            assert!(sidecar.store.current().is_none(), "{skew}");
        }
    }
}

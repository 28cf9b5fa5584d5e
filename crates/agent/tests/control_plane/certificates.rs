//! Certificates from an authority that answers well, badly, late or not at all.
//!
//! Time is the real one, so the certificates live for seconds where they are to be renewed.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agent::{
    ca::{Client, Keep, KeyKind, Renewal, Source},
    control_plane::{Endpoint, Token},
    tls::{
        Credentials, Store,
        credentials::Settings,
        holder::{Cache, Holder, Output},
    },
};
use prometheus_client::{encoding::text, registry::Registry};
use runtime::{readiness::Readiness, task::Group};
use tempfile::TempDir;
use testkit::pki::{Root, rcgen::CertificateParams};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::{
    harness::{Answer, Ca, Call, file},
    server::{Listening, PATIENCE},
};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
/// A pod whose folder has roots and a token.
struct Pod {
    folder: TempDir,
}

/// What came of a pod's start.
struct Started {
    store: Store,
    readiness: Readiness,
    group: Group,
    metrics: Registry,
}

// === impl Pod ===

impl Pod {
    fn new(root: &Root) -> Self {
        // In memory, where the cache may be.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        file(folder.path(), "roots.pem", root.pem());
        file(folder.path(), "istio-token", "t0ken");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn trust(&self, roots: &[&Root]) {
        let pem: String = roots.iter().map(|root| root.pem()).collect();
        file(self.folder.path(), "roots.pem", &pem);
    }

    fn start(&self, endpoint: Endpoint) -> Started {
        self.start_with(endpoint, Keep::default())
    }

    fn start_with(&self, endpoint: Endpoint, keep: Keep) -> Started {
        let (group, readiness) = (Group::new(), Readiness::new());
        let client = Client {
            endpoint,
            token: Token::new(self.path("istio-token"), "Kubernetes"),
            id: WEB.parse().unwrap(),
            key: KeyKind::P256,
            lifetime: Duration::from_secs(86_400),
            limit: Duration::from_secs(2),
            group: group.clone(),
        };
        let holder = Holder::new(Box::new(Settings::default), Some(client.id.clone()))
            .within(self.path("roots.pem"), false);
        let source = Source::new(client, holder, Renewal::default(), keep, &readiness);
        let store = source.store().clone();
        let mut metrics = Registry::default();
        metrics.register_collector(Box::new(source.metrics().clone()));
        let token = group.token().clone();
        group.spawn("certificates", async move {
            token.run_until_cancelled(source.run()).await;
        });
        Started {
            store,
            readiness,
            group,
            metrics,
        }
    }
}

// === impl Started ===

impl Started {
    async fn until(&self, what: &str, mut holds: impl FnMut(Option<Arc<Credentials>>) -> bool) {
        let since = Instant::now();
        while !holds(self.store.current()) {
            let refusal = self.store.refusal();
            assert!(since.elapsed() < PATIENCE, "never: {what}; {refusal:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn certified(&self) -> Arc<Credentials> {
        self.until("certified", |current| current.is_some()).await;
        self.store.current().unwrap()
    }

    /// Waits for a refusal, and gives its reason.
    async fn refused(&self) -> String {
        self.until("refused", |_| self.store.refusal().is_some())
            .await;
        self.store.refusal().unwrap().reason.clone()
    }

    fn metric(&self, name: &str) -> f64 {
        let mut page = String::new();
        text::encode(&mut page, &self.metrics).unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{")));
        let value = line.unwrap().rsplit(' ').next().unwrap();
        value.parse().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// Answers like a good authority of `root`.
fn certify(root: Arc<Root>, life: Duration) -> impl Fn(&Call) -> Answer + Send {
    move |call| {
        let now = OffsetDateTime::now_utc();
        let dated = |params: &mut CertificateParams| {
            params.not_before = now - Duration::from_secs(120);
            params.not_after = now + life;
        };
        let leaf = root.answer(&call.csr, &[WEB], dated).unwrap();
        Answer::Chain(vec![leaf, root.pem().to_owned()])
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn mesh() -> Arc<Root> {
    Arc::new(Root::new("mesh"))
}

fn endpoint(running: &Listening, pod: &Pod) -> Endpoint {
    running.endpoint(&pod.path("roots.pem"))
}

#[tokio::test]
async fn a_sidecar_is_ready_with_its_certificate_and_not_before() {
    let root = mesh();
    let pod = Pod::new(&root);
    let allowed = Arc::new(AtomicBool::new(false));
    let (gate, good) = (Arc::clone(&allowed), certify(Arc::clone(&root), DAY));
    let ca = Ca::new(&root, move |call| {
        if gate.load(Ordering::Relaxed) {
            good(call)
        } else {
            Answer::Refusal(Status::unavailable("not yet"))
        }
    });
    let running = ca.start().await;
    let started = pod.start(endpoint(&running, &pod));
    let reason = started.refused().await;
    assert!(reason.contains("not yet"), "{reason}");
    assert!(!started.readiness.is_ready());
    assert!(
        started.store.speaks_tls(),
        "nothing goes in plain text meanwhile"
    );
    allowed.store(true, Ordering::Relaxed);
    let credentials = started.certified().await;
    assert_eq!(credentials.id().as_str(), WEB);
    assert!(started.readiness.is_ready());
    assert!(started.store.refusal().is_none());
    let calls = ca.calls();
    let last = calls.last().unwrap();
    assert_eq!(last.token, "Bearer t0ken");
    assert_eq!(last.validity, 86_400);
    assert_eq!(
        started.metric("istio_agent_num_outgoing_requests"),
        calls.len() as f64
    );
    assert_eq!(
        started.metric("istio_agent_num_failed_outgoing_requests"),
        calls.len() as f64 - 1.0
    );
}

#[tokio::test]
async fn short_certificates_are_renewed_at_half_their_life_with_a_new_key() {
    let root = mesh();
    let pod = Pod::new(&root);
    let ca = Ca::new(&root, certify(Arc::clone(&root), Duration::from_secs(6)));
    let running = ca.start().await;
    let started = pod.start(endpoint(&running, &pod));
    started.certified().await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(8) {
        sleep(Duration::from_millis(50)).await;
        let current = started.store.current().unwrap();
        let left = current.validity().not_after - OffsetDateTime::now_utc();
        assert!(left.is_positive(), "{left} left");
    }
    let calls = ca.calls();
    assert!((2..=5).contains(&calls.len()), "{} calls", calls.len());
    let mut requests: Vec<_> = calls.iter().map(|call| &call.csr).collect();
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), calls.len(), "each request has its own key");
}

/// An answer with one fault.
fn wrong(fault: &str, (root, other): (&Root, &Root), csr: &str) -> Vec<String> {
    let sign = |root: &Root, id: &str, change: &dyn Fn(&mut CertificateParams)| {
        root.answer(csr, &[id], change).unwrap()
    };
    let past = OffsetDateTime::now_utc() - Duration::from_secs(60);
    let future = OffsetDateTime::now_utc() + Duration::from_secs(3000);
    let rooted = |leaf: String| vec![leaf, root.pem().to_owned()];
    match fault {
        "nothing" => Vec::new(),
        "no root" => vec![sign(root, WEB, &|_| {})],
        "garbage" => vec!["x".to_owned(), "y".to_owned()],
        "another key" => rooted(root.workload(WEB).chain),
        "somebody else" => rooted(sign(root, "spiffe://cluster.local/ns/shop/sa/api", &|_| {})),
        "over" => rooted(sign(root, WEB, &|params| params.not_after = past)),
        "not begun" => rooted(sign(root, WEB, &|params| params.not_before = future)),
        "another root than it says" => rooted(sign(other, WEB, &|_| {})),
        "a root unknown to the mesh" => vec![sign(other, WEB, &|_| {}), other.pem().to_owned()],
        _ => panic!("no fault is called {fault}"),
    }
}

#[tokio::test]
async fn an_answer_that_peers_would_refuse_is_not_used() {
    let table = [
        ("nothing", "0 parts"),
        ("no root", "1 parts"),
        ("garbage", "CERTIFICATE"),
        ("another key", "does not belong"),
        (
            "somebody else",
            "this pod is spiffe://cluster.local/ns/shop/sa/web",
        ),
        ("over", "does not count now"),
        ("not begun", "does not count now"),
        ("another root than it says", "does not lead to a root of"),
        ("a root unknown to the mesh", "roots.pem"),
    ];
    let (root, other) = (mesh(), Arc::new(Root::new("other")));
    for (fault, expected) in table {
        let pod = Pod::new(&root);
        let roots = (Arc::clone(&root), Arc::clone(&other));
        let ca = Ca::new(&root, move |call| {
            Answer::Chain(wrong(fault, (&roots.0, &roots.1), &call.csr))
        });
        let running = ca.start().await;
        let started = pod.start(endpoint(&running, &pod));
        let reason = started.refused().await;
        assert!(reason.contains(expected), "{fault}: {reason}");
        assert!(started.store.current().is_none(), "{fault}");
        assert!(!started.readiness.is_ready(), "{fault}");
    }
}

#[tokio::test]
async fn an_authority_that_is_silent_is_given_up_and_asked_again() {
    let root = mesh();
    let pod = Pod::new(&root);
    let (answered, good) = (AtomicBool::new(false), certify(Arc::clone(&root), DAY));
    let ca = Ca::new(&root, move |call| {
        if answered.swap(true, Ordering::Relaxed) {
            good(call)
        } else {
            Answer::Never
        }
    });
    let running = ca.start().await;
    let started = pod.start(endpoint(&running, &pod));
    let reason = started.refused().await;
    assert!(reason.contains("has not answered"), "{reason}");
    started.certified().await;
    assert_eq!(ca.calls().len(), 2);
}

#[tokio::test]
async fn an_authority_that_goes_away_leaves_the_last_certificate_and_is_found_again() {
    let root = mesh();
    let pod = Pod::new(&root);
    let ca = Ca::new(&root, certify(Arc::clone(&root), Duration::from_secs(3)));
    let running = ca.start().await;
    let address = running.address;
    let started = pod.start(endpoint(&running, &pod));
    let first = started.certified().await;
    drop(running);
    // Longer than the certificate lives.
    sleep(Duration::from_secs(4)).await;
    let kept = started.store.current().unwrap();
    assert_eq!(kept.generation(), first.generation());
    assert!(started.readiness.is_ready());
    let reason = started.refused().await;
    assert!(reason.contains(&address.to_string()), "{reason}");
    let report = started.readiness.report();
    assert!(
        report.details["certificate"].contains("is in use, and none is better"),
        "{report}"
    );
    let _running = ca.start_at(address).await;
    started
        .until("a new certificate", |current| {
            current.is_some_and(|current| current.generation() > first.generation())
        })
        .await;
    assert!(started.readiness.report().details.is_empty());
}

#[tokio::test]
async fn a_rotated_token_is_used_from_the_next_call_on() {
    let root = mesh();
    let pod = Pod::new(&root);
    let good = certify(Arc::clone(&root), DAY);
    let ca = Ca::new(&root, move |call| match call.token.as_str() {
        "Bearer second" => good(call),
        _ => Answer::Refusal(Status::unauthenticated("the token has expired")),
    });
    let running = ca.start().await;
    let started = pod.start(endpoint(&running, &pod));
    let reason = started.refused().await;
    assert!(reason.contains("the token has expired"), "{reason}");
    file(pod.folder.path(), "istio-token", "second\n");
    started.certified().await;
}

#[tokio::test]
async fn new_roots_are_believed_at_once_and_the_certificate_follows_them() {
    let (old, new) = (mesh(), Arc::new(Root::new("new")));
    let pod = Pod::new(&old);
    let signs_by_new = Arc::new(AtomicBool::new(false));
    let (by_old, by_new) = (
        certify(Arc::clone(&old), DAY),
        certify(Arc::clone(&new), DAY),
    );
    let choice = Arc::clone(&signs_by_new);
    let ca = Ca::new(&old, move |call| {
        if choice.load(Ordering::Relaxed) {
            by_new(call)
        } else {
            by_old(call)
        }
    });
    let running = ca.start().await;
    let started = pod.start(endpoint(&running, &pod));
    let n_roots = |current: &Credentials| current.roots().n_roots();
    assert_eq!(n_roots(&*started.certified().await), 1);
    pod.trust(&[&old, &new]);
    let since = Instant::now();
    started
        .until("both roots", |current| {
            current.is_some_and(|c| n_roots(&c) == 2)
        })
        .await;
    assert!(since.elapsed() < Duration::from_secs(3));
    let asked = |ca: &Ca, n: usize| ca.calls().len() >= n;
    started.until("asked anew", |_| asked(&ca, 2)).await;
    // The authority moves on, then the old root goes, and with it who is certified by it.
    signs_by_new.store(true, Ordering::Relaxed);
    ca.prove(&new, |_| ());
    pod.trust(&[&new]);
    started
        .until("the new root alone", |current| {
            current.is_some_and(|c| n_roots(&c) == 1)
        })
        .await;
    let current = started.store.current().unwrap();
    assert_eq!(current.roots().pem().trim(), new.pem().trim());
    assert!(started.store.refusal().is_none());
}

#[tokio::test]
async fn broken_roots_leave_the_last_good_ones_in_use() {
    let root = mesh();
    let pod = Pod::new(&root);
    let ca = Ca::new(&root, certify(Arc::clone(&root), DAY));
    let running = ca.start().await;
    let started = pod.start(endpoint(&running, &pod));
    let first = started.certified().await;
    file(pod.folder.path(), "roots.pem", "nothing");
    let reason = started.refused().await;
    assert!(reason.contains("roots.pem"), "{reason}");
    let kept = started.store.current().unwrap();
    assert_eq!(kept.generation(), first.generation());
    pod.trust(&[&root]);
    started
        .until("well again", |_| started.store.refusal().is_none())
        .await;
}

#[tokio::test]
async fn a_restarted_sidecar_starts_by_its_last_certificate_without_the_authority() {
    let root = mesh();
    let pod = Pod::new(&root);
    let ca = Ca::new(&root, certify(Arc::clone(&root), Duration::from_secs(600)));
    let running = ca.start().await;
    let endpoint = endpoint(&running, &pod);
    let keep = Keep {
        cache: Some(Cache::in_memory(pod.folder.path()).unwrap()),
        output: Some(Output::new(pod.folder.path().to_owned())),
    };
    let started = pod.start_with(endpoint.clone(), keep.clone());
    let first = started.certified().await.serial().to_owned();
    started
        .until("written", |_| pod.path("key.pem").exists())
        .await;
    for name in ["cert-chain.pem", "root-cert.pem"] {
        let text = fs::read_to_string(pod.path(name)).unwrap();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{name}");
    }
    drop(started);
    drop(running);
    let restarted = pod.start_with(endpoint.clone(), keep.clone());
    assert_eq!(restarted.store.current().unwrap().serial(), first);
    assert!(restarted.readiness.is_ready());
    drop(restarted);
    // Peers would refuse what is not of the mesh's roots any more.
    pod.trust(&[&Root::new("other")]);
    let refused = pod.start_with(endpoint, keep);
    assert!(refused.store.current().is_none());
    assert!(!refused.readiness.is_ready());
}

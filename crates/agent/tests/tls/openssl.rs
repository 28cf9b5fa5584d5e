//! openssl on the other side: nothing of ours decides what it says.

use std::{
    io::{BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    thread::JoinHandle,
};

use agent::{
    data_plane::net::stream::Stream,
    tls::{
        Credentials, Offer,
        credentials::{Oldest, Settings},
    },
};
use runtime::error::chain;
use tempfile::TempDir;
use testkit::{
    pki::{
        Leaf, Root,
        rcgen::{KeyPair, PKCS_RSA_SHA256},
    },
    process::Process,
};
use time::{Duration, OffsetDateTime};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    API, LIMIT, SNI, WEB, credentials, ids, read, shut_down, try_credentials, write_all,
};

/// A running openssl and what it has printed at its end.
struct Openssl {
    process: Process,
    stdin: Option<ChildStdin>,
    printed: JoinHandle<String>,
    _files: TempDir,
}

impl Openssl {
    fn start(leaf: Option<&Leaf>, args: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        let mut command = Command::new("openssl");
        command.args(args);
        if let Some(leaf) = leaf {
            leaf.write_to(files.path()).unwrap();
            command
                .arg("-cert")
                .arg(path("cert-chain.pem"))
                .arg("-key")
                .arg(path("key.pem"))
                .arg("-CAfile")
                .arg(path("root-cert.pem"));
        }
        let mut child: Child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = std::thread::spawn(move || text(stderr));
        let printed = std::thread::spawn(move || text(stdout) + &errors.join().unwrap());
        Self {
            process: Process::new("openssl", child),
            stdin,
            printed,
            _files: files,
        }
    }

    /// Ends its input, waits for it to end, and gives what it has printed.
    fn finish(mut self) -> String {
        drop(self.stdin.take());
        self.process.wait(LIMIT).unwrap();
        self.printed.join().unwrap()
    }

    fn say(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }
}

fn text(from: impl Read) -> String {
    let mut text = Vec::new();
    // Whatever comes before the end counts.
    let _ = BufReader::new(from).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// What becomes of `openssl s_client` with `args` that connects to us, and what it prints.
async fn client(
    leaf: Option<&Leaf>,
    server: &Credentials,
    args: &[&str],
) -> (Result<String, String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let args = [&["s_client", "-quiet", "-connect", &address], args].concat();
    let mut openssl = Openssl::start(leaf, &args);
    let accepting = async {
        let stream = Stream::new(listener.accept().await.unwrap().0);
        stream.accept_tls(server, Vec::new()).await
    };
    let seen = match tokio::time::timeout(LIMIT, accepting).await.unwrap() {
        Err(error) => Err(chain(&error).to_string()),
        Ok(mut stream) => {
            openssl.say(b"question\n");
            assert_eq!(read(&mut stream, 100).await.unwrap(), b"question\n");
            write_all(&mut stream, b"answer\n").await.unwrap();
            shut_down(&mut stream).await.unwrap();
            let alpn = String::from_utf8_lossy(stream.alpn().unwrap_or(b"none"));
            let peer = stream.peer().unwrap().spiffe_id();
            Ok(format!("{peer} {alpn}"))
        }
    };
    let printed = tokio::task::spawn_blocking(|| openssl.finish())
        .await
        .unwrap();
    if seen.is_ok() {
        assert!(printed.contains("answer"), "{printed}");
    }
    (seen, printed)
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_offers_whatever_istio_offers_is_served() {
    let root = Root::new("mesh");
    let (web, api) = (root.workload(WEB), credentials(&root.workload(API)));
    for (offers, agreed) in [
        ("istio-peer-exchange,istio", "istio"),
        (
            "istio-peer-exchange,istio,istio-http/1.0,istio-http/1.1,istio-h2,h2,http/1.1",
            "istio-http/1.1",
        ),
        ("istio-http/1.0,istio,http/1.0", "istio"),
        ("istio-h2,istio,h2", "istio"),
        ("h2,http/1.1", "http/1.1"),
        ("istio-peer-exchange", "none"),
        ("h2", "none"),
    ] {
        let args = ["-alpn", offers, "-servername", SNI];
        let (seen, _) = client(Some(&web), &api, &args).await;
        assert_eq!(seen, Ok(format!("{WEB} {agreed}")), "{offers}");
    }
    let (seen, _) = client(Some(&web), &api, &[]).await;
    assert_eq!(seen, Ok(format!("{WEB} none")));
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_proves_nothing_is_refused_with_an_alert() {
    let (root, other) = (Root::new("mesh"), Root::new("other"));
    let api = credentials(&root.workload(API));
    let now = OffsetDateTime::now_utc();
    let expired = root.issue(&[WEB], |params| params.not_after = now - Duration::MINUTE);
    let early = root.issue(&[WEB], |params| params.not_before = now + Duration::MINUTE);
    let only_server = root.issue(&[WEB], |params| params.extended_key_usages.truncate(1));
    let table = [
        (None, "no certificates"),
        (Some(other.workload(WEB)), "UnknownIssuer"),
        (Some(expired), "Expired"),
        (Some(early), "NotValidYet"),
        (Some(only_server), "RequiredEku"),
        (Some(root.issue(&[WEB, API], |_| {})), "2 URI names"),
        (Some(root.issue(&[], |_| {})), "0 URI names"),
        (
            Some(root.issue(&["spiffe://cluster.local/ns/a\0b/sa/c"], |_| {})),
            "no SPIFFE ID",
        ),
        (
            Some(root.issue(&["spiffe://cluster.local\0.evil/ns/a/sa/c"], |_| {})),
            "no SPIFFE ID",
        ),
        (
            Some(root.workload("spiffe://evil/ns/a/sa/c")),
            "another trust domain",
        ),
        (
            Some(root.workload("spiffe://cluster.local.evil/ns/a/sa/c")),
            "another trust domain",
        ),
    ];
    for (leaf, expected) in table {
        let (seen, printed) = client(leaf.as_ref(), &api, &["-alpn", "istio"]).await;
        let error = seen.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(printed.contains("alert"), "{expected}: {printed}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_may_have_an_rsa_key() {
    let root = Root::new("mesh");
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let web = root.issue_for(&key, &[WEB], |_| {});
    let api = credentials(&root.workload(API));
    let (seen, _) = client(Some(&web), &api, &[]).await;
    assert_eq!(seen, Ok(format!("{WEB} none")));
}

#[tokio::test(flavor = "current_thread")]
async fn tls_1_2_is_refused_unless_it_is_allowed() {
    let root = Root::new("mesh");
    let (web, api) = (root.workload(WEB), root.workload(API));
    let args = ["-tls1_2", "-alpn", "istio"];
    let (seen, printed) = client(Some(&web), &credentials(&api), &args).await;
    assert!(seen.is_err() && printed.contains("alert"), "{printed}");
    let settings = Settings {
        oldest: Oldest::Tls12,
        ..Settings::default()
    };
    let api = try_credentials(&api, &settings).unwrap();
    let (seen, _) = client(Some(&web), &api, &args).await;
    assert_eq!(seen, Ok(format!("{WEB} istio")));
    let (seen, printed) = client(Some(&web), &api, &["-tls1_1"]).await;
    assert!(seen.is_err(), "{printed}");
}

/// An address of this machine that nothing else uses: openssl cannot be given a socket, nor asked for a port that the kernel chooses, and
/// a port that was free a moment ago may be somebody else's now.
fn own_address() -> SocketAddr {
    static N_TAKEN: AtomicU8 = AtomicU8::new(2);
    let [.., high, low] = std::process::id().to_be_bytes();
    let last = N_TAKEN.fetch_add(1, Ordering::Relaxed);
    // Outside of the range that the kernel chooses from.
    ([127, high, low, last], 4433).into()
}

/// A connection to `openssl s_server` with `args`, once it listens.
async fn server(leaf: &Leaf, args: &[&str]) -> (Openssl, TcpStream) {
    let address = own_address().to_string();
    let common = [
        "s_server", "-accept", &address, "-Verify", "3", "-naccept", "1",
    ];
    let openssl = Openssl::start(Some(leaf), &[&common, args].concat());
    let connecting = async {
        loop {
            match TcpStream::connect(&address).await {
                Ok(tcp) => break tcp,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    let tcp = tokio::time::timeout(LIMIT, connecting).await.unwrap();
    (openssl, tcp)
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_agrees_on_istios_names_and_is_verified() {
    let root = Root::new("mesh");
    let (web, api) = (credentials(&root.workload(WEB)), root.workload(API));
    let expected = ids(&[API]);
    for (offered, offer, agreed) in [
        ("h2,http/1.1", Offer::Http, &b"http/1.1"[..]),
        ("istio-peer-exchange,istio", Offer::Tcp, b"istio"),
        ("istio", Offer::Http, b"istio"),
    ] {
        let (mut openssl, tcp) = server(&api, &["-alpn", offered]).await;
        let connecting = Stream::new(tcp).connect_tls(&web, &expected, Some(SNI), offer);
        let connected = tokio::time::timeout(LIMIT, connecting).await.unwrap();
        let mut stream = connected.unwrap();
        assert_eq!(stream.alpn(), Some(agreed), "{offered}");
        assert_eq!(stream.peer().unwrap().spiffe_id().as_str(), API);
        write_all(&mut stream, b"question\n").await.unwrap();
        openssl.say(b"answer\n");
        assert_eq!(read(&mut stream, 100).await.unwrap(), b"answer\n");
        shut_down(&mut stream).await.unwrap();
        let printed = tokio::task::spawn_blocking(|| openssl.finish())
            .await
            .unwrap();
        assert!(printed.contains("question"), "{printed}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_is_somebody_else_is_refused() {
    let root = Root::new("mesh");
    let web = credentials(&root.workload(WEB));
    let expected = ids(&[API]);
    for (leaf, reason) in [
        (root.workload(WEB), "none of the"),
        (root.issue(&[API, WEB], |_| {}), "2 URI names"),
        (Root::new("other").workload(API), "UnknownIssuer"),
    ] {
        let (_openssl, tcp) = server(&leaf, &[]).await;
        let connecting = Stream::new(tcp).connect_tls(&web, &expected, Some(SNI), Offer::Tcp);
        let connected = tokio::time::timeout(LIMIT, connecting).await.unwrap();
        let error = chain(&connected.unwrap_err()).to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

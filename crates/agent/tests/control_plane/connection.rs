//! Making a connection, and each way in which that fails.

use std::{net::SocketAddr, time::Duration};

use agent::control_plane::{ConnectError, Endpoint, Token};
use runtime::{error::chain, task::Group};
use testkit::pki::{Root, rcgen::SanType};
use time::OffsetDateTime;
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};
use tonic::{Code, Request, Status};
use wire::ca::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};

use crate::{
    harness::{Answer, Ca, file},
    server::{NAME, PATIENCE},
};

fn nobody(_: &crate::harness::Call) -> Answer {
    Answer::Chain(Vec::new())
}

async fn refusal(endpoint: &Endpoint) -> ConnectError {
    let group = Group::new();
    let connected = timeout(PATIENCE, endpoint.connect(&group)).await.unwrap();
    connected.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_call_reaches_the_server_over_verified_tls() {
    let root = Root::new("mesh");
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", root.pem());
    let server = Ca::new(&root, |_| Answer::Chain(vec!["answered".to_owned()]));
    let running = server.start().await;
    let endpoint = running.endpoint(&roots);
    let group = Group::new();
    let channel = endpoint.connect(&group).await.unwrap();
    let mut client = IstioCertificateServiceClient::with_origin(channel.clone(), endpoint.origin());
    let answer = client
        .create_certificate(IstioCertificateRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.into_inner().cert_chain, ["answered"]);
    drop(running);
    let gone = timeout(PATIENCE, async {
        while !channel.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    gone.await.expect("a server that is gone is noticed");
    let error = client.create_certificate(IstioCertificateRequest::default());
    assert!(error.await.is_err());
}

#[tokio::test]
async fn calls_bear_the_token_and_refusals_come_back() {
    let root = Root::new("mesh");
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", root.pem());
    let token = Token::new(file(folder.path(), "istio-token", "t0ken\n"), "Kubernetes");
    let server = Ca::new(&root, |call| match call.csr.as_str() {
        "never" => Answer::Never,
        _ => Answer::Refusal(Status::permission_denied("not you")),
    });
    let running = server.start().await;
    let endpoint = running.endpoint(&roots);
    let channel = endpoint.connect(&Group::new()).await.unwrap();
    let mut client = IstioCertificateServiceClient::with_origin(channel, endpoint.origin());
    let asked = |csr: &str| {
        let mut request = Request::new(IstioCertificateRequest {
            csr: csr.to_owned(),
            validity_duration: 60,
            ..Default::default()
        });
        token.authorize(&mut request).unwrap();
        request
    };
    let refused = client.create_certificate(asked("now")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::PermissionDenied, "not you")
    );
    let never = client.create_certificate(asked("never"));
    assert!(timeout(Duration::from_millis(50), never).await.is_err());
    let calls = server.calls();
    assert_eq!(calls[0].csr, "now");
    assert_eq!(calls[0].validity, 60);
    assert_eq!(calls[0].token, "Bearer t0ken");
    assert_eq!(calls[0].cluster, "Kubernetes");
}

#[tokio::test]
async fn the_tasks_of_a_connection_end_with_the_last_clone_and_with_the_group() {
    let root = Root::new("mesh");
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", root.pem());
    let running = Ca::new(&root, nobody).start().await;
    let endpoint = running.endpoint(&roots);
    let group = Group::new();
    let channel = endpoint.connect(&group).await.unwrap();
    let clone = channel.clone();
    drop(channel);
    assert!(!clone.is_closed());
    drop(clone);
    group.join(PATIENCE).await.unwrap();
    let _held = endpoint.connect(&group).await.unwrap();
    group.cancel();
    group.join(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn roots_are_read_anew_for_each_connection() {
    let (first, second) = (Root::new("first"), Root::new("second"));
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", first.pem());
    let ca = Ca::new(&first, nobody);
    let running = ca.start().await;
    let endpoint = running.endpoint(&roots);
    let group = Group::new();
    endpoint.connect(&group).await.unwrap();
    ca.prove(&second, |_| ());
    let error = endpoint.connect(&group).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    file(
        folder.path(),
        "root-cert.pem",
        &format!("{}{}", first.pem(), second.pem()),
    );
    endpoint.connect(&group).await.unwrap();
}

#[tokio::test]
async fn who_cannot_prove_to_be_the_control_plane_is_refused_with_name_and_file() {
    let root = Root::new("mesh");
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", root.pem());
    let ca = Ca::new(&root, nobody);
    let running = ca.start().await;
    let endpoint = running.endpoint(&roots);
    let past = OffsetDateTime::now_utc() - time::Duration::MINUTE;
    let changes: [(&str, &dyn Fn()); 3] = [
        ("another root", &|| ca.prove(&Root::new("other"), |_| ())),
        ("another name", &|| {
            ca.prove(&root, |params| {
                let name = "webhook.istio-system.svc".try_into().unwrap();
                params.subject_alt_names = vec![SanType::DnsName(name)];
            });
        }),
        ("expired", &|| {
            ca.prove(&root, |params| params.not_after = past)
        }),
    ];
    for (what, change) in changes {
        change();
        let error = refusal(&endpoint).await;
        assert!(matches!(error, ConnectError::Handshake { .. }), "{what}");
        let text = chain(&error).to_string();
        for part in [
            running.address.to_string(),
            NAME.to_owned(),
            roots.display().to_string(),
        ] {
            assert!(text.contains(&part), "{what}: {text}");
        }
    }
}

#[tokio::test]
async fn without_roots_that_count_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new("mesh");
    let running = Ca::new(&root, nobody).start().await;
    let missing = folder.path().join("absent.pem");
    let garbage = file(folder.path(), "garbage.pem", "no certificate");
    let leaf = file(
        folder.path(),
        "leaf.pem",
        &root.workload("spiffe://cluster.local/ns/a/sa/b").chain,
    );
    for path in [missing, garbage, leaf] {
        let error = refusal(&running.endpoint(&path)).await;
        assert!(matches!(error, ConnectError::Roots { .. }), "{error}");
        let text = chain(&error).to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let root = Root::new("mesh");
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", root.pem());
    let ca = Ca::new(&root, nobody);
    let running = ca.start().await;
    ca.speak(b"http/1.1");
    let error = refusal(&running.endpoint(&roots)).await;
    // The server knows none of our protocols and says so itself.
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let address: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let error = refusal(&Endpoint::parse(&address.to_string()).unwrap()).await;
    assert!(matches!(error, ConnectError::Tcp { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let root = Root::new("mesh");
    let folder = tempfile::tempdir().unwrap();
    let roots = file(folder.path(), "root-cert.pem", root.pem());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&listener.local_addr().unwrap().to_string())
        .unwrap()
        .rooted_in(roots);
    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = Vec::new();
        // Until the client hangs up.
        stream.read_to_end(&mut hello).await.unwrap();
        hello
    };
    let group = Group::new();
    let (error, hello) = timeout(PATIENCE, async {
        tokio::join!(endpoint.connect(&group), silent)
    })
    .await
    .unwrap();
    assert!(matches!(error, Err(ConnectError::Silent { .. })));
    assert!(!hello.is_empty());
}

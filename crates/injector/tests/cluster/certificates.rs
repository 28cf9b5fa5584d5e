//! Certificates for workloads: who gets one, for whom, and who does not.

use http::Method;
use identity::{TrustBundle, spiffe, verify};
use runtime::task::Group;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tonic::Code;
use wire::ca::IstioCertificateRequest;

use crate::{
    api::Api,
    fixture::{Replica, bundle_in, installed, until},
    grpc::Channel,
};

const TOKEN: &str = "web.of.shop";

/// A service account as the API server describes it.
fn account(namespace: &str, name: &str) -> Value {
    json!({
        "username": format!("system:serviceaccount:{namespace}:{name}"),
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {
            "authentication.kubernetes.io/pod-name": ["web-0"],
            "authentication.kubernetes.io/pod-uid": ["uid-0"],
        },
    })
}

fn csr() -> IstioCertificateRequest {
    let key = rcgen::KeyPair::generate().expect("a key");
    // Whatever it asks to be called is not looked at.
    let params = rcgen::CertificateParams::new(["admin.example.com".to_owned()]).expect("names");
    let request = params.serialize_request(&key).expect("a request");
    IstioCertificateRequest {
        csr: request.pem().expect("PEM"),
        validity_duration: 3600,
        metadata: None,
    }
}

/// A cluster that knows a token of service account `shop/web`, and a replica in it.
async fn start(more: &[&str]) -> (Api, Replica, String) {
    let api = installed();
    api.know(TOKEN, "istio-ca", account("shop", "web"));
    let replica = Replica::start_with(&api, more).await;
    replica.ready().await;
    until("the root is published", || {
        bundle_in(&api, "default").is_some()
    })
    .await;
    let roots = bundle_in(&api, "default").expect("it was there");
    (api, replica, roots)
}

#[tokio::test]
async fn a_service_account_gets_a_certificate_for_itself() {
    let (api, replica, roots) = start(&[]).await;
    let tasks = Group::new();
    let channel = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    let answer = channel.certify(Some(TOKEN), csr()).await.expect("one");
    let [leaf, root] = &answer[..] else {
        panic!("a leaf and a root: {answer:?}");
    };
    assert_eq!(*root, roots);
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).expect("PEM");
    let bundle = TrustBundle::from_pem(roots.as_bytes()).expect("a bundle");
    let id = verify::peer(
        std::slice::from_ref(&leaf),
        &bundle,
        verify::End::Server,
        verify::Expected::Of(&["cluster.local".parse().expect("a domain")]),
        OffsetDateTime::now_utc(),
    );
    assert_eq!(
        id.expect("it verifies").as_str(),
        "spiffe://cluster.local/ns/shop/sa/web"
    );
    assert_eq!(
        spiffe::of(&leaf).expect("an id").service_account(),
        Some(("shop", "web"))
    );
    channel.certify(Some(TOKEN), csr()).await.expect("another");
    assert_eq!(api.count(&Method::POST, "tokenreviews"), 1);
    replica
        .until_metrics_say("citadel_server_success_cert_issuance_count 2\n")
        .await;
    replica.stop().await;
}

#[tokio::test]
async fn whoever_is_not_known_gets_none() {
    let (api, replica, roots) = start(&[]).await;
    api.know(
        "of.the.api",
        "https://kubernetes.default.svc",
        account("shop", "web"),
    );
    let node = json!({"username": "system:node:one", "groups": ["system:nodes"]});
    api.know("of.a.node", "istio-ca", node);
    let tasks = Group::new();
    let channel = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    for (token, expected) in [
        (None, "the call has no token"),
        (Some("nonsense"), "no bearer token of a service account"),
        (
            Some("a.forged.one"),
            "does not accept the token: invalid bearer token",
        ),
        (Some("of.the.api"), "token audiences"),
        (Some("of.a.node"), "no service account"),
    ] {
        let status = channel.certify(token, csr()).await.expect_err(expected);
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().contains(expected), "{status}");
    }
    replica
        .until_metrics_say("citadel_server_authentication_failure_count 5\n")
        .await;
    replica.stop().await;
}

#[tokio::test]
async fn signing_requests_of_every_wrong_shape_are_refused_and_counted() {
    let (_, replica, roots) = start(&[]).await;
    let tasks = Group::new();
    let channel = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    let of_key = |key: &rcgen::KeyPair| {
        let params = rcgen::CertificateParams::default();
        params
            .serialize_request(key)
            .expect("a request")
            .pem()
            .expect("PEM")
    };
    let good = csr().csr;
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("a key");
    let (begin, end) = good.split_at(good.len() / 2);
    for (what, text) in [
        ("nothing", String::new()),
        ("no PEM", "nonsense".to_owned()),
        ("NULs", "\0".repeat(100)),
        ("a certificate", roots.clone()),
        ("a private key", ed25519.serialize_pem()),
        ("another kind of key", of_key(&ed25519)),
        ("another curve", of_key(&p521)),
        ("the half of one", begin.to_owned()),
        ("a changed one", format!("{begin}AAAA{end}")),
        (
            "an empty section",
            "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n".to_owned(),
        ),
        ("17 KiB", "x".repeat(17 << 10)),
    ] {
        let asked = IstioCertificateRequest { csr: text, ..csr() };
        let status = channel.certify(Some(TOKEN), asked).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(!status.message().is_empty(), "{what}");
    }
    replica
        .until_metrics_say("citadel_server_csr_parsing_err_count 11\n")
        .await;
    for validity_duration in [i64::MIN, -1, 0, i64::MAX] {
        let asked = IstioCertificateRequest {
            validity_duration,
            ..csr()
        };
        channel
            .certify(Some(TOKEN), asked)
            .await
            .expect("a bounded life");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_token_that_has_ended_is_of_no_more_use_whoever_shows_it_again() {
    let (api, replica, roots) = start(&[]).await;
    let tasks = Group::new();
    let own = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    own.certify(Some(TOKEN), csr()).await.expect("one");
    // What was overheard is shown after its end, over the same connection and over another one. For ten seconds the answer is believed.
    api.forget(TOKEN);
    tokio::time::sleep(std::time::Duration::from_millis(10_500)).await;
    let other = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    for channel in [&own, &other] {
        let refused = channel.certify(Some(TOKEN), csr()).await;
        let status = refused.expect_err("its time is over");
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(!status.message().contains(TOKEN), "{status}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused_with_a_reason() {
    let (_, replica, roots) = start(&[]).await;
    let tasks = Group::new();
    let channel = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    let garbled = IstioCertificateRequest {
        csr: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
            .to_owned(),
        ..csr()
    };
    let status = channel
        .certify(Some(TOKEN), garbled)
        .await
        .expect_err("no CSR");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let other = prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(
            "spiffe://cluster.local/ns/shop/sa/admin".to_owned(),
        )),
    };
    let impersonating = IstioCertificateRequest {
        metadata: Some(prost_types::Struct {
            fields: [("ImpersonatedIdentity".to_owned(), other)].into(),
        }),
        ..csr()
    };
    let status = channel
        .certify(Some(TOKEN), impersonating)
        .await
        .expect_err("somebody else");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let huge = IstioCertificateRequest {
        csr: "x".repeat(1 << 20),
        ..csr()
    };
    let status = channel
        .certify(Some(TOKEN), huge)
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    replica.stop().await;
}

#[tokio::test]
async fn an_api_server_that_is_away_asks_for_another_attempt() {
    let (api, replica, roots) = start(&[]).await;
    let tasks = Group::new();
    let channel = Channel::connect(replica.grpc[0], &roots, &tasks).await;
    api.fail(Method::POST, "tokenreviews", 503, "starting up");
    let status = channel
        .certify(Some(TOKEN), csr())
        .await
        .expect_err("nobody to ask");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    api.mend();
    channel
        .certify(Some(TOKEN), csr())
        .await
        .expect("a certificate");
    replica.stop().await;
}

#[tokio::test]
async fn certificates_are_not_issued_in_clear_text() {
    let (_, replica, _) = start(&["--plaintext-grpc-addr=127.0.0.1:0"]).await;
    let tasks = Group::new();
    let stream = TcpStream::connect(replica.grpc[1])
        .await
        .expect("a connection");
    let channel = Channel::over(stream, &tasks).await;
    let status = channel
        .certify(Some(TOKEN), csr())
        .await
        .expect_err("no TLS");
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    replica.stop().await;
}

//! Certificates of service accounts in Secrets: made, renewed, left alone.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use identity::{TrustBundle, verify};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    api::Api,
    fixture::{Replica, SYSTEM, bundle_in, installed, namespace, reasons, until},
};

const ON: [&str; 1] = ["--account-secrets=true"];

fn account(api: &Api, namespace: &str, name: &str) {
    let object = json!({"metadata": {"name": name}});
    api.put("serviceaccounts", namespace, object);
}

fn cluster() -> Api {
    let api = installed();
    api.put("namespaces", "", namespace("shop"));
    account(&api, "shop", "web");
    account(&api, SYSTEM, "default");
    account(&api, "kube-public", "default");
    api
}

fn text(secret: &Value, key: &str) -> String {
    let value = secret["data"][key].as_str().expect("a value");
    String::from_utf8(STANDARD.decode(value).expect("base64")).expect("text")
}

async fn secret_of(api: &Api, namespace: &str, account: &str) -> Value {
    let name = format!("istio.{account}");
    until("there is a Secret", || {
        api.get("secrets", namespace, &name).is_some()
    })
    .await;
    api.get("secrets", namespace, &name).expect("it was there")
}

#[tokio::test]
async fn every_account_has_a_certificate_that_its_peers_believe() {
    let api = cluster();
    let replica = Replica::start_with(&api, &ON).await;
    let secret = secret_of(&api, "shop", "web").await;
    assert_eq!(secret["type"], "istio.io/key-and-cert");
    let annotations = &secret["metadata"]["annotations"];
    assert_eq!(annotations["istio.io/service-account.name"], "web");
    let owner = &secret["metadata"]["ownerReferences"][0];
    let account = api.get("serviceaccounts", "shop", "web").expect("it is");
    assert_eq!(owner["kind"], "ServiceAccount");
    assert_eq!(owner["uid"], account["metadata"]["uid"]);
    let (chain, roots) = (
        text(&secret, "cert-chain.pem"),
        text(&secret, "root-cert.pem"),
    );
    assert_eq!(Some(&roots), bundle_in(&api, "default").as_ref());
    rcgen::KeyPair::from_pem(&text(&secret, "key.pem")).expect("a key");
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
    let chain: Vec<_> = chain.map(|part| part.expect("PEM")).collect();
    let id = verify::peer(
        &chain,
        &TrustBundle::from_pem(roots.as_bytes()).expect("roots"),
        verify::End::Client,
        verify::Expected::Of(&["cluster.local".parse().expect("a domain")]),
        OffsetDateTime::now_utc(),
    );
    let id = id.expect("it verifies");
    assert_eq!(id.as_str(), "spiffe://cluster.local/ns/shop/sa/web");
    secret_of(&api, SYSTEM, "default").await;
    // One that comes later, and two that are to be put right.
    self::account(&api, "shop", "api");
    secret_of(&api, "shop", "api").await;
    api.delete("secrets", "shop", "istio.web");
    secret_of(&api, "shop", "web").await;
    let mut broken = api.get("secrets", "shop", "istio.api").expect("it was");
    broken["data"]["cert-chain.pem"] = json!(STANDARD.encode("nonsense"));
    api.put("secrets", "shop", broken);
    until("it is whole again", || {
        let secret = api.get("secrets", "shop", "istio.api").expect("it is");
        text(&secret, "cert-chain.pem").starts_with("-----BEGIN CERTIFICATE")
    })
    .await;
    assert_eq!(api.get("secrets", "kube-public", "istio.default"), None);
    replica.stop().await;
}

#[tokio::test]
async fn certificates_are_renewed_before_their_end() {
    let api = cluster();
    // Of a minute, the shortest life that there is, a quarter lies in the past: half of it is over after 22 seconds.
    let life = [
        "--default-workload-cert-ttl=1m",
        "--max-workload-cert-ttl=1m",
    ];
    let replica = Replica::start_with(&api, &[&ON[..], &life].concat()).await;
    let first = text(&secret_of(&api, "shop", "web").await, "cert-chain.pem");
    let key = text(&secret_of(&api, "shop", "web").await, "key.pem");
    until("it is renewed", || {
        let secret = api.get("secrets", "shop", "istio.web").expect("it is");
        text(&secret, "cert-chain.pem") != first && text(&secret, "key.pem") != key
    })
    .await;
    replica.stop().await;
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone_and_told() {
    let api = cluster();
    let theirs = json!({
        "metadata": {"name": "istio.web"},
        "type": "Opaque",
        "data": {"password": "c2VjcmV0"},
    });
    api.put("secrets", "shop", theirs);
    let before = api.get("secrets", "shop", "istio.web");
    let replica = Replica::start_with(&api, &ON).await;
    until("it is told", || {
        reasons(&api).contains(&"AccountSecretForeign".to_owned())
    })
    .await;
    secret_of(&api, SYSTEM, "default").await;
    assert_eq!(api.get("secrets", "shop", "istio.web"), before);
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn one_replica_writes_and_without_being_asked_none_does() {
    let api = cluster();
    let silent = Replica::start(&api).await;
    silent.well().await;
    assert_eq!(api.count(&Method::GET, "serviceaccounts"), 0);
    assert_eq!(api.get("secrets", "shop", "istio.web"), None);
    silent.stop().await;
    let first = Replica::start_with(&api, &[&ON[..], &["--pod-name=one"]].concat()).await;
    let second = Replica::start_with(&api, &[&ON[..], &["--pod-name=two"]].concat()).await;
    let secret = secret_of(&api, "shop", "web").await;
    let other = secret_of(&api, SYSTEM, "default").await;
    first.well().await;
    second.well().await;
    // A new one shows that both have seen everything by now.
    account(&api, "shop", "api");
    secret_of(&api, "shop", "api").await;
    assert_eq!(api.get("secrets", "shop", "istio.web"), Some(secret));
    assert_eq!(api.get("secrets", SYSTEM, "istio.default"), Some(other));
    first.stop().await;
    second.stop().await;
}

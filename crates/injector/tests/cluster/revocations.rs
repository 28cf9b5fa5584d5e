//! The user's lists of revoked certificates on their way into every namespace.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Map, json};
use testkit::pki::Root;

use crate::{
    api::Api,
    fixture::{Replica, SYSTEM, bundle_in, installed, namespace, reasons, until},
};

const CRL: &str = "istio-ca-crl";

/// Secret `cacerts` with the authority `root` and these lists.
fn give(api: &Api, root: &Root, lists: Option<&str>) {
    let (pem, key) = (root.pem().to_owned(), root.key());
    let mut data = Map::new();
    for (name, text) in [
        ("ca-cert.pem", Some(&*pem)),
        ("ca-key.pem", Some(&*key)),
        ("root-cert.pem", Some(&*pem)),
        ("ca-crl.pem", lists),
    ] {
        if let Some(text) = text {
            data.insert(name.to_owned(), json!(STANDARD.encode(text)));
        }
    }
    let secret = json!({"metadata": {"name": "cacerts"}, "data": data});
    api.put("secrets", SYSTEM, secret);
}

/// The lists of a namespace.
fn lists_in(api: &Api, namespace: &str) -> Option<String> {
    let object = api.get("configmaps", namespace, CRL)?;
    object["data"]["ca-crl.pem"].as_str().map(str::to_owned)
}

async fn until_everywhere(api: &Api, lists: &str) {
    until("the lists are everywhere", || {
        ["default", "kube-system", SYSTEM]
            .iter()
            .all(|name| lists_in(api, name).as_deref() == Some(lists.trim_ascii()))
    })
    .await;
}

#[tokio::test]
async fn lists_are_in_every_namespace_for_as_long_as_there_are_any() {
    let (api, root) = (installed(), Root::new("mesh"));
    give(&api, &root, None);
    let replica = Replica::start(&api).await;
    replica.well().await;
    assert_eq!(api.get("configmaps", "default", CRL), None);
    let first = root.revoke(&[1], |_| ());
    give(&api, &root, Some(&first));
    until_everywhere(&api, &first).await;
    assert_eq!(bundle_in(&api, "default").as_deref(), Some(root.pem()));
    assert_eq!(api.get("configmaps", "kube-public", CRL), None);
    let role = api
        .get("clusterroles", "", "injector-istio-system")
        .unwrap();
    let object = api.get("configmaps", "default", CRL).unwrap();
    let owners = &object["metadata"]["ownerReferences"];
    assert_eq!(owners[0]["uid"], role["metadata"]["uid"], "{object}");

    let second = root.revoke(&[1, 2], |_| ());
    give(&api, &root, Some(&second));
    until_everywhere(&api, &second).await;
    let mut edited = api.get("configmaps", "default", CRL).unwrap();
    edited["data"] = json!({"ca-crl.pem": "", "theirs": "kept"});
    api.put("configmaps", "default", edited);
    api.delete("configmaps", "kube-system", CRL);
    until_everywhere(&api, &second).await;

    // A Secret that is gone is no reason to believe anybody again.
    api.delete("secrets", SYSTEM, "cacerts");
    api.put("namespaces", "", namespace("fresh"));
    until("the new one has them", || lists_in(&api, "fresh").is_some()).await;
    give(&api, &root, None);
    until("they are withdrawn", || {
        ["default", "kube-system", "fresh", SYSTEM]
            .iter()
            .all(|name| lists_in(&api, name).is_none())
    })
    .await;
    let object = api.get("configmaps", "default", CRL).unwrap();
    assert_eq!(object["data"]["theirs"], "kept");
    let writes = || {
        let of = |method| api.count(&method, "configmaps");
        of(Method::PUT) + of(Method::POST)
    };
    replica.well().await;
    let before = writes();
    api.put("namespaces", "", namespace("later"));
    until("it has the roots", || bundle_in(&api, "later").is_some()).await;
    assert_eq!(writes(), before + 1, "and nothing else is written");
    replica.stop().await;
}

#[tokio::test]
async fn lists_that_would_harm_are_refused_and_the_last_good_ones_stay() {
    let (api, root) = (installed(), Root::new("mesh"));
    let good = root.revoke(&[1], |_| ());
    give(&api, &root, Some(&good));
    let replica = Replica::start(&api).await;
    until_everywhere(&api, &good).await;
    replica.well().await;
    let past = time::OffsetDateTime::now_utc() - time::Duration::seconds(30);
    for (lists, reason) in [
        ("nonsense".to_owned(), "holds 0 PEM sections"),
        (
            Root::new("mesh").revoke(&[], |_| ()),
            "is signed neither by",
        ),
        (
            root.revoke(&[], |list| list.next_update = past),
            "list 1 is outdated since",
        ),
    ] {
        give(&api, &root, Some(&lists));
        let report = replica.until_ready_says(reason).await;
        assert!(report.starts_with("ready\n"), "{report}");
        assert!(report.contains("Secret istio-system/cacerts, key ca-crl.pem"));
        replica
            .until_metrics_say("minimesh_injector_revocations_trouble 1\n")
            .await;
        // Long enough for a write that should not be.
        api.put("namespaces", "", namespace("fresh"));
        until("the new one has the good ones", || {
            lists_in(&api, "fresh").as_deref() == Some(good.trim_ascii())
        })
        .await;
        until_everywhere(&api, &good).await;
        api.delete("namespaces", "", "fresh");
        api.delete("configmaps", "fresh", CRL);
        let n_roots = |text: Option<String>| text.map(|text| text.matches("BEGIN").count());
        assert_eq!(n_roots(bundle_in(&api, "default")), Some(1));
    }
    give(&api, &root, Some(&good));
    replica.well().await;
    replica
        .until_metrics_say("minimesh_injector_revocations_trouble 0\n")
        .await;
    let reasons = reasons(&api);
    for reason in ["RevocationsRefused", "RevocationsAccepted"] {
        assert!(reasons.contains(&reason.to_owned()), "{reasons:?}");
    }
    replica.stop().await;
}

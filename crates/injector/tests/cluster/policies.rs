//! PeerAuthentications from the API server and back into their status.

use http::Method;
use serde_json::{Value, json};

use crate::{
    api::Api,
    fixture::{Replica, SYSTEM, VALIDATOR, VALIDATORS, ca_bundles_of_kind, installed, until},
};

const POLICIES: &str = "peerauthentications";

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "metadata": {
            "name": name,
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    })
}

fn strict() -> Value {
    json!({"mtls": {"mode": "STRICT"}})
}

/// Status and message of a condition.
fn condition(api: &Api, name: &str, kind: &str) -> Option<(String, String)> {
    let object = api.get(POLICIES, "shop", name)?;
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("message")))
}

async fn until_told(api: &Api, name: &str, kind: &str, status: &str) -> String {
    until(&format!("{kind} of {name} is {status}"), || {
        condition(api, name, kind).is_some_and(|(is, _)| is == status)
    })
    .await;
    condition(api, name, kind).expect("it was there").1
}

#[tokio::test]
async fn every_object_is_told_once_what_became_of_it() {
    let api = installed();
    api.put(POLICIES, "shop", policy("good", &strict()));
    api.put(
        POLICIES,
        "shop",
        policy("worse", &json!({"mtls": {"mode": "on"}})),
    );
    let replicas = [Replica::start(&api).await, Replica::start(&api).await];
    until_told(&api, "good", "Accepted", "True").await;
    until_told(&api, "good", "Effective", "True").await;
    let why = until_told(&api, "worse", "Accepted", "False").await;
    assert!(why.starts_with("spec.mtls.mode: `on` is no mode"), "{why}");
    for replica in &replicas {
        let line = "minimesh_injector_policies{kind=\"PeerAuthentication\",state=\"refused\"} 1";
        replica.until_metrics_say(line).await;
    }

    // Changes are followed: what is corrected is accepted, what is broken is refused.
    let mut changed = policy("worse", &strict());
    changed["metadata"]["generation"] = json!(2);
    changed["metadata"]["labels"] = json!({"istio.io/rev": "default"});
    api.put(POLICIES, "shop", changed);
    until_told(&api, "worse", "Accepted", "True").await;
    let told = api.get(POLICIES, "shop", "worse").expect("it is there");
    assert_eq!(told["status"]["conditions"][0]["observedGeneration"], 2);
    let why = until_told(&api, "worse", "Effective", "False").await;
    assert!(why.contains("shop/good"), "younger by name: {why}");

    // One replica has written, and each object as often as it was changed: twice and once, and once more where both were judged again.
    let n_writes = api.count(&Method::PATCH, POLICIES);
    assert!((3..=5).contains(&n_writes), "{n_writes} writes");
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn what_others_say_in_a_status_stays_and_a_quarrel_gets_slow() {
    let api = installed();
    let mut object = policy("good", &strict());
    let others = json!({"type": "Reconciled", "status": "True"});
    object["status"] = json!({"conditions": [others], "validationMessages": []});
    api.put(POLICIES, "shop", object.clone());
    let replica = Replica::start(&api).await;
    until_told(&api, "good", "Accepted", "True").await;
    let told = api.get(POLICIES, "shop", "good").expect("it is there");
    assert_eq!(told["status"]["conditions"][0], others);
    assert_eq!(told["status"]["validationMessages"], json!([]));

    for _ in 0..50 {
        api.put(POLICIES, "shop", object.clone());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    until_told(&api, "good", "Accepted", "True").await;
    let n_writes = api.count(&Method::PATCH, POLICIES);
    assert!(n_writes < 10, "{n_writes} writes");
    replica.stop().await;
}

#[tokio::test]
async fn a_status_that_may_not_be_written_is_complained_of_and_stops_nothing_else() {
    let api = installed();
    api.fail(
        Method::PATCH,
        POLICIES,
        403,
        "peerauthentications/status is forbidden",
    );
    api.put(POLICIES, "shop", policy("good", &strict()));
    let replica = Replica::start(&api).await;
    let report = replica.until_ready_says("status is forbidden").await;
    assert!(report.contains("the chart's ClusterRole"), "{report}");
    let line = "minimesh_injector_policies{kind=\"PeerAuthentication\",state=\"accepted\"} 1";
    replica.until_metrics_say(line).await;
    api.mend();
    until_told(&api, "good", "Accepted", "True").await;
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn a_status_that_somebody_else_changes_at_the_same_time_is_written_in_the_end() {
    let api = installed();
    api.fail(Method::PATCH, POLICIES, 409, "the object has been modified");
    api.put(POLICIES, "shop", policy("good", &strict()));
    let replica = Replica::start(&api).await;
    until("it was tried again", || {
        api.count(&Method::PATCH, POLICIES) > 1
    })
    .await;
    // It is nobody's fault, so there is nothing to complain about.
    replica.well().await;
    api.mend();
    until_told(&api, "good", "Accepted", "True").await;
    replica.stop().await;
}

#[tokio::test]
async fn a_cluster_that_does_not_know_the_kind_has_no_policies_until_it_does() {
    let api = installed();
    api.fail(Method::GET, POLICIES, 404, "page not found");
    let replica = Replica::start(&api).await;
    let report = replica.until_ready_says("page not found").await;
    assert!(report.contains("PeerAuthentications"), "{report}");
    replica.ready().await;
    api.mend();
    api.put(POLICIES, "shop", policy("good", &strict()));
    until_told(&api, "good", "Accepted", "True").await;
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn the_validating_webhook_trusts_the_same_authority() {
    let api = installed();
    let replica = Replica::start(&api).await;
    until("caBundle is written", || {
        ca_bundles_of_kind(&api, VALIDATORS, VALIDATOR)
            .iter()
            .all(|bundle| bundle.starts_with("-----BEGIN"))
    })
    .await;
    replica.well().await;
    replica.stop().await;

    // Where there is none, or is not to be, nothing waits for it.
    api.delete(VALIDATORS, "", VALIDATOR);
    let replica = Replica::start_with(&api, &["--validation-webhook-config="]).await;
    replica.well().await;
    assert_eq!(api.list(VALIDATORS), [Value::Null; 0]);
    replica.stop().await;
    let replica = Replica::start(&api).await;
    replica.ready().await;
    replica
        .until_ready_says("--validation-webhook-config")
        .await;
    assert!(api.get("secrets", SYSTEM, "istio-ca-secret").is_some());
    replica.stop().await;
}

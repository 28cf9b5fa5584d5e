//! What workloads are told of their pods.

use http::Method;
use serde_json::{Value, json};

use crate::{
    api::Api,
    fixture::{Replica, bundle_in, installed, namespace, until},
};

/// A cluster with a Deployment in namespace `shop`.
fn with_deployment() -> Api {
    let api = installed();
    api.put("namespaces", "", namespace("shop"));
    let deployment = json!({"metadata": {"name": "web"}});
    api.put("deployments", "shop", deployment);
    let uid = uid(&api, "deployments", "web");
    let replica_set = json!({
        "metadata": {
            "name": "web-5d8f",
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "web",
                "uid": uid,
                "controller": true,
            }],
        },
    });
    api.put("replicasets", "shop", replica_set);
    api
}

fn uid(api: &Api, resource: &str, name: &str) -> Value {
    let object = api.get(resource, "shop", name).expect("it is there");
    object["metadata"]["uid"].clone()
}

/// A pod as the Deployment's ReplicaSet creates it.
fn pod(api: &Api, spec: &Value) -> Value {
    let mut pod = json!({
        "metadata": {
            "generateName": "web-5d8f-",
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "web-5d8f",
                "uid": uid(api, "replicasets", "web-5d8f"),
                "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

/// The Events in namespace `shop`.
fn told(api: &Api) -> Vec<Value> {
    let events = api.list("events").into_iter();
    events
        .filter(|event| event["metadata"]["namespace"] == "shop")
        .collect()
}

async fn roots(api: &Api) -> String {
    until("it is published", || bundle_in(api, "default").is_some()).await;
    bundle_in(api, "default").expect("it is published")
}

#[tokio::test]
async fn the_deployment_is_told_why_its_pods_are_not_injected() {
    let api = with_deployment();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let roots = roots(&api).await;
    let host = pod(&api, &json!({"hostNetwork": true}));
    let response = replica.reviewed(&roots, &host, false).await;
    assert_eq!(response["allowed"], true);
    until("an Event is written", || !told(&api).is_empty()).await;
    let event = told(&api).remove(0);
    assert_eq!(event["regarding"]["kind"], "Deployment");
    assert_eq!(event["regarding"]["name"], "web");
    assert_eq!(event["regarding"]["uid"], uid(&api, "deployments", "web"));
    assert_eq!(event["regarding"]["namespace"], "shop");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "HostNetwork");
    assert_eq!(event["action"], "Inject");
    assert_eq!(event["reportingController"], "minimesh.io/injector");
    assert_eq!(event["reportingInstance"], "injector-1");
    assert!(event["eventTime"].is_string());
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("not injected") && note.contains("remove hostNetwork"),
        "{note}"
    );
    replica.stop().await;
}

#[tokio::test]
async fn refusals_and_surprises_are_told_and_wishes_that_came_true_are_not() {
    let api = with_deployment();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let roots = roots(&api).await;
    let mut out = pod(&api, &json!({"hostNetwork": true}));
    out["metadata"]["labels"] = json!({"sidecar.istio.io/inject": "false"});
    out["spec"]["hostNetwork"] = json!(false);
    let plain = pod(&api, &json!({}));
    let dry = pod(&api, &json!({"hostNetwork": true}));
    let mut bad = pod(&api, &json!({}));
    bad["metadata"]["annotations"] = json!({"status.sidecar.istio.io/port": "x"});
    let odd = pod(&api, &json!({"dnsPolicy": "None"}));
    for (pod, dry_run) in [
        (&out, false),
        (&plain, false),
        (&dry, true),
        (&bad, true),
        (&bad, false),
        (&odd, false),
    ] {
        replica.reviewed(&roots, pod, dry_run).await;
    }
    // What is said is written in order, so the last one shows that all are.
    let reasons = || -> Vec<(String, String)> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        let events = told(&api);
        let mut reasons: Vec<_> = events
            .iter()
            .map(|event| (text(event, "reason"), text(event, "type")))
            .collect();
        reasons.sort();
        reasons
    };
    until("the last one is told", || reasons().len() == 2).await;
    let pair = |reason: &str, kind: &str| (reason.to_owned(), kind.to_owned());
    assert_eq!(
        reasons(),
        [
            pair("DnsPolicy", "Normal"),
            pair("InjectionRefused", "Warning")
        ]
    );
    let metrics = replica.page("/metrics").await;
    for series in [
        "minimesh_injector_dry_runs_total 2\n",
        "sidecar_injection_failure_total 1\n",
        "sidecar_injection_skip_total{reason=\"host-network\"} 0\n",
        "minimesh_injector_events_total{result=\"dropped\"} 0\n",
    ] {
        assert!(metrics.contains(series), "{series} in {metrics}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_hundred_pods_make_one_event_in_any_number_of_replicas() {
    let api = with_deployment();
    let first = Replica::start(&api).await;
    let second = Replica::start(&api).await;
    first.ready().await;
    second.ready().await;
    let roots = roots(&api).await;
    let host = pod(&api, &json!({"hostNetwork": true}));
    for _ in 0..50 {
        first.reviewed(&roots, &host, false).await;
    }
    until("it is told", || told(&api).len() == 1).await;
    assert_eq!(told(&api)[0]["series"], Value::Null);
    for _ in 0..50 {
        second.reviewed(&roots, &host, false).await;
    }
    until("the other replica counts in it", || {
        told(&api)[0]["series"]["count"] == 2
    })
    .await;
    assert_eq!(told(&api).len(), 1);
    first
        .until_metrics_say("minimesh_injector_events_total{result=\"folded\"} 49\n")
        .await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn without_the_rights_for_it_the_replica_set_is_told_and_injection_goes_on() {
    let api = with_deployment();
    api.fail(Method::GET, "replicasets", 403, "replicasets is forbidden");
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let roots = roots(&api).await;
    let host = pod(&api, &json!({"hostNetwork": true}));
    replica.reviewed(&roots, &host, false).await;
    until("it is told", || !told(&api).is_empty()).await;
    let event = told(&api).remove(0);
    assert_eq!(event["regarding"]["kind"], "ReplicaSet");
    assert_eq!(
        event["regarding"]["uid"],
        uid(&api, "replicasets", "web-5d8f")
    );
    replica.stop().await;

    let api = with_deployment();
    api.fail(Method::POST, "events", 403, "events is forbidden");
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let roots = self::roots(&api).await;
    let response = replica.reviewed(&roots, &host, false).await;
    assert_eq!(response["allowed"], true);
    replica.until_metrics_say("result=\"failed\"} ").await;
    assert!(replica.injected(&roots).await.contains("istio-proxy"));
    replica.stop().await;
}

#[tokio::test]
async fn workloads_are_told_nothing_where_that_is_switched_off() {
    let api = with_deployment();
    let replica = Replica::start_with(&api, &["--workload-events=false"]).await;
    replica.ready().await;
    let roots = roots(&api).await;
    let host = pod(&api, &json!({"hostNetwork": true}));
    let response = replica.reviewed(&roots, &host, false).await;
    let warnings = response["warnings"].to_string();
    assert!(warnings.contains("host-network"), "{warnings}");
    // The injector's own Events come through the same writer, after it.
    until("its own are written", || {
        api.list("events").len() > told(&api).len()
    })
    .await;
    assert_eq!(told(&api), [] as [Value; 0]);
    assert_eq!(api.count(&Method::GET, "replicasets"), 0);
    replica.stop().await;
}

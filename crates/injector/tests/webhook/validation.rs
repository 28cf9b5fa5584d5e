//! `POST /validate`: what is let in, what is refused and by which words.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{Client, HTTP_1, HTTP_2},
    fixture::Fixture,
};

fn review(namespace: &str, version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "security.istio.io", "version": version, "kind": "PeerAuthentication"},
            "operation": "CREATE",
            "namespace": namespace,
            "object": {
                "apiVersion": format!("security.istio.io/{version}"),
                "kind": "PeerAuthentication",
                "metadata": {"name": "default", "namespace": namespace},
                "spec": spec,
            },
        },
    })
}

async fn answered(client: &mut Client, review: &Value) -> Value {
    let (status, answer) = client.review("/validate", review).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    assert_eq!(answer["response"].get("patch"), None);
    answer["response"].clone()
}

#[tokio::test]
async fn what_can_work_is_let_in_with_a_warning_of_what_is_not_acted_on() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_2).await;
    let selector = json!({"matchLabels": {"app": "web"}});
    let ports = json!({"8080": {"mode": "DISABLE"}, "9000": {}});
    let table: [(&str, Value, Option<&str>); 6] = [
        ("shop", json!({}), None),
        ("istio-system", json!({"mtls": {"mode": "STRICT"}}), None),
        ("shop", json!({"mtls": {"mode": "UNSET"}}), None),
        (
            "shop",
            json!({"selector": selector, "portLevelMtls": ports}),
            None,
        ),
        (
            "shop",
            json!({"later": true}),
            Some("spec.later: is not known"),
        ),
        (
            "istio-system",
            json!({"selector": selector}),
            Some("spec.selector: selects nothing"),
        ),
    ];
    for (namespace, spec, warning) in table {
        for version in ["v1", "v1beta1"] {
            let response = answered(&mut client, &review(namespace, version, &spec)).await;
            assert_eq!(response["allowed"], true, "{spec}");
            let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
            assert_eq!(
                warnings.len(),
                usize::from(warning.is_some()),
                "{warnings:?}"
            );
            for text in &warnings {
                let text = text.as_str().expect("a text");
                assert!(
                    warning.is_some_and(|begin| text.starts_with(begin)),
                    "{text}"
                );
            }
        }
    }
    let series = "galley_validation_passed_total{group=\"security.istio.io\",version=\"v1\",resource=\"peerauthentications\"}";
    assert_eq!(fixture.metric(series).await, Some(12.0));
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_every_field_named() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let selector = json!({"matchLabels": {"app": "web"}});
    let table: [(Value, &[&str]); 5] = [
        (
            json!({"portLevelMtls": {"80": {"mode": "STRICT"}}}),
            &["spec.portLevelMtls: needs spec.selector.matchLabels"],
        ),
        (
            json!({"mtls": {"mode": "strict"}, "selector": {"matchExpressions": []}}),
            &[
                "spec.selector.matchExpressions: is not supported",
                "spec.mtls.mode: `strict` is no mode; write STRICT, PERMISSIVE, DISABLE or UNSET",
            ],
        ),
        (
            json!({"selector": selector, "portLevelMtls": {"http": {}, "70000": {}}}),
            &[
                "spec.portLevelMtls[http]: is no port",
                "spec.portLevelMtls[70000]: is no port",
            ],
        ),
        (
            json!({"targetRefs": []}),
            &["spec.targetRefs: is not supported"],
        ),
        (json!("STRICT"), &["spec: is no map"]),
    ];
    for (spec, expected) in table {
        let response = answered(&mut client, &review("shop", "v1", &spec)).await;
        assert_eq!(response["allowed"], false, "{spec}");
        assert_eq!(response["status"]["code"], 422);
        assert_eq!(response["status"]["reason"], "Invalid");
        let message = response["status"]["message"].as_str().expect("a message");
        for text in expected {
            assert!(message.contains(text), "{message}");
        }
    }
    let series = "galley_validation_failed_total{group=\"security.istio.io\",version=\"v1\",resource=\"peerauthentications\"}";
    assert_eq!(fixture.metric(series).await, Some(5.0));
}

#[tokio::test]
async fn what_is_no_change_of_an_object_passes_and_so_do_other_kinds() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let bad = json!({"mtls": {"mode": "x"}});
    let changed = |field: &str, value: &Value| {
        let mut review = review("shop", "v1", &bad);
        review["request"][field] = value.clone();
        review
    };
    for (review, warns) in [
        (changed("operation", &json!("DELETE")), false),
        (changed("operation", &json!("CONNECT")), false),
        (changed("subResource", &json!("status")), false),
        (
            changed(
                "kind",
                &json!({"group": "security.istio.io", "kind": "AuthorizationPolicy"}),
            ),
            true,
        ),
    ] {
        let response = answered(&mut client, &review).await;
        assert_eq!(response["allowed"], true, "{review}");
        assert_eq!(response.get("warnings").is_some(), warns, "{response}");
    }
    // The kind of the object itself counts where the request names none.
    let mut bare = changed("dryRun", &json!(true));
    bare["request"]["kind"].take();
    assert_eq!(answered(&mut client, &bare).await["allowed"], false);
}

#[tokio::test]
async fn whatever_is_sent_is_answered_by_a_review_or_a_status() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let mut without_object = review("shop", "v1", &json!({}));
    without_object["request"]["object"].take();
    let mut odd_metadata = review("shop", "v1", &json!({}));
    odd_metadata["request"]["object"]["metadata"] = json!([1]);
    for (review, reason) in [
        (json!({}), "BadRequest"),
        (json!([]), "BadRequest"),
        (without_object, "BadRequest"),
        (odd_metadata, "Invalid"),
    ] {
        let (status, answer) = client.review("/validate", &review).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["response"]["allowed"], false, "{review}");
        assert_eq!(answer["response"]["status"]["reason"], reason, "{review}");
    }
    let answer = client
        .send(Method::POST, "/validate", "text/plain", Body::from("{}"))
        .await
        .expect("an answer");
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = client.get("/validate").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let series = "galley_validation_http_error_total{status=\"415\"}";
    assert_eq!(fixture.metric(series).await, Some(1.0));
}

//! What is asked and what is answered.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use hyper::body::Frame;
use injector::{cluster::events::Events, configuration, files::Voice, metrics};
use runtime::readiness::Readiness;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use template::{Namespace, Outcome, Reason, Request};

use crate::{
    client::{HTTP_1, HTTP_2, Speech},
    fixture::{Fixture, patched, pod, review_of},
};

/// A body of `n_bytes` whose length nobody is told beforehand.
struct Chunks {
    n_bytes: usize,
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let n_bytes = self.n_bytes.min(16 << 10);
        self.n_bytes -= n_bytes;
        Poll::Ready((n_bytes > 0).then(|| Ok(Frame::data(vec![b' '; n_bytes].into()))))
    }
}

fn container_names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    pod["spec"][list]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

#[tokio::test]
async fn a_pod_is_injected_over_every_version_of_tls_and_http() {
    let fixture = Fixture::start().await;
    let speeches = [HTTP_1, HTTP_2]
        .into_iter()
        .flat_map(|speech| [&TLS12, &TLS13].map(|tls| Speech { tls, ..speech }));
    for speech in speeches {
        let mut client = fixture.client(speech).await;
        for version in ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] {
            let mut review = review_of(&pod());
            review["apiVersion"] = json!(version);
            let (status, answer) = client.review("/inject", &review).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(answer["apiVersion"], version);
            assert_eq!(answer["kind"], "AdmissionReview");
            let response = &answer["response"];
            assert_eq!(response["uid"], review["request"]["uid"]);
            assert_eq!(response["allowed"], true);
            assert_eq!(response["patchType"], "JSONPatch");
            let injected = patched(&pod(), &answer);
            let all = [
                container_names(&injected, "initContainers"),
                container_names(&injected, "containers"),
            ]
            .concat();
            assert!(
                all.contains(&"istio-proxy") && all.contains(&"web"),
                "{all:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_patched_pod_is_the_one_that_the_library_gives() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let reloader = configuration::reloader(
        &fixture.files.config(&[]),
        None,
        Voice::of_configuration(
            &Readiness::new(),
            metrics::Files::default(),
            Events::silent(),
        ),
    )
    .unwrap();
    let mut probed = pod();
    probed["spec"]["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": 8080}});
    let mut unusual = pod();
    unusual["spec"]["futureField"] = json!({"deep": [1.5, null, {"a/b~c": ""}]});
    unusual["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
    unusual["spec"]["initContainers"] = json!([{"name": "setup", "image": "setup"}]);
    let mut named = pod();
    named["metadata"]["namespace"] = json!("shop");
    for pod in [pod(), probed, unusual, named] {
        let (_, answer) = client.review("/inject", &review_of(&pod)).await;
        let request = Request {
            pod: &pod,
            namespace: &Namespace::named("shop"),
            owner: None,
            environment: &BTreeMap::new(),
        };
        let config = reloader.live();
        match template::inject(&config.load(), &request).unwrap() {
            Outcome::Injected { pod: expected, .. } => {
                assert_eq!(patched(&pod, &answer), expected);
                assert_eq!(
                    expected["metadata"].get("namespace"),
                    pod["metadata"].get("namespace")
                );
                assert_eq!(
                    expected["metadata"].get("managedFields"),
                    pod["metadata"].get("managedFields")
                );
                assert_eq!(
                    expected["spec"].get("futureField"),
                    pod["spec"].get("futureField")
                );
            }
            Outcome::Skipped { .. } => panic!("the pod must be injected"),
        }
    }
}

#[tokio::test]
async fn a_dry_run_is_answered_like_any_other() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let mut review = review_of(&pod());
    let (_, real) = client.review("/inject", &review).await;
    review["request"]["dryRun"] = json!(true);
    let (_, dry) = client.review("/inject", &review).await;
    assert_eq!(real, dry);
}

#[tokio::test]
async fn the_url_sets_the_sidecars_environment() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let paths = [
        "/inject/cluster/east--slash--1/net/lan%2d1",
        "/inject/:ENV:cluster=east/1:ENV:net=lan-1",
    ];
    for path in paths {
        let (_, answer) = client.review(path, &review_of(&pod())).await;
        let text = patched(&pod(), &answer).to_string();
        for expected in [
            r#"{"name":"ISTIO_META_CLUSTER_ID","value":"east/1"}"#,
            r#"{"name":"ISTIO_META_NETWORK","value":"lan-1"}"#,
        ] {
            assert!(text.contains(expected), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_is_not_injected_is_told_why_unless_it_asked_for_that() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let mut host = pod();
    host["spec"]["hostNetwork"] = json!(true);
    for wish in [None, Some("true")] {
        if let Some(wish) = wish {
            host["metadata"]["labels"]["sidecar.istio.io/inject"] = json!(wish);
        }
        let (_, answer) = client.review("/inject", &review_of(&host)).await;
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"].get("patch"), None);
        let warnings = answer["response"]["warnings"].to_string();
        assert!(warnings.contains("host-network"), "{warnings}");
    }
    let mut out = pod();
    out["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
    let (_, answer) = client.review("/inject", &review_of(&out)).await;
    assert_eq!(answer["response"].get("warnings"), None);
    let reason = Reason::HostNetwork.code();
    assert_eq!(
        fixture
            .metric(&format!(
                "sidecar_injection_skip_total{{reason=\"{reason}\"}}"
            ))
            .await,
        Some(2.0)
    );
    assert_eq!(
        fixture.metric("sidecar_injection_success_total").await,
        Some(0.0)
    );
}

#[tokio::test]
async fn a_pod_that_is_injected_is_told_what_is_surprising_about_it() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let mut odd = pod();
    odd["spec"]["dnsPolicy"] = json!("None");
    odd["spec"]["securityContext"] = json!({"runAsUser": 1337});
    let (_, answer) = client.review("/inject", &review_of(&odd)).await;
    assert!(answer["response"]["patch"].is_string(), "{answer}");
    let warnings = answer["response"]["warnings"].to_string();
    for code in ["dns-policy: ", "runs-as-proxy: "] {
        assert!(warnings.contains(code), "{warnings}");
    }
    let (_, answer) = client.review("/inject", &review_of(&pod())).await;
    assert_eq!(
        answer["response"].get("warnings"),
        None,
        "no surprise, no noise"
    );
}

#[tokio::test]
async fn every_reason_has_a_series_from_the_start() {
    let fixture = Fixture::start().await;
    for reason in Reason::all() {
        let series = format!(
            "sidecar_injection_skip_total{{reason=\"{}\"}}",
            reason.code()
        );
        assert_eq!(fixture.metric(&series).await, Some(0.0), "{series}");
    }
}

#[tokio::test]
async fn a_pod_with_a_bad_annotation_is_denied_by_its_name() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let mut bad = pod();
    bad["metadata"]["annotations"] = json!({"status.sidecar.istio.io/port": "x"});
    let (status, answer) = client.review("/inject", &review_of(&bad)).await;
    assert_eq!(status, StatusCode::OK);
    let response = &answer["response"];
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 422);
    assert_eq!(response["status"]["reason"], "Invalid");
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("status.sidecar.istio.io/port"),
        "{message}"
    );
    assert_eq!(
        fixture.metric("sidecar_injection_failure_total").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn reviews_that_make_no_sense_are_denied_and_the_connection_goes_on() {
    let fixture = Fixture::start().await;
    let deep = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{{"uid":"u","object":{}{}}}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let mut deployment = review_of(&pod());
    deployment["request"]["object"]["kind"] = json!("Deployment");
    let table = [
        ("nonsense".to_owned(), "admission.k8s.io/v1", ""),
        (deep, "admission.k8s.io/v1beta1", "u"),
        (
            json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"})
                .to_string(),
            "admission.k8s.io/v1beta1",
            "",
        ),
        (
            deployment.to_string(),
            "admission.k8s.io/v1",
            "705ab4f5-6393-11e8-b7cc-42010a800002",
        ),
    ];
    for speech in [HTTP_1, HTTP_2] {
        let mut client = fixture.client(speech).await;
        for (body, version, uid) in &table {
            let answer = client
                .send(
                    Method::POST,
                    "/inject",
                    "application/json",
                    Body::from(body.clone()),
                )
                .await
                .unwrap();
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
            let review: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(review["apiVersion"], *version);
            assert_eq!(review["response"]["uid"], *uid);
            assert_eq!(review["response"]["allowed"], false);
            assert_eq!(review["response"]["status"]["code"], 400);
        }
    }
}

#[tokio::test]
async fn odd_pods_get_an_answer() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client(HTTP_1).await;
    let odd = [
        json!({}),
        json!({"spec": null}),
        json!({"spec": {}, "metadata": null}),
        json!({"spec": {"containers": null}}),
        json!({"spec": {"containers": {}}}),
        json!({"spec": {"containers": [null, 7, "x", [], {}]}}),
        json!({"spec": [], "metadata": 5}),
        json!({"metadata": {"annotations": [], "labels": "x"}, "spec": {"containers": []}}),
        json!({"metadata": {"annotations": {"sidecar.istio.io/status": "{"}}, "spec": {}}),
        json!({"spec": {"containers": [{"name": "istio-proxy", "env": 5, "image": "auto"}]}}),
        json!({"spec": {"hostNetwork": "true", "volumes": [{"name": null}]}}),
    ];
    for pod in odd {
        let (status, answer) = client.review("/inject", &review_of(&pod)).await;
        assert_eq!(status, StatusCode::OK, "{pod}");
        let response = &answer["response"];
        match response["allowed"].as_bool() {
            Some(true) if response.get("patch").is_some() => drop(patched(&pod, &answer)),
            Some(true) => {}
            Some(false) => {
                let message = response["status"]["message"].as_str().unwrap();
                assert!(
                    !message.is_empty() && !message.contains("report it"),
                    "{pod}: {message}"
                );
            }
            None => panic!("{pod}: {answer}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_review_is_answered_by_http() {
    let fixture = Fixture::start().await;
    let review = review_of(&pod()).to_string();
    let large = || Body::from(vec![b' '; (6 << 20) + 1]);
    let chunked = || Body::new(Chunks { n_bytes: 20 << 20 });
    for speech in [HTTP_1, HTTP_2] {
        let table = [
            (
                Method::POST,
                "/inject",
                "application/json",
                Body::empty(),
                400,
            ),
            (Method::POST, "/inject", "", Body::from(review.clone()), 415),
            (
                Method::POST,
                "/inject",
                "text/plain",
                Body::from(review.clone()),
                415,
            ),
            (
                Method::POST,
                "/inject",
                "application/jsonx",
                Body::from(review.clone()),
                415,
            ),
            (Method::POST, "/inject", "application/json", large(), 413),
            (Method::POST, "/inject", "application/json", chunked(), 413),
            (
                Method::POST,
                "/inject",
                "Application/JSON; charset=utf-8",
                Body::from(review.clone()),
                200,
            ),
            (
                Method::POST,
                "/inject/",
                "application/json",
                Body::from(review.clone()),
                200,
            ),
            (Method::GET, "/inject", "", Body::empty(), 405),
            (Method::GET, "/nothing", "", Body::empty(), 404),
            (Method::GET, "/metrics", "", Body::empty(), 404),
        ];
        for (method, path, content_type, body, expected) in table {
            let mut client = fixture.client(speech).await;
            let answer = client
                .send(method, path, content_type, body)
                .await
                .unwrap_or_else(|error| panic!("{path} {content_type} {expected}: {error}"));
            assert_eq!(answer.status.as_u16(), expected, "{path} {content_type}");
        }
    }
}

#[tokio::test]
async fn ready_is_answered_on_both_ports_and_metrics_on_one() {
    let fixture = Fixture::start().await;
    assert_eq!(
        fixture.get("/ready").await,
        (StatusCode::OK, "ready\n".to_owned())
    );
    let version = env!("CARGO_PKG_VERSION");
    let series = format!("istio_build{{component=\"pilot\",tag=\"{version}\"}}");
    assert_eq!(fixture.metric(&series).await, Some(1.0));
    fixture
        .client(HTTP_1)
        .await
        .review("/inject", &review_of(&pod()))
        .await;
    for (series, value) in [
        ("sidecar_injection_requests_total", 1.0),
        ("sidecar_injection_success_total", 1.0),
        ("sidecar_injection_failure_total", 0.0),
        ("sidecar_injection_time_seconds_count", 1.0),
    ] {
        assert_eq!(fixture.metric(series).await, Some(value), "{series}");
    }
}

//! Taking an injection back: the pod that was injected comes out again, whatever it was and whatever injected it; records that lie lose nobody's containers.
//!
//! The table of cases is held to the same law by its own test.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use template::{
    Config, Doubt, Namespace, Outcome, Request, UninjectError, Uninjected, inject, patch, uninject,
};

#[path = "uninject/configs.rs"]
mod configs;
#[path = "uninject/pods.rs"]
mod pods;

use configs::CONFIGS;

fn injected(config: &Config, pod: &Value) -> Option<Value> {
    let request = Request {
        pod,
        namespace: &Namespace::named("shop"),
        owner: None,
        environment: &BTreeMap::from([("ISTIO_META_NETWORK".to_owned(), "n1".to_owned())]),
    };
    match inject(config, &request) {
        Ok(Outcome::Injected { pod, .. }) => Some(pod),
        Ok(Outcome::Skipped { .. }) | Err(_) => None,
    }
}

fn restored(pod: &Value) -> Uninjected {
    uninject(pod)
        .expect("a sound record")
        .expect("an injected pod")
}

fn differences(before: &Value, after: &Value) -> String {
    serde_json::to_string_pretty(&patch::diff(before, after)).expect("plain data")
}

/// A pod whose status is `status`, with containers of these names.
fn recorded(status: &str, containers: &[&str]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|name| json!({"name": name, "image": "x"}))
        .collect();
    json!({
        "metadata": {"annotations": {"sidecar.istio.io/status": status}},
        "spec": {"containers": containers},
    })
}

proptest! {
    // Where a failure is worth keeping, it becomes a case.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_injected_pod_comes_out_as_it_went_in(pod in pods::pods(), config_idx in 0..CONFIGS.len()) {
        let config = &CONFIGS[config_idx];
        if let Some(once) = injected(config, &pod) {
            let back = restored(&once).pod;
            prop_assert!(back == pod, "{}\nof {once}", differences(&pod, &back));
        }
    }

    #[test]
    fn a_pod_that_another_configuration_injected_as_well_comes_out_as_it_first_went_in(
        pod in pods::pods(),
        first in 0..CONFIGS.len(),
        second in 0..CONFIGS.len(),
    ) {
        let again = injected(&CONFIGS[first], &pod).and_then(|once| injected(&CONFIGS[second], &once));
        if let Some(again) = again {
            let back = restored(&again).pod;
            prop_assert!(back == pod, "{}\nof {again}", differences(&pod, &back));
        }
    }

    #[test]
    fn what_was_added_since_the_injection_stays(pod in pods::pods(), config_idx in 0..CONFIGS.len()) {
        if let Some(mut once) = injected(&CONFIGS[config_idx], &pod) {
            let helper = json!({"name": "added", "image": "x"});
            let add = |pod: &mut Value| {
                pod["metadata"]["uid"] = json!("1");
                pod["status"] = json!({"phase": "Running"});
                pod["spec"]["containers"].as_array_mut().expect("a list").push(helper.clone());
            };
            add(&mut once);
            let back = restored(&once).pod;
            let names = |pod: &Value| -> Vec<String> {
                let containers = pod["spec"]["containers"].as_array().expect("a list");
                let mut names: Vec<_> = containers.iter().map(|item| item["name"].to_string()).collect();
                names.sort();
                names
            };
            let mut expected = pod;
            add(&mut expected);
            prop_assert_eq!(names(&back), names(&expected));
            prop_assert_eq!(&back["status"], &expected["status"]);
            prop_assert_eq!(&back["metadata"]["uid"], "1");
        }
    }

    #[test]
    fn no_record_takes_the_applications_containers_or_panics(
        status in pods::records(),
        overrides in prop::option::of("[\\[\\]{}\":,a-z]{0,12}"),
        named in prop::collection::btree_set("(web|db|istio-proxy|helper)", 1..4),
    ) {
        let names: Vec<&str> = named.iter().map(String::as_str).collect();
        let mut pod = recorded(&status.to_string(), &names);
        if let Some(overrides) = overrides {
            pod["metadata"]["annotations"]["proxy.istio.io/overrides"] = json!(overrides);
        }
        if let Ok(Some(Uninjected { pod: back, .. })) = uninject(&pod) {
            let left = back["spec"]["containers"].as_array().expect("a list");
            prop_assert!(!left.is_empty());
            let listed = format!("{}{}", status["containers"], status["initContainers"]);
            for name in names.iter().filter(|name| !listed.contains(&format!("{name:?}"))) {
                prop_assert!(left.iter().any(|container| container["name"] == **name), "{name} is gone");
            }
        }
    }
}

#[test]
fn a_pod_that_was_not_injected_is_left_alone() {
    for pod in [
        json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"containers": [{"name": "istio-proxy"}]}}),
        json!({"metadata": null}),
        json!({"metadata": {"annotations": 5}}),
        json!([]),
        json!("pod"),
    ] {
        assert!(matches!(uninject(&pod), Ok(None)), "{pod}");
    }
}

#[test]
fn ordinary_pods_need_no_longer_record_than_istios() {
    let pod = json!({
        "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": {"prometheus.io/port": "9000"}},
        "spec": {
            "containers": [{
                "name": "web",
                "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}],
                "readinessProbe": {"httpGet": {"port": "http", "scheme": "HTTPS"}, "timeoutSeconds": 3},
                "livenessProbe": {"tcpSocket": {"port": 81}},
                "startupProbe": {"grpc": {"port": 9}},
                "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/stop"}}},
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    });
    for config in CONFIGS.iter().take(2) {
        let mut pod = pod.clone();
        pod["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]["port"] = json!("http");
        let once = injected(config, &pod).expect("it is injected");
        let status = once["metadata"]["annotations"]["sidecar.istio.io/status"].to_string();
        assert!(!status.contains("restore"), "{status}");
        assert_eq!(restored(&once).pod, pod);
    }
}

#[test]
fn a_record_is_believed_as_far_as_an_injection_can_have_written_it() {
    let status = r#"{"containers":["web","istio-proxy"]}"#;
    // Nothing else shows that `web` was injected, and something does that `istio-proxy` was.
    let Uninjected { pod, doubts } = restored(&recorded(status, &["web", "istio-proxy"]));
    assert_eq!(
        pod,
        json!({"spec": {"containers": [{"name": "web", "image": "x"}]}})
    );
    assert_eq!(
        doubts,
        [Doubt::Container {
            name: "web".to_owned()
        }]
    );
    // The sidecar knows which containers are the application's.
    let mut known = recorded(status, &["db", "web", "istio-proxy"]);
    known["spec"]["containers"][2]["env"] =
        json!([{"name": "ISTIO_META_APP_CONTAINERS", "value": "db"}]);
    assert_eq!(
        restored(&known).pod,
        json!({"spec": {"containers": [{"name": "db", "image": "x"}]}})
    );
}

#[test]
fn a_volume_in_use_stays_and_a_pull_secret_that_may_be_the_pods_is_told() {
    let status =
        r#"{"containers":["istio-proxy"],"volumes":["certs","data"],"imagePullSecrets":["pull"]}"#;
    let mut pod = recorded(status, &["web", "istio-proxy"]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "certs", "mountPath": "/c"}]);
    pod["spec"]["volumes"] = json!([{"name": "certs"}, {"name": "data"}]);
    pod["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    let Uninjected { pod, doubts } = restored(&pod);
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "certs"}]));
    assert_eq!(pod["spec"].get("imagePullSecrets"), None);
    let doubts: Vec<_> = doubts.iter().map(ToString::to_string).collect();
    assert_eq!(
        doubts,
        [
            "volume certs stays, because container web mounts it",
            "image pull secret pull is removed, which the pod may have had before"
        ]
    );
}

#[test]
fn what_has_no_place_any_more_is_told() {
    let status =
        r#"{"containers":["istio-proxy"],"restore":{"set":{"/spec/containers/gone/image":"x"}}}"#;
    let Uninjected { doubts, .. } = restored(&recorded(status, &["web", "istio-proxy"]));
    let path = "/spec/containers/gone/image".to_owned();
    assert_eq!(doubts, [Doubt::Lost { path }]);
}

#[test]
fn a_record_that_is_damaged_or_takes_the_application_is_refused() {
    let chain = |pod: &Value| match uninject(pod) {
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        }
        other => panic!("accepted: {other:?}"),
    };
    let mut overrides = recorded("{}", &["web"]);
    overrides["metadata"]["annotations"]["proxy.istio.io/overrides"] = json!("[");
    let mut shape = recorded("{}", &["web"]);
    shape["metadata"]["annotations"]["sidecar.istio.io/status"] = json!({});
    for (pod, part) in [
        (recorded("", &["web"]), "status is damaged"),
        (
            recorded("{\"containers\":5}", &["web"]),
            "expected a sequence",
        ),
        (recorded("{\"restore\":[1]}", &["web"]), "status is damaged"),
        (overrides, "proxy.istio.io/overrides is damaged"),
        (shape, "must be a string"),
        (
            recorded("{\"containers\":[\"istio-proxy\"]}", &["istio-proxy"]),
            "every container removed",
        ),
        (
            recorded(
                "{\"containers\":[\"web\"],\"restore\":{\"remove\":[\"/spec/containers/web\"]}}",
                &["web"],
            ),
            "every container removed",
        ),
        (
            recorded("{\"restore\":{\"set\":{\"/spec\":{}}}}", &["web"]),
            "container web removed",
        ),
        (
            recorded("{\"restore\":{\"set\":{\"\":null}}}", &["web"]),
            "container web removed",
        ),
    ] {
        let message = chain(&pod);
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(matches!(
        uninject(&recorded("x", &["web"])),
        Err(UninjectError::Status { .. })
    ));
}

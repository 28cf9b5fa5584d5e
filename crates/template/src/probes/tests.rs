//! Each kind of check, by table.

use super::*;

const STATUS_PORT: u16 = 15020;

fn pod(container: &Value) -> Value {
    json!({"spec": {
        "initContainers": [{"name": "istio-proxy", "env": [{"name": "POD_NAME", "value": "x"}]}],
        "containers": [container],
    }})
}

fn records(pod: &Value) -> Value {
    let variables = pod["spec"]["initContainers"][0]["env"].as_array().unwrap();
    let text = variables
        .iter()
        .find(|variable| variable["name"] == env::KUBE_APP_PROBERS);
    text.map_or(Value::Null, |variable| {
        serde_json::from_str(variable["value"].as_str().unwrap()).unwrap()
    })
}

#[track_caller]
fn check(container: &Value, expected: &Value, expected_records: &Value) {
    let mut pod = pod(container);
    assert_eq!(rewrite(&mut pod, STATUS_PORT), []);
    assert_eq!(&pod["spec"]["containers"][0], expected);
    assert_eq!(&records(&pod), expected_records);
    let once = pod.clone();
    assert_eq!(rewrite(&mut pod, STATUS_PORT), []);
    assert_eq!(pod, once, "a second time changes nothing");
}

#[test]
fn an_http_probe_keeps_its_headers_and_timing_and_asks_the_sidecar() {
    let original = json!({"path": "/ok", "port": 8443, "scheme": "HTTPS", "httpHeaders": [{"name": "a", "value": "b"}]});
    check(
        &json!({"name": "web", "readinessProbe": {"httpGet": original, "timeoutSeconds": 3, "periodSeconds": 7}}),
        &json!({"name": "web", "readinessProbe": {
            "httpGet": {
                "path": "/app-health/web/readyz", "port": STATUS_PORT, "scheme": "HTTP",
                "httpHeaders": [{"name": "a", "value": "b"}],
            },
            "timeoutSeconds": 3, "periodSeconds": 7,
        }}),
        &json!({"/app-health/web/readyz": {"httpGet": original, "timeoutSeconds": 3}}),
    );
}

#[test]
fn tcp_and_grpc_probes_become_http() {
    check(
        &json!({"name": "db", "livenessProbe": {"tcpSocket": {"port": 5432}}, "startupProbe": {"grpc": {"port": 9000, "service": "s"}}}),
        &json!({
            "name": "db",
            "livenessProbe": {"httpGet": {"path": "/app-health/db/livez", "port": STATUS_PORT}},
            "startupProbe": {"httpGet": {"path": "/app-health/db/startupz", "port": STATUS_PORT}},
        }),
        &json!({
            "/app-health/db/livez": {"tcpSocket": {"port": 5432}},
            "/app-health/db/startupz": {"grpc": {"port": 9000, "service": "s"}},
        }),
    );
}

#[test]
fn lifecycle_handlers_are_rewritten_without_a_timeout() {
    check(
        &json!({"name": "web", "lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": 80}}, "postStart": {"exec": {"command": ["x"]}}}}),
        &json!({"name": "web", "lifecycle": {
            "preStop": {"httpGet": {"path": "/app-lifecycle/web/prestopz", "port": STATUS_PORT}},
            "postStart": {"exec": {"command": ["x"]}},
        }}),
        &json!({"/app-lifecycle/web/prestopz": {"httpGet": {"path": "/bye", "port": 80}}}),
    );
}

#[test]
fn a_named_port_is_the_containers_own() {
    let ports =
        json!([{"name": "admin", "containerPort": 9}, {"name": "http", "containerPort": 8080}]);
    check(
        &json!({"name": "web", "ports": ports, "readinessProbe": {"httpGet": {"port": "http"}}, "livenessProbe": {"tcpSocket": {"port": "9"}}}),
        &json!({
            "name": "web", "ports": ports,
            "readinessProbe": {"httpGet": {"path": "/app-health/web/readyz", "port": STATUS_PORT}},
            "livenessProbe": {"httpGet": {"path": "/app-health/web/livez", "port": STATUS_PORT}},
        }),
        &json!({
            "/app-health/web/readyz": {"httpGet": {"port": 8080}},
            "/app-health/web/livez": {"tcpSocket": {"port": 9}},
        }),
    );
}

#[test]
fn a_port_name_that_nothing_bears_is_told_and_the_probe_left() {
    let container =
        json!({"name": "web", "readinessProbe": {"httpGet": {"path": "/", "port": "htpp"}}});
    let mut pod = pod(&container);
    let untouched = rewrite(&mut pod, STATUS_PORT);
    assert_eq!(untouched.len(), 1);
    assert!(
        untouched[0].to_string().contains("htpp"),
        "{}",
        untouched[0]
    );
    assert_eq!(pod["spec"]["containers"][0], container);
    assert_eq!(records(&pod), Value::Null);
}

#[test]
fn commands_odd_shapes_and_the_sidecar_itself_are_left_alone() {
    for container in [
        json!({"name": "web", "readinessProbe": {"exec": {"command": ["true"]}}}),
        json!({"name": "istio-proxy", "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}}}),
        json!({"name": "web", "readinessProbe": "x", "lifecycle": []}),
        json!({"name": 7, "readinessProbe": {"httpGet": {"port": 80}}}),
        json!("x"),
    ] {
        check(&container, &container.clone(), &Value::Null);
    }
}

#[test]
fn without_sidecar_or_status_port_nothing_is_rewritten() {
    let container = json!({"name": "web", "readinessProbe": {"httpGet": {"port": 80}}});
    let mut alone = json!({"spec": {"containers": [container]}});
    let before = alone.clone();
    rewrite(&mut alone, STATUS_PORT);
    assert_eq!(alone, before);
    let mut disabled = pod(&container);
    let before = disabled.clone();
    rewrite(&mut disabled, 0);
    assert_eq!(disabled, before);
}

#[test]
fn what_an_earlier_injection_recorded_stays() {
    let mut pod = pod(&json!({"name": "web", "readinessProbe": {"httpGet": {"port": 80}}}));
    rewrite(&mut pod, STATUS_PORT);
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "late", "livenessProbe": {"tcpSocket": {"port": 1}}}));
    rewrite(&mut pod, STATUS_PORT);
    assert_eq!(
        records(&pod),
        json!({
            "/app-health/late/livez": {"tcpSocket": {"port": 1}},
            "/app-health/web/readyz": {"httpGet": {"port": 80}},
        })
    );
}

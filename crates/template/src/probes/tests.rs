//! Each kind of handler, by table.

use super::*;

const STATUS_PORT: u16 = 15020;

fn pod(container: &Value) -> Value {
    json!({"spec": {"initContainers": [{"name": "istio-proxy"}], "containers": [container]}})
}

/// Rewrites without warnings; gives the instructions.
#[track_caller]
fn rewritten(pod: &mut Value, known: Option<&str>) -> Option<String> {
    let mut warnings = Vec::new();
    let instructions = rewrite(pod, STATUS_PORT, known, &mut warnings);
    assert_eq!(warnings, []);
    instructions
}

fn parsed(instructions: Option<&str>) -> Value {
    instructions.map_or(Value::Null, |text| {
        serde_json::from_str(text).expect("it is JSON")
    })
}

#[track_caller]
fn check(container: &Value, expected: &Value, expected_instructions: &Value) {
    let mut pod = pod(container);
    let instructions = rewritten(&mut pod, None);
    assert_eq!(&pod["spec"]["containers"][0], expected);
    assert_eq!(&parsed(instructions.as_deref()), expected_instructions);
    let once = pod.clone();
    assert_eq!(rewritten(&mut pod, instructions.as_deref()), instructions);
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
    let mut warnings = Vec::new();
    assert_eq!(rewrite(&mut pod, STATUS_PORT, None, &mut warnings), None);
    let expected = Warning::UnknownPort {
        container: "web".to_owned(),
        field: "readinessProbe",
        port: "htpp".to_owned(),
    };
    assert_eq!(warnings, [expected]);
    assert_eq!(pod["spec"]["containers"][0], container);
}

#[test]
fn commands_odd_shapes_and_the_sidecar_itself_are_left_alone() {
    for container in [
        json!({"name": "web", "readinessProbe": {"exec": {"command": ["true"]}}}),
        json!({"name": "web", "readinessProbe": {"httpGet": {"path": "/", "port": STATUS_PORT}}}),
        json!({"name": "istio-proxy", "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}}}),
        json!({"name": "web", "readinessProbe": "x", "lifecycle": []}),
        json!({"name": "web", "readinessProbe": {"httpGet": null}}),
    ] {
        check(&container, &container.clone(), &Value::Null);
    }
}

#[test]
fn what_an_earlier_injection_recorded_stays_and_follows_the_port() {
    let mut pod = pod(&json!({"name": "web", "readinessProbe": {"httpGet": {"port": 80}}}));
    let first = rewritten(&mut pod, None);
    let late = json!({"name": "late", "livenessProbe": {"tcpSocket": {"port": 1}}});
    pod["spec"]["containers"]
        .as_array_mut()
        .expect("a list")
        .push(late);
    let second = rewrite(&mut pod, 15099, first.as_deref(), &mut Vec::new());
    assert_eq!(
        parsed(second.as_deref()),
        json!({
            "/app-health/late/livez": {"tcpSocket": {"port": 1}},
            "/app-health/web/readyz": {"httpGet": {"port": 80}},
        })
    );
    assert_eq!(
        pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"],
        15099
    );
}

use proptest::prelude::*;

use super::*;

fn line(http: Option<Http<'_>>) -> Line<'_> {
    Line {
        started: UNIX_EPOCH + Duration::from_millis(1_795_237_567_089),
        http,
        status: if http.is_some() { 200 } else { 0 },
        flags: "-",
        details: http.map(|_| "via_upstream"),
        termination: None,
        transport_failure: None,
        bytes_received: 3,
        bytes_sent: 12,
        duration: Duration::from_micros(7_900),
        upstream_time: http.map(|_| Duration::from_millis(6)),
        upstream_host: Some(([10, 0, 0, 2], 80).into()),
        upstream_local: Some(([10, 0, 0, 1], 40_000).into()),
        cluster: Cluster::Named("PassthroughCluster"),
        downstream_local: ([10, 0, 0, 2], 80).into(),
        downstream_remote: ([10, 0, 0, 1], 50_000).into(),
        server_name: None,
        route: http.map(|_| "allow_any"),
    }
}

fn written(line: &Line<'_>, format: fn(&Line<'_>, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    format(line, &mut out);
    String::from_utf8(out).unwrap()
}

const REQUEST: Http<'_> = Http {
    method: b"GET",
    path: b"/path?q",
    protocol: "HTTP/1.1",
    forwarded_for: b"",
    user_agent: b"wget",
    request_id: b"7",
    authority: b"shop",
};

#[test]
fn a_request_is_written_in_istios_default_order() {
    assert_eq!(
        written(&line(Some(REQUEST)), text),
        "[2026-11-21T05:06:07.089Z] \"GET /path?q HTTP/1.1\" 200 - via_upstream - \"-\" 3 12 7 6 \"-\" \"wget\" \"7\" \"shop\" \
         \"10.0.0.2:80\" PassthroughCluster 10.0.0.1:40000 10.0.0.2:80 10.0.0.1:50000 - allow_any\n"
    );
}

#[test]
fn an_opaque_connection_is_written_with_dashes() {
    let mut connection = line(None);
    connection.cluster = Cluster::Inbound(5432);
    assert_eq!(
        written(&connection, text),
        "[2026-11-21T05:06:07.089Z] \"- - -\" 0 - - - \"-\" 3 12 7 - \"-\" \"-\" \"-\" \"-\" \
         \"10.0.0.2:80\" inbound|5432|| 10.0.0.1:40000 10.0.0.2:80 10.0.0.1:50000 - -\n"
    );
}

#[test]
fn an_object_has_istios_keys() {
    let parsed: serde_json::Value =
        serde_json::from_str(&written(&line(Some(REQUEST)), json)).unwrap();
    assert_eq!(
        parsed,
        serde_json::json!({
            "start_time": "2026-11-21T05:06:07.089Z", "method": "GET", "path": "/path?q", "protocol": "HTTP/1.1",
            "response_code": 200, "response_flags": "-", "response_code_details": "via_upstream",
            "connection_termination_details": null, "upstream_transport_failure_reason": null,
            "bytes_received": 3, "bytes_sent": 12, "duration": 7, "upstream_service_time": 6,
            "x_forwarded_for": null, "user_agent": "wget", "request_id": "7", "authority": "shop",
            "upstream_host": "10.0.0.2:80", "upstream_cluster": "PassthroughCluster",
            "upstream_local_address": "10.0.0.1:40000", "downstream_local_address": "10.0.0.2:80",
            "downstream_remote_address": "10.0.0.1:50000", "requested_server_name": null, "route_name": "allow_any",
        })
    );
}

#[test]
fn what_tls_has_to_say_is_in_both_formats() {
    let line = Line {
        cluster: Cluster::Outbound(80, "web.shop.svc.cluster.local"),
        termination: Some("connect_failed"),
        transport_failure: Some("certificate \"x\" has expired"),
        server_name: Some("outbound_.80_._.web.shop\n"),
        ..line(Some(REQUEST))
    };
    assert_eq!(
        written(&line, text),
        "[2026-11-21T05:06:07.089Z] \"GET /path?q HTTP/1.1\" 200 - via_upstream connect_failed \
         \"certificate \\\"x\\\" has expired\" 3 12 7 6 \"-\" \"wget\" \"7\" \"shop\" \"10.0.0.2:80\" \
         outbound|80||web.shop.svc.cluster.local 10.0.0.1:40000 10.0.0.2:80 10.0.0.1:50000 \
         outbound_.80_._.web.shop\\x0a allow_any\n"
    );
    let object: serde_json::Value = serde_json::from_str(&written(&line, json)).unwrap();
    for (name, expect) in [
        (
            "upstream_cluster",
            "outbound|80||web.shop.svc.cluster.local",
        ),
        ("connection_termination_details", "connect_failed"),
        (
            "upstream_transport_failure_reason",
            "certificate \"x\" has expired",
        ),
        ("requested_server_name", "outbound_.80_._.web.shop\n"),
    ] {
        assert_eq!(object[name], expect, "{name}");
    }
}

#[test]
fn long_values_are_cut() {
    let path = vec![b'a'; 5000];
    let shown = written(
        &line(Some(Http {
            path: &path,
            ..REQUEST
        })),
        text,
    );
    assert!(
        shown.contains(&format!("{}... HTTP/1.1", "a".repeat(1024))),
        "{shown}"
    );
}

#[test]
fn days_become_dates() {
    let table = [
        (0, (1970, 1, 1)),
        (59, (1970, 3, 1)),
        (11_016, (2000, 2, 29)),
        (20_453, (2025, 12, 31)),
        (47_540, (2100, 2, 28)),
        (47_541, (2100, 3, 1)),
    ];
    for (days, date) in table {
        assert_eq!(civil(days), date, "day {days}");
    }
}

proptest! {
    #[test]
    fn nobody_can_forge_a_line(user_agent in proptest::collection::vec(any::<u8>(), 1..60)) {
        let line = line(Some(Http { user_agent: &user_agent, ..REQUEST }));
        let shown = written(&line, text);
        prop_assert_eq!(shown.matches('\n').count(), 1);
        let quotes = shown.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        prop_assert_eq!(quotes, written(&self::line(Some(REQUEST)), text).matches('"').count());
        let object: serde_json::Value = serde_json::from_str(&written(&line, json)).unwrap();
        let expect: String = user_agent.iter().map(|byte| char::from(*byte)).collect();
        prop_assert_eq!(object["user_agent"].as_str(), Some(expect.as_str()));
    }
}

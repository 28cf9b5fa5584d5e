//! The admin port as somebody in the pod meets it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

#[path = "cli/program.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod program;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;
use testkit::process::eventually;

use program::{Agent, LIMIT, post};

const MESH: &str = "\
settings: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
peerAuthentication: {mode: STRICT}
services:
- name: web
  namespace: shop
  addresses: [10.96.0.1]
  ports: [{servicePort: 80, targetPort: 8080, name: http}]
workloads:
- name: web-0
  namespace: shop
  addresses: [10.1.0.1, 'fd00::1']
  serviceAccount: front
  tunnelProtocol: LEGACY_ISTIO_MTLS
  services: {shop/web.shop.svc.cluster.local: {}}
- name: web-1
  namespace: shop
  addresses: [10.1.0.2]
  status: UNHEALTHY
  services: {shop/web.shop.svc.cluster.local: {}}
";

/// An agent of pod web-0, and the file of its mesh.
fn start(args: &[&str]) -> (Agent, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.yaml");
    fs::write(&file, MESH).unwrap();
    let mesh = format!("--local-mesh={}", file.display());
    let own = ["--pod-namespace=shop", "--instance-ip=10.1.0.1", &mesh];
    (Agent::start(&[&own, args].concat()), folder)
}

/// Status and body of the answer to `method path`, asked under the name `host`.
fn ask(address: SocketAddr, method: &str, path: &str, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn get(agent: &Agent, path: &str) -> String {
    let (status, body) = ask(agent.admin, "GET", path, "localhost");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn json(agent: &Agent, path: &str) -> Value {
    serde_json::from_str(&get(agent, path)).unwrap()
}

#[test]
fn the_dump_shows_settings_and_the_picture_of_the_mesh() {
    let probe = r#"{"/app-health/web/readyz":{"httpGet":{"port":80,"httpHeaders":[{"name":"Authorization","value":"secret"}]}}}"#;
    let (agent, _folder) = start(&["--app-probers", probe, "--drain-duration=7s"]);
    let dump = json(&agent, "/config_dump");
    assert_eq!(dump["agent"]["drain"]["fixed_ms"], 7000);
    assert_eq!(dump["agent"]["probes"], 1);
    assert_eq!(dump["agent"]["addresses"][0], "10.1.0.1");
    assert_eq!(dump["settings"]["outbound_policy"], "REGISTRY_ONLY");
    let service = &dump["services"][0];
    assert_eq!(service["hostname"], "web.shop.svc.cluster.local");
    assert_eq!(service["protocol"], "http");
    assert_eq!(service["endpoints"][0]["transport"], "istio-mtls");
    assert_eq!(service["aside"][0]["address"], "10.1.0.2:8080");
    assert_eq!(
        dump["workloads"][0]["identity"],
        "spiffe://cluster.local/ns/shop/sa/front"
    );
    assert_eq!(dump["workloads"][0]["own"], true);
    assert_eq!(dump["inbound"][0]["port"], 8080);
    assert_eq!(dump["inbound"][0]["mtls"], "STRICT");
    assert!(!dump.to_string().contains("secret"));
    let part = json(&agent, "/config_dump?resource=inbound");
    assert_eq!(part["inbound"], dump["inbound"]);
    assert!(part["services"].is_null());
}

#[test]
fn endpoints_are_listed_in_both_forms_of_envoy() {
    let (agent, _folder) = start(&[]);
    let page = get(&agent, "/clusters");
    let cluster = "outbound|80||web.shop.svc.cluster.local";
    for line in [
        format!("{cluster}::10.1.0.1:8080::rq_active::0\n"),
        format!("{cluster}::[fd00::1]:8080::health_flags::healthy\n"),
        format!("{cluster}::10.1.0.2:8080::health_flags::/failed_eds_health\n"),
    ] {
        assert!(page.contains(&line), "{page}");
    }
    let clusters = json(&agent, "/clusters?format=json");
    let cluster_status = &clusters["cluster_statuses"][0];
    assert_eq!(cluster_status["name"], cluster);
    let address = &cluster_status["host_statuses"][0]["address"]["socket_address"];
    assert_eq!(address["address"], "10.1.0.1");
    assert_eq!(address["port_value"], 8080);
}

#[test]
fn logs_are_switched_while_the_agent_runs() {
    let (agent, _folder) = start(&[]);
    assert_eq!(
        get(&agent, "/logging"),
        "level: default:info\naccess_log: off\n"
    );
    let change = "/logging?level=agent:debug&access_log=json";
    let (status, body) = ask(agent.admin, "POST", change, "localhost:15000");
    assert_eq!(status, 200);
    assert_eq!(body, "level: default:info,agent:debug\naccess_log: json\n");
    // The refusal of a foreign name is told at debug.
    ask(agent.admin, "GET", "/ready", "evil.example");
    assert!(eventually(LIMIT, || agent
        .log()
        .contains("only this pod may ask")));
    for (method, path, advice) in [
        ("POST", "/logging?level=loud", "unknown log level `loud`"),
        ("POST", "/logging?agnet=debug", "`agnet` is not possible"),
        ("GET", "/logging?level=info", "send POST"),
    ] {
        let (status, body) = ask(agent.admin, method, path, "localhost");
        assert_eq!(status, 400, "{body}");
        assert!(body.contains(advice), "{body}");
    }
    assert_eq!(get(&agent, "/logging"), body);
}

#[test]
fn the_other_pages_answer_as_envoys() {
    let (agent, _folder) = start(&[]);
    assert!(get(&agent, "/ready").starts_with("ready\n"));
    assert_eq!(json(&agent, "/server_info")["state"], "LIVE");
    assert_eq!(
        json(&agent, "/certs")["certificates"],
        Value::Array(Vec::new())
    );
    assert!(get(&agent, "/stats/prometheus").contains("istio_build"));
    let help = get(&agent, "/");
    for page in [
        "/config_dump",
        "/clusters",
        "/certs",
        "/logging",
        "/quitquitquit",
    ] {
        assert!(help.contains(page), "{help}");
    }
}

#[test]
fn what_is_asked_wrongly_is_refused_with_advice() {
    let (agent, _folder) = start(&[]);
    for (method, path, host, status) in [
        ("GET", "/nothing", "localhost", 404),
        ("POST", "/config_dump", "localhost", 405),
        ("GET", "/quitquitquit", "localhost", 405),
        ("PUT", "/logging", "localhost", 405),
        ("GET", "/config_dump?resource=all", "localhost", 400),
        ("GET", "/clusters?format=xml", "localhost", 400),
        ("GET", "/config_dump", "evil.example:15000", 403),
        ("POST", "/quitquitquit", "evil.example", 403),
        ("GET", "http://evil.example/ready", "localhost", 403),
        ("GET", "/ready", "127.0.0.1:15000", 200),
        ("GET", "/ready", "[::1]:15000", 200),
    ] {
        let (answered, body) = ask(agent.admin, method, path, host);
        assert_eq!(answered, status, "{method} {path} {host}: {body}");
    }
}

#[test]
fn nobody_is_answered_on_addresses_other_than_loopback() {
    let (agent, _folder) = start(&[]);
    let port = agent.admin.port();
    // All of 127/8 is loopback, and only one address of it was bound.
    let other = SocketAddr::from(([127, 0, 0, 2], port));
    assert!(TcpStream::connect(other).is_err());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let everywhere = format!("00000000:{port:04X}");
    assert!(!table.contains(&everywhere), "{table}");
}

#[test]
fn draining_and_quitting_work_as_on_the_status_port() {
    let (mut agent, _folder) = start(&["--drain-duration=60s"]);
    assert_eq!(post(agent.admin, "/drain_listeners").unwrap(), 200);
    let (status, body) = ask(agent.admin, "GET", "/ready", "localhost");
    assert_eq!((status, body.as_str()), (503, "not ready: draining\n"));
    assert_eq!(json(&agent, "/server_info")["state"], "DRAINING");
    assert_eq!(post(agent.admin, "/quitquitquit").unwrap(), 200);
    assert!(agent.process.wait(LIMIT).unwrap().success());
}

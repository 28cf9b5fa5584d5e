//! What is said of wrong files, and what becomes of files that change.

use std::{fs, os::unix::fs::symlink, path::Path};

use prometheus_client::{encoding::text, registry::Registry};
use runtime::readiness::Readiness;

use super::*;
use crate::files::Metrics;

const GOOD: &str = "\
services:
- name: web
  namespace: shop
  ports: [{servicePort: 80}]
";

fn own() -> Own {
    Own::new("shop", "web")
}

fn complaints(text: &str) -> Vec<String> {
    let complaints = parse(text, &own(), None).unwrap_err();
    complaints.iter().map(ToString::to_string).collect()
}

/// The file, and a voice with where it is heard.
struct Fixture {
    local: LocalMesh,
    voice: Voice,
    readiness: Readiness,
    registry: Registry,
}

impl Fixture {
    fn new(path: &Path) -> Self {
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        Self {
            local: LocalMesh::start(path.to_owned(), own()).unwrap(),
            voice: Voice::new("local-mesh", Metrics::register(&mut registry), &readiness),
            readiness,
            registry,
        }
    }

    fn poll(&mut self) -> Change {
        self.local.poll(&self.voice)
    }

    fn knows(&self, name: &str) -> bool {
        let mesh = self.local.store().current();
        mesh.service_named(name.as_bytes(), 80).is_some()
    }

    fn metrics(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).unwrap();
        page
    }
}

#[test]
fn yaml_and_json_are_read() {
    let json =
        r#"{"services": [{"name": "web", "namespace": "shop", "ports": [{"servicePort": 80}]}]}"#;
    for text in [GOOD, json] {
        let mesh = parse(text, &own(), None).unwrap();
        assert!(mesh.service_named(b"web", 80).is_some());
    }
    assert!(parse("{}", &own(), None).is_ok());
}

#[test]
fn addresses_are_texts_or_the_messages_of_discovery() {
    let text = "\
services:
- name: web
  namespace: shop
  addresses: [10.96.0.1, 'fd00::1', {address: 10.96.0.2, network: ''}]
  ports: [{servicePort: 80}]
";
    let mesh = parse(text, &own(), None).unwrap();
    for address in ["10.96.0.1:80", "[fd00::1]:80", "10.96.0.2:80"] {
        assert!(
            mesh.service_at(address.parse().unwrap()).is_some(),
            "{address}"
        );
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let complaints = complaints(text);
    assert!(
        complaints[0].starts_with(expected),
        "{text}{complaints:#?}\ninstead of\n{expected}"
    );
}

#[test]
fn what_is_wrong_with_a_service_is_told_with_line_column_and_field() {
    let service = |lines: &str| format!("services:\n- name: web\n  namespace: shop\n{lines}");
    let table = [
        (
            service("  prots: []\n"),
            "4:3: services[0].prots: unknown field `prots`, expected one of name, namespace,",
        ),
        (
            service("  ports:\n  - servicePort: 70000\n"),
            "5:18: services[0].ports[0].servicePort: invalid value: integer `70000`, expected a port number from 1 to 65535",
        ),
        (
            service("  ports:\n  - servicePort: http\n"),
            "5:18: services[0].ports[0].servicePort: invalid value: string \"http\", expected a port number",
        ),
        (
            service("  ports:\n  - name: http\n    servicePort: 80\n    targetPort: -1\n"),
            "7:17: services[0].ports[0].targetPort: invalid type: integer `-1`, expected a port number",
        ),
        (
            service("  ports:\n  - name: http\n"),
            "5:5: services[0].ports[0]: missing field `servicePort`",
        ),
        (
            service("  addresses: [10.0.0]\n"),
            "4:15: services[0].addresses[0]: invalid value: string \"10.0.0\", expected an IP address such as",
        ),
        (
            service("  addresses: [{network: other, address: 10.0.0.1}]\n"),
            "4:15: services[0].addresses[0]: only addresses of the own network can be reached",
        ),
        (
            service("  name: again\n"),
            "4:3: services[0].name: duplicate mapping key",
        ),
        (
            service("  hostname: a b\n"),
            "4:13: services[0].hostname: `a b` is not a host name",
        ),
    ];
    for (text, expected) in table {
        check(&text, expected);
    }
}

#[test]
fn what_is_wrong_with_settings_or_syntax_is_told_likewise() {
    let table = [
        (
            "settings:\n  outboundTrafficPolicy: {mode: ANY}\n",
            "2:33: settings.outboundTrafficPolicy.mode: unknown variant `ANY`, expected one of ALLOW_ANY, REGISTRY_ONLY",
        ),
        (
            "settings:\n  connectTimeout: 5\n",
            "2:19: settings.connectTimeout: `5` is no duration, give numbers with units",
        ),
        (
            "peerAuthentication:\n  workloads:\n    shop/wbe: {mode: STRICT}\n",
            "3:15: peerAuthentication.workloads[\"shop/wbe\"]: there is no workload `shop/wbe`, only shop/web",
        ),
        (
            "peerAuthentication:\n  mode: strict\n",
            "2:9: peerAuthentication.mode: unknown variant `strict`, expected one of STRICT, PERMISSIVE, DISABLE",
        ),
        ("settings: {\n", "1:11: unclosed bracket"),
        ("services: web\n", "1:11: services: expected sequence start"),
        ("- a\n", "1:1: expected mapping start"),
        ("{}\n---\n{}\n", "3:1: "),
    ];
    for (text, expected) in table {
        check(text, expected);
    }
}

#[test]
fn several_complaints_come_in_the_order_of_the_text() {
    let text = "\
workloads:
- name: a/b
  namespace: shop
  addresses: [10.0.0.1]
- name: b
  namespace: shop
  addresses: [10.0.0.1]
services:
- name: a b
  namespace: shop
";
    let complaints = complaints(text);
    let lines: Vec<&str> = complaints
        .iter()
        .filter_map(|complaint| complaint.split(':').next())
        .collect();
    assert_eq!(lines, ["2", "7", "9"], "{complaints:#?}");
}

#[test]
fn texts_made_to_exhaust_are_refused() {
    let deep = "[".repeat(100_000);
    let mut bomb = "a0: &a0 [x]\n".to_owned();
    for level in 1..30 {
        let below = level - 1;
        bomb.push_str(&format!(
            "a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n"
        ));
    }
    for text in [
        deep,
        bomb,
        "\u{0}".to_owned(),
        "*a".to_owned(),
        "!!binary x".to_owned(),
    ] {
        assert!(parse(&text, &own(), None).is_err());
    }
}

#[test]
fn a_start_without_a_good_file_fails_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    };
    let table = [
        (dir.path().join("absent"), "cannot read"),
        (dir.path().to_owned(), "is not a file"),
        ("/dev/zero".into(), "is not a file"),
        (file("empty", b" \n"), "is empty, write {} if"),
        (
            file("binary", b"a: \xff"),
            "is not text in UTF-8, byte 3 is wrong",
        ),
        (
            file("large", &vec![b' '; (8 << 20) + 1]),
            "is larger than 8 MiB",
        ),
        (
            file("wrong", b"services:\n- name: a\n"),
            "wrong:2:3: services[0]: missing field `namespace`",
        ),
    ];
    for (path, expected) in table {
        let error = LocalMesh::start(path, own()).unwrap_err();
        let error = chain(&error).to_string();
        assert!(error.contains(expected), "{error}\ninstead of\n{expected}");
        assert!(
            error.contains("--local-mesh (env AGENT_LOCAL_MESH)"),
            "{error}"
        );
    }
}

#[test]
fn a_change_counts_once_it_has_been_seen_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.yaml");
    fs::write(&path, GOOD).unwrap();
    let mut fixture = Fixture::new(&path);
    assert!(fixture.knows("web"));
    assert_eq!(fixture.poll(), Change::None);

    // A writer that is interrupted between two looks.
    fs::write(&path, "services:").unwrap();
    assert_eq!(fixture.poll(), Change::Pending);
    fs::write(&path, GOOD.replace("web", "api")).unwrap();
    assert_eq!(fixture.poll(), Change::Pending);
    assert!(fixture.knows("web"));
    assert_eq!(fixture.poll(), Change::Accepted);
    assert!(fixture.knows("api") && !fixture.knows("web"));
    assert_eq!(fixture.poll(), Change::None);
}

#[test]
fn a_refused_change_leaves_the_last_good_mesh_and_is_told_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.yaml");
    fs::write(&path, GOOD).unwrap();
    let mut fixture = Fixture::new(&path);
    for (contents, reason) in [
        (Some("services: 1\n"), "1:11: services"),
        (Some(""), "is empty"),
        (None, "cannot read"),
    ] {
        match contents {
            Some(contents) => fs::write(&path, contents).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(fixture.poll(), Change::Pending);
        assert_eq!(fixture.poll(), Change::Refused);
        assert_eq!(fixture.poll(), Change::None);
        assert!(fixture.knows("web"));
        let report = fixture.readiness.report();
        assert!(report.ready);
        let detail = &report.details["local-mesh"];
        assert!(
            detail.starts_with("refused, the last good one is in use: ") && detail.contains(reason),
            "{detail}"
        );
        assert!(!detail.contains('\n'), "{detail}");
        assert!(
            fixture
                .metrics()
                .contains("minimesh_agent_files_refused{files=\"local-mesh\"} 1")
        );
    }
    fs::write(&path, GOOD).unwrap();
    assert_eq!(
        (fixture.poll(), fixture.poll()),
        (Change::Pending, Change::Accepted)
    );
    assert!(fixture.readiness.report().details.is_empty());
    let metrics = fixture.metrics();
    for line in [
        "minimesh_agent_files_refused{files=\"local-mesh\"} 0",
        "minimesh_agent_files_loads_total{files=\"local-mesh\",result=\"refused\"} 3",
        "minimesh_agent_files_loads_total{files=\"local-mesh\",result=\"accepted\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// The kubelet writes a new directory, and moves a symbolic link to it over the old one.
#[test]
fn a_mounted_config_map_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let publish = |version: &str, contents: &str| {
        let data = dir.path().join(version);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("mesh.yaml"), contents).unwrap();
        symlink(version, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    publish("..1", GOOD);
    let path = dir.path().join("mesh.yaml");
    symlink("..data/mesh.yaml", &path).unwrap();
    let mut fixture = Fixture::new(&path);
    publish("..2", &GOOD.replace("web", "api"));
    fs::remove_dir_all(dir.path().join("..1")).unwrap();
    assert_eq!(
        (fixture.poll(), fixture.poll()),
        (Change::Pending, Change::Accepted)
    );
    assert!(fixture.knows("api"));
}

#[tokio::test]
async fn a_change_arrives_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.yaml");
    fs::write(&path, GOOD).unwrap();
    let Fixture { local, voice, .. } = Fixture::new(&path);
    let store = local.store().clone();
    let written = async {
        let next = dir.path().join("next");
        fs::write(&next, GOOD.replace("web", "api")).unwrap();
        fs::rename(&next, &path).unwrap();
        while store.load().service_named(b"api", 80).is_none() {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        ended = local.run(voice, |_| {}) => panic!("{ended:?}"),
        () = written => {}
        () = time::sleep(Duration::from_secs(30)) => panic!("the change is not seen"),
    }
}

/// The example of the reference page.
#[test]
fn the_documented_example_is_a_mesh() {
    let page = include_str!("../../../../../docs/reference/local-mesh.md");
    let example = page.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let mut own = own();
    own.addresses.push("10.244.1.5".parse().unwrap());
    let mesh = parse(example, &own, None).unwrap_or_else(|complaints| panic!("{complaints:#?}"));
    assert_eq!(
        mesh.settings().outbound_policy,
        crate::mesh::OutboundPolicy::RegistryOnly
    );
    let api = mesh.service_named(b"api", 80).unwrap();
    assert_eq!(api.endpoints.len(), 2);
    assert_eq!(api.aside[0].address.port(), 8081);
    assert_eq!(mesh.inbound(8080).mtls, crate::mesh::MtlsMode::Strict);
    assert_eq!(mesh.inbound(9090).mtls, crate::mesh::MtlsMode::Permissive);
    assert!(
        mesh.endpoint_at("10.244.1.7:3306".parse().unwrap())
            .is_some()
    );
}

//! Which models no mesh is made of, and what is said about them.

use serde_json::{Value, json};

use super::{model, own, shop};
use crate::mesh::{Mesh, problem};

/// One change that makes a good model a bad one, and the begin of what is said of it.
type Case = (fn(&mut Value), &'static str);

const DB: &str = "shop/db.shop.svc.cluster.local";

fn problems(value: Value) -> Vec<String> {
    let problems = Mesh::build(&model(value), &own(), None).unwrap_err();
    problems.0.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(table: &[Case]) {
    for (edit, expected) in table {
        let mut value = shop();
        edit(&mut value);
        let problems = problems(value);
        assert!(
            problems[0].starts_with(expected),
            "{problems:#?}\ninstead of\n{expected}"
        );
        assert_eq!(problems.len(), 1, "{problems:#?}");
    }
}

#[test]
fn what_is_wrong_with_services_is_told_with_its_place_and_what_is_allowed() {
    check(&[
        (
            |v| v["services"][0]["name"] = json!("a/b"),
            "services[0].name: `a/b` is not a name of",
        ),
        (
            |v| v["services"][0]["namespace"] = json!(""),
            "services[0].namespace: `` is not a name of",
        ),
        (
            |v| v["services"][2]["hostname"] = json!("a b"),
            "services[2].hostname: `a b` is not a host name such as",
        ),
        (
            |v| v["services"][2] = v["services"][0].clone(),
            "services[2]: `shop/web.shop.svc.cluster.local` is given at services[0] already, give each service once",
        ),
        (
            |v| v["services"][2]["addresses"] = json!(["10.96.0.9", "10.96.0.1"]),
            "services[0].addresses[0]: `10.96.0.1:80` is given at services[2].addresses already",
        ),
        (
            |v| v["services"][2]["addresses"] = json!(["0.0.0.0"]),
            "services[2].addresses[0]: `0.0.0.0` is not an address",
        ),
        (
            |v| v["services"][0]["ports"][1]["servicePort"] = json!(80),
            "services[0].ports[1].servicePort: `80` is given at services[0].ports[0].servicePort already",
        ),
        (
            |v| v["services"][1]["subjectAltNames"] = json!(["db.example.com"]),
            "services[1].subjectAltNames[0]: `db.example.com` is not a SPIFFE ID",
        ),
        (
            |v| v["settings"] = json!({"connectTimeout": "0s"}),
            "settings.connectTimeout: `0ns` is not a duration of more than nothing",
        ),
        (
            |v| v["settings"] = json!({"trustDomain": "Example"}),
            "settings.trustDomain: `Example` is not a trust domain",
        ),
        (
            |v| v["settings"] = json!({"trustDomainAliases": ["a", ""]}),
            "settings.trustDomainAliases[1]: `` is not a trust domain",
        ),
    ]);
}

#[test]
fn what_is_wrong_with_workloads_is_told_likewise() {
    check(&[
        (
            |v| v["workloads"][1]["addresses"] = json!(["10.1.0.1"]),
            "workloads[1].addresses[0]: `10.1.0.1` is given at workloads[0].addresses[0] already",
        ),
        (
            |v| v["workloads"][1]["addresses"] = json!([]),
            "workloads[1].addresses: give at least one IP address",
        ),
        (
            |v| v["workloads"][1]["name"] = json!("web-0"),
            "workloads[1]: `Kubernetes//Pod/shop/web-0` is given at workloads[0] already",
        ),
        (
            |v| v["workloads"][0]["trustDomain"] = json!("Example"),
            "workloads[0].trustDomain: `Example` is not a trust domain",
        ),
        (
            |v| v["workloads"][0]["canonicalName"] = json!("a\nb"),
            "workloads[0].canonicalName: `a\nb` is not a text",
        ),
        (
            |v| v["workloads"][0]["tunnelProtocol"] = json!("HBONE"),
            "workloads[0].tunnelProtocol: HBONE is not possible: give LEGACY_ISTIO_MTLS",
        ),
        (
            |v| v["workloads"][0]["services"] = json!({"shop/wbe": {}}),
            "workloads[0].services[\"shop/wbe\"]: there is no service `shop/wbe`, only bank/bank.bank.svc.cluster.local, shop/db",
        ),
        (
            |v| {
                let ports = json!({"ports": [{"servicePort": 1, "targetPort": 2}]});
                v["workloads"][2]["services"][DB] = ports;
            },
            "workloads[2].services[\"shop/db.shop.svc.cluster.local\"].ports[0].servicePort: there is no port of that service `1`, only 3306",
        ),
        (
            |v| {
                let port = json!({"servicePort": 3306, "targetPort": 2});
                v["workloads"][2]["services"][DB] = json!({"ports": [port, port]});
            },
            "workloads[2].services[\"shop/db.shop.svc.cluster.local\"].ports[1].servicePort: `3306` is given at",
        ),
        (
            |v| {
                v["peerAuthentication"] = json!({"workloads": {"shop/wbe": {"mode": "STRICT"}}});
            },
            "peerAuthentication.workloads[\"shop/wbe\"]: there is no workload `shop/wbe`, only shop/",
        ),
        (
            |v| v["peerAuthentication"] = json!({"namespaces": {"shpo": "STRICT"}}),
            "peerAuthentication.namespaces.shpo: there is no namespace with workloads `shpo`, only shop",
        ),
    ]);
}

#[test]
fn all_problems_are_told_but_not_more_than_anybody_reads() {
    let service = |idx: usize| {
        let hostname = format!("{idx}.example.com");
        json!({"name": format!("{idx}/"), "namespace": "shop", "hostname": hostname})
    };
    let services: Vec<Value> = (0..3).map(service).collect();
    assert_eq!(problems(json!({"services": services})).len(), 3);
    let services: Vec<Value> = (0..1000).map(service).collect();
    let problems = problems(json!({"services": services}));
    assert_eq!(problems.len(), problem::MOST);
}

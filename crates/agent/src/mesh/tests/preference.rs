//! Which endpoints of a service come first.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Mesh, addresses, build, model, own};

/// Where pods `10.2.0.1` and so on of service `api` are: region, zone, subzone, node. The own pod is in `eu`, `b`, `7` on `n1`.
const PLACES: [[&str; 4]; 5] = [
    ["us", "b", "7", "n9"],
    ["eu", "a", "7", "n8"],
    ["eu", "b", "8", "n7"],
    ["eu", "b", "7", "n6"],
    ["eu", "b", "7", "n1"],
];

fn pod(name: &str, address: &str, [region, zone, subzone, node]: [&str; 4]) -> Value {
    json!({
        "name": name, "namespace": "shop", "addresses": [address], "node": node,
        "locality": {"region": region, "zone": zone, "subzone": subzone},
    })
}

/// Service `api` of pods at [`PLACES`], with this preference, and the own pod.
fn shop(balancing: &Value) -> Value {
    let mut workloads = vec![pod("web-0", "10.1.0.1", ["eu", "b", "7", "n1"])];
    for (n, place) in (1..).zip(PLACES) {
        let mut pod = pod(&format!("api-{n}"), &format!("10.2.0.{n}"), place);
        pod["services"] = json!({"shop/api.shop.svc.cluster.local": {}});
        workloads.push(pod);
    }
    json!({
        "services": [{
            "name": "api", "namespace": "shop", "addresses": ["10.96.0.1"], "ports": [{"servicePort": 80}],
            "loadBalancing": balancing,
        }],
        "workloads": workloads,
    })
}

/// The last numbers of the addresses in each tier, and of those that stand aside.
fn tiers(mesh: &Mesh) -> (Vec<Vec<u8>>, Vec<u8>) {
    let last = |address: String| {
        let ip = address.split(':').next().unwrap().to_owned();
        ip.rsplit('.').next().unwrap().parse().unwrap()
    };
    let numbers = |endpoints: &[_]| addresses(endpoints).into_iter().map(last).collect();
    let port = mesh.service_named(b"api", 80).unwrap();
    (port.tiers().map(numbers).collect(), numbers(&port.aside))
}

#[test]
fn endpoints_that_share_more_with_the_own_pod_come_first() {
    let zone = json!(["NETWORK", "REGION", "ZONE"]);
    let node = json!(["NETWORK", "REGION", "ZONE", "SUBZONE", "NODE"]);
    let all = vec![vec![1, 2, 3, 4, 5]];
    let table = [
        (json!({}), all.clone(), vec![]),
        (json!({"routingPreference": zone}), all.clone(), vec![]),
        (
            json!({"routingPreference": zone, "mode": "FAILOVER"}),
            vec![vec![3, 4, 5], vec![2], vec![1]],
            vec![],
        ),
        (
            json!({"routingPreference": node, "mode": "FAILOVER"}),
            vec![vec![5], vec![4], vec![3], vec![2], vec![1]],
            vec![],
        ),
        // A zone is one only within its region: what comes behind a gap does not count.
        (
            json!({"routingPreference": ["REGION", "SUBZONE"], "mode": "FAILOVER"}),
            vec![vec![2, 4, 5], vec![3], vec![1]],
            vec![],
        ),
        (
            json!({"routingPreference": ["NODE"], "mode": "STRICT"}),
            vec![vec![5]],
            vec![1, 2, 3, 4],
        ),
        (
            json!({"routingPreference": ["CLUSTER"], "mode": "STRICT"}),
            all.clone(),
            vec![],
        ),
        (json!({"mode": "STRICT"}), all, vec![]),
    ];
    for (balancing, expected, aside) in table {
        let mesh = build(shop(&balancing));
        assert_eq!(tiers(&mesh), (expected, aside), "{balancing}");
        // Who dials a pod by itself reaches it wherever it is.
        assert!(mesh.endpoint_at("10.2.0.1:80".parse().unwrap()).is_some());
    }
}

#[test]
fn a_pod_that_does_not_know_where_it_is_prefers_nobody() {
    for (mode, n_endpoints) in [("FAILOVER", 5), ("STRICT", 0)] {
        let mut value = shop(&json!({"routingPreference": ["ZONE", "NODE"], "mode": mode}));
        value["workloads"].as_array_mut().unwrap().remove(0);
        let mesh = build(value);
        let port = mesh.service_named(b"api", 80).unwrap();
        assert_eq!(port.tiers().count(), 1, "{mode}");
        assert_eq!(port.endpoints.len(), n_endpoints, "{mode}");
    }
    // Nobody's node is not the node of another whose node is not known.
    let mut value = shop(&json!({"routingPreference": ["NODE"], "mode": "STRICT"}));
    for workload in value["workloads"].as_array_mut().unwrap() {
        workload["node"] = json!("");
    }
    assert!(tiers(&build(value)).0[0].is_empty());
}

#[test]
fn pods_that_are_not_ready_are_used_where_the_service_publishes_them() {
    for (policy, expected) in [
        ("ONLY_HEALTHY", vec![2, 3, 4, 5]),
        ("ALLOW_ALL", vec![1, 2, 3, 4, 5]),
    ] {
        let mut value = shop(&json!({"healthPolicy": policy}));
        value["workloads"][1]["status"] = json!("UNHEALTHY");
        assert_eq!(tiers(&build(value)).0, [expected], "{policy}");
    }
}

#[test]
fn where_the_own_pod_moves_the_order_follows() {
    let mut value = shop(&json!({"routingPreference": ["REGION"], "mode": "FAILOVER"}));
    let first = build(value.clone());
    value["workloads"][0]["locality"]["region"] = json!("us");
    let moved = Mesh::build(&model(value), &own(), Some(&first)).unwrap();
    assert_eq!(tiers(&first).0, [vec![2, 3, 4, 5], vec![1]]);
    assert_eq!(tiers(&moved).0, [vec![1], vec![2, 3, 4, 5]]);
}

proptest! {
    #[test]
    fn nobody_is_lost_or_found_twice_and_each_tier_shares_less(
        places in proptest::collection::vec(proptest::array::uniform4("[ab]?"), 0..12),
        scopes in proptest::sample::subsequence(
            vec!["NETWORK", "CLUSTER", "REGION", "ZONE", "SUBZONE", "NODE"], 0..6),
        is_strict in any::<bool>(),
    ) {
        let mode = if is_strict { "STRICT" } else { "FAILOVER" };
        let mut value = shop(&json!({"routingPreference": scopes, "mode": mode}));
        let workloads = value["workloads"].as_array_mut().unwrap();
        workloads.truncate(1);
        workloads[0] = pod("web-0", "10.1.0.1", ["a", "b", "a", "b"]);
        for (n, place) in (1..).zip(&places) {
            let mut pod = pod(&format!("api-{n}"), &format!("10.2.0.{n}"), place.each_ref().map(String::as_str));
            pod["services"] = json!({"shop/api.shop.svc.cluster.local": {}});
            workloads.push(pod);
        }
        let (tiers, aside) = tiers(&build(value));
        let shared = |n: &u8| {
            let [region, zone, subzone, node] = &places[usize::from(*n) - 1];
            let shares = |scope: &&&str| match **scope {
                "REGION" => region == "a",
                "ZONE" => zone == "b",
                "SUBZONE" => subzone == "a",
                "NODE" => node == "b",
                _ => true,
            };
            scopes.iter().take_while(shares).count()
        };
        let mut all: Vec<u8> = tiers.iter().flatten().chain(&aside).copied().collect();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(1..=u8::try_from(places.len()).unwrap()));
        if is_strict {
            prop_assert!(tiers.len() == 1 && tiers[0].iter().all(|n| shared(n) == scopes.len()));
            prop_assert!(aside.iter().all(|n| shared(n) < scopes.len()));
        } else {
            prop_assert!(aside.is_empty());
            let ranks: Vec<Vec<usize>> = tiers.iter().map(|tier| tier.iter().map(shared).collect()).collect();
            for (tier, next) in ranks.iter().zip(ranks.iter().skip(1)) {
                prop_assert!(!next.is_empty() && tier.iter().min() > next.iter().max());
            }
            prop_assert!(ranks.iter().all(|tier| tier.iter().min() == tier.iter().max()));
        }
    }
}

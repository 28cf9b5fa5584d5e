//! Who gets in, what can be read on the way, and what is counted and logged of it.

use anyhow::ensure;
use e2e::{
    Pod,
    policy::{of_namespace, policy},
    scenario, wire,
};
use serde_json::{Value, json};

use super::shop::{Shop, is_served, principal, wait_served};

const REQUESTS: &str = "istio_requests_total";

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn two_namespaces_under_strict_speak_tls_on_the_wire_and_nobody_else_gets_in() {
    scenario("strict", |scene| {
        let shop = Shop::open(scene)?;
        let tap = wire::prepare(&shop.outside, &shop.server)?;
        let address = shop.server.ip()?;

        // Without a policy everybody gets in, and what the stranger says can be read: so the tap works.
        let path = "/readable-on-the-wire";
        let listening = wire::Wire::listen(&tap, &address, path)?;
        ensure!(
            is_served(&shop.stranger, &shop.url(path))?,
            "the stranger is refused without any policy"
        );
        let seen = listening.seen()?;
        ensure!(
            seen.readable > 0,
            "a plain request was not seen on the wire: {seen:?}"
        );

        shop.namespace.apply(&of_namespace("STRICT"))?;
        wait_served(&shop.stranger, &shop.url("/"), false)?;
        let path = "/hidden-on-the-wire";
        let listening = wire::Wire::listen(&tap, &address, path)?;
        for _ in 0..3 {
            ensure!(
                is_served(&shop.client, &shop.url(path))?,
                "{} is refused, but comes by mutual TLS",
                shop.client
            );
        }
        let seen = listening.seen()?;
        ensure!(
            seen.readable == 0 && seen.encrypted > 0,
            "of a request under STRICT the wire shows {seen:?}"
        );
        ensure!(
            !is_served(&shop.stranger, &shop.url("/"))?,
            "the stranger is let in under STRICT"
        );

        shop.namespace.apply(&of_namespace("PERMISSIVE"))?;
        wait_served(&shop.stranger, &shop.url("/"), true)
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn metrics_and_access_log_tell_who_came_by_mutual_tls_and_who_did_not() {
    scenario("principals", |scene| {
        let shop = Shop::open(scene)?;
        let path = "/told";
        for caller in [&shop.client, &shop.stranger] {
            ensure!(is_served(caller, &shop.url(path))?, "{caller} is refused");
        }
        let (client, server) = (principal(&shop.client), principal(&shop.server));
        let hostname = shop.hostname();
        let source = [
            ("reporter", "source"),
            ("connection_security_policy", "unknown"),
            ("source_principal", &client),
            ("destination_principal", &server),
            ("destination_service", &hostname),
            ("destination_workload", "server"),
            ("destination_workload_namespace", shop.server.namespace()),
        ];
        let destination = [
            ("reporter", "destination"),
            ("connection_security_policy", "mutual_tls"),
            ("source_principal", &client),
            ("destination_principal", &server),
            ("source_workload", "client"),
            ("source_workload_namespace", shop.client.namespace()),
        ];
        let stranger = [
            ("reporter", "destination"),
            ("connection_security_policy", "none"),
            ("source_principal", "unknown"),
        ];
        shop.client.wait_for_metric(REQUESTS, &source, 1.0)?;
        shop.server.wait_for_metric(REQUESTS, &destination, 1.0)?;
        shop.server.wait_for_metric(REQUESTS, &stranger, 1.0)?;

        let mut names: Vec<_> = shop
            .server
            .access_log(path)?
            .into_iter()
            .map(|line| line.server_name)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["-".to_owned(), format!("outbound_.80_._.{hostname}")]
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_port_may_differ_from_the_rest_of_its_workload() {
    scenario("port-mode", |scene| {
        let shop = Shop::open(scene)?;
        let selector = json!({"matchLabels": {"app": "server"}});
        shop.namespace.apply(&policy(
            "server",
            &json!({
                "selector": selector,
                "mtls": {"mode": "STRICT"},
                "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}},
            }),
        ))?;
        wait_served(&shop.stranger, &shop.url("/"), false)?;
        serves_both(&shop, &shop.echo_url("/"))?;

        // The other way round, over a namespace that says something else.
        shop.namespace.apply(&of_namespace("PERMISSIVE"))?;
        shop.namespace.apply(&policy(
            "server",
            &json!({
                "selector": selector,
                "portLevelMtls": {"8080": {"mode": "STRICT"}, "80": {"mode": "DISABLE"}},
            }),
        ))?;
        wait_served(&shop.stranger, &shop.echo_url("/"), false)?;
        serves_both(&shop, &shop.url("/"))?;
        ensure!(
            is_served(&shop.client, &shop.echo_url("/"))?,
            "{} is refused, but comes by mutual TLS",
            shop.client
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn probes_and_scrapes_work_under_strict() {
    scenario("probes", |scene| {
        let shop = Shop::open(scene)?;
        shop.namespace.apply(&of_namespace("STRICT"))?;
        wait_served(&shop.stranger, &shop.url("/"), false)?;
        // Both containers are probed every second: one failure in the time of some scrapes would show.
        let before = wellness(&shop.server)?;
        let page = shop.server.url(15020)? + "/stats/prometheus";
        for _ in 0..10 {
            // In plain text and without a certificate, as Prometheus does.
            ensure!(
                is_served(&shop.stranger, &page)?,
                "metrics cannot be scraped under STRICT"
            );
            shop.server.wait_ready()?;
        }
        assert_eq!(
            wellness(&shop.server)?,
            before,
            "{} under STRICT",
            shop.server
        );
        Ok(())
    });
}

fn serves_both(shop: &Shop, url: &str) -> anyhow::Result<()> {
    for caller in [&shop.client, &shop.stranger] {
        wait_served(caller, url, true)?;
    }
    Ok(())
}

/// When the pod became ready, and how often its containers were started.
fn wellness(pod: &Pod) -> anyhow::Result<Vec<Value>> {
    let object = pod.object()?;
    let list = |name: &str| {
        object["status"][name]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let ready = list("conditions")
        .into_iter()
        .filter(|condition| condition["type"] == "Ready")
        .map(|condition| condition["lastTransitionTime"].clone());
    let restarts = list("containerStatuses")
        .into_iter()
        .map(|status| status["restartCount"].clone());
    Ok(ready.chain(restarts).collect())
}

//! The other ways of interception: TPROXY, which keeps clients' addresses, and the capture of questions about names.

use anyhow::ensure;
use contract::annotations;
use e2e::{Injection, Manifest, scenario};

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn by_tproxy_the_application_sees_its_clients_address() {
    scenario("tproxy", |scene| {
        let inside = scene.namespace(Injection::Enabled)?;
        let outside = scene.namespace(Injection::Unlabelled)?;
        let nginx = Manifest::read("nginx.yaml")?;
        inside.apply(&nginx.annotated(annotations::INTERCEPTION_MODE, "TPROXY"))?;
        outside.apply(&Manifest::read("client.yaml")?)?;
        let (server, client) = (inside.pod("nginx"), outside.pod("client"));
        server.wait_ready()?;
        client.wait_ready()?;

        let url = server.url(80)? + "/by-tproxy";
        let status = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", &url];
        for _ in 0..3 {
            assert_eq!(client.read("shell", &status)?, "404");
        }
        let labels = [("reporter", "destination"), ("response_code", "404")];
        server.wait_for_metric("istio_requests_total", &labels, 3.0)?;
        let lines = server.logs("nginx")?;
        let address = client.ip()?;
        let seen: Vec<_> = lines
            .lines()
            .filter(|line| line.contains("/by-tproxy"))
            .collect();
        ensure!(
            seen.len() == 3 && seen.iter().all(|line| line.starts_with(&address)),
            "{client} has {address}, nginx saw {seen:?}"
        );

        // The pod's own calls are captured as ever.
        let out = server.read("nginx", &["curl", "-sS", &client.url(8080)?])?;
        assert_eq!(out, "test-server\n");
        let labels = [("reporter", "source"), ("response_code", "200")];
        server.wait_for_metric("istio_requests_total", &labels, 1.0)
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn names_are_asked_of_the_sidecar_where_they_are_captured() {
    scenario("dns", |scene| {
        let inside = scene.namespace(Injection::Enabled)?;
        let config = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}";
        let client = Manifest::read("client.yaml")?.annotated(annotations::PROXY_CONFIG, config);
        inside.apply(&client)?;
        let pod = inside.pod("client");
        pod.wait_ready()?;

        let name = "kubernetes.default.svc.cluster.local";
        let found = pod.read("shell", &["getent", "hosts", name])?;
        let service = e2e::kubectl::get(&["-n", "default", "service", "kubernetes"])?;
        let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        ensure!(
            found.contains(address),
            "{name} is {address}, {pod} was told {found}"
        );
        // By TCP as well, where the resolver is told so.
        let options = "RES_OPTIONS=use-vc getent hosts kubernetes.default.svc.cluster.local";
        let found = pod.read("shell", &["sh", "-c", options])?;
        ensure!(found.contains(address), "{name} by TCP: {found}");
        pod.wait_for_metric("istio_agent_dns_requests_total", &[], 2.0)?;
        let failures = pod
            .metrics()?
            .sum("istio_agent_dns_upstream_failures_total", &[]);
        ensure!(failures == 0.0, "{failures} questions without an answer");
        Ok(())
    });
}

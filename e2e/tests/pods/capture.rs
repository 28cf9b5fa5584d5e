//! At the border of the mesh: what comes from outside and what goes there passes the sidecar, and the cluster's own services still work.

use anyhow::ensure;
use e2e::{Injection, Manifest, scenario};

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn traffic_with_pods_outside_of_the_mesh_is_captured_and_the_cluster_stays_reachable() {
    scenario("capture", |scene| {
        let inside = scene.namespace(Injection::Enabled)?;
        let outside = scene.namespace(Injection::Unlabelled)?;
        let manifest = Manifest::read("client.yaml")?;
        inside.apply(&manifest)?;
        outside.apply(&manifest)?;
        let (member, stranger) = (inside.pod("client"), outside.pod("client"));
        member.wait_ready()?;
        stranger.wait_ready()?;

        for (from, to, path) in [
            (&stranger, &member, "/from-outside"),
            (&member, &stranger, "/to-outside"),
        ] {
            let url = to.url(8080)? + path;
            let page = from.exec("shell", &["curl", "-sS", &url])?;
            assert_eq!(page, "test-server\n", "{from} asked {url}");
        }
        for (reporter, path) in [("destination", "/from-outside"), ("source", "/to-outside")] {
            let labels = [("reporter", reporter), ("response_code", "200")];
            member.wait_for_metric("istio_requests_total", &labels, 1.0)?;
            let lines = member.access_log(path)?;
            ensure!(
                lines.len() == 1,
                "expected one line for {path}, saw {lines:?}"
            );
        }
        let inbound = &member.access_log("/from-outside")?[0];
        assert!(
            inbound.downstream_remote.contains(&stranger.ip()?)
                && inbound.cluster == "inbound|8080||",
            "{inbound:?}"
        );

        let name = "kubernetes.default.svc.cluster.local";
        let found = member.read("shell", &["getent", "hosts", name])?;
        let service = e2e::kubectl::get(&["-n", "default", "service", "kubernetes"])?;
        let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        ensure!(
            found.contains(address),
            "{name} is {address}, {member} was told {found}"
        );

        let ask = "cd /var/run/secrets/kubernetes.io/serviceaccount && \
                   curl -sS --cacert ca.crt -H \"Authorization: Bearer $(cat token)\" https://kubernetes.default.svc/version";
        let version = member.read("shell", &["sh", "-c", ask])?;
        ensure!(
            version.contains("gitVersion"),
            "the API server told {member}: {version}"
        );
        let tcp = [("reporter", "source"), ("request_protocol", "tcp")];
        member.wait_for_metric("istio_tcp_connections_opened_total", &tcp, 1.0)
    });
}

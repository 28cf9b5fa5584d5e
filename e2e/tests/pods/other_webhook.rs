//! Beside other webhooks: what they add after the mesh is part of the mesh, and what the pod's author wrote stays.

use anyhow::{Context, ensure};
use contract::{pod::PROXY_CONTAINER, ports};
use e2e::{
    Injection, Manifest,
    other_webhook::{CONTAINER, OtherWebhook, PORT},
    scenario,
};
use serde_json::{Value, json};

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_container_that_another_webhook_adds_later_is_in_the_mesh() {
    scenario("other-webhook", |scene| {
        let home = scene.namespace(Injection::Unlabelled)?;
        let inside = scene.namespace(Injection::Enabled)?;
        let _webhook = OtherWebhook::install(&home, &inside)?;
        home.apply(&Manifest::read("client.yaml")?)?;

        // The author has a word on the sidecar, too, which the second look at the pod must not lose.
        let own = json!({"name": PROXY_CONTAINER, "image": "auto", "env": [{"name": "MARK", "value": "kept"}]});
        let nginx = Manifest::read("nginx.yaml")?;
        let mut containers = nginx.pod_containers().context("nginx.yaml has no pod")?;
        containers.push(own);
        inside.apply(&nginx.with(&json!({"spec": {"containers": containers}})))?;

        let pod = inside.pod("nginx");
        let ready = pod.wait_ready()?;
        let late = container(&ready, CONTAINER)?;
        let probe = &late["readinessProbe"]["httpGet"];
        assert_eq!(probe["path"], format!("/app-health/{CONTAINER}/readyz"));
        assert_eq!(probe["port"], ports::STATUS);
        let sidecar = container(&ready, PROXY_CONTAINER)?;
        assert_eq!(variable(sidecar, "MARK"), Some("kept"));
        for (name, part) in [
            ("ISTIO_META_APP_CONTAINERS", CONTAINER),
            ("ISTIO_META_POD_PORTS", "8090"),
            ("ISTIO_KUBE_APP_PROBERS", "/app-health/late/readyz"),
            ("ISTIO_KUBE_APP_PROBERS", "/app-health/nginx/readyz"),
        ] {
            let value = variable(sidecar, name).unwrap_or_default();
            ensure!(value.contains(part), "{name} does not name {part}: {value}");
        }
        let sidecars = all_containers(&ready).filter(|one| one["name"] == PROXY_CONTAINER);
        assert_eq!(sidecars.count(), 1);

        let client = home.pod("client");
        client.wait_ready()?;
        let url = pod.url(PORT)? + "/through";
        let page = client.read("shell", &["curl", "-sS", &url])?;
        assert_eq!(page, "test-server\n", "{url}");
        let labels = [("reporter", "destination"), ("response_code", "200")];
        pod.wait_for_metric("istio_requests_total", &labels, 1.0)
    });
}

fn all_containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

fn container<'a>(pod: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    all_containers(pod)
        .find(|container| container["name"] == name)
        .with_context(|| format!("the pod has no container {name}"))
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    let variable = variables.iter().find(|variable| variable["name"] == name)?;
    variable["value"].as_str()
}

//! The shipped template and the programs meet at names and numbers: YAML cannot import them, so this holds the two together.

use std::{collections::BTreeMap, fs, path::Path};

use contract::{annotations, env, labels, paths, pod as names, ports};
use serde_json::{Value, json};
use template::{
    Config, Namespace, NativeSidecars, Options, Outcome, Request, Sources, Text, inject,
};

fn read(file: &str) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    fs::read_to_string(chart.join(file)).expect("the chart ships it")
}

fn injected() -> Value {
    let [config, values, mesh] = ["files/config", "values.yaml", "files/mesh"].map(read);
    let text = |name, text| Text { name, text };
    let sources = Sources {
        config: text("config", &config),
        values: text("values", &values),
        mesh: text("mesh", &mesh),
    };
    let options = Options {
        native_sidecars: NativeSidecars::Always,
        ..Options::default()
    };
    let config = Config::load(&sources, options).expect("the shipped configuration compiles");
    let probe = json!({"httpGet": {"path": "/", "port": 80}});
    let pod = json!({
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "web", "readinessProbe": probe}]},
    });
    let request = Request {
        pod: &pod,
        namespace: &Namespace::named("shop"),
        owner: None,
        environment: &BTreeMap::new(),
    };
    match inject(&config, &request).expect("a plain pod can be injected") {
        Outcome::Injected { pod, .. } => pod,
        Outcome::Skipped { reason, .. } => panic!("skipped: {reason}"),
    }
}

fn all<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item[field].as_str()).collect()
}

#[test]
fn containers_and_ports_are_the_contracts() {
    let pod = injected();
    let containers = &pod["spec"]["initContainers"];
    assert_eq!(
        all(containers, "name"),
        [names::INIT_CONTAINER, names::PROXY_CONTAINER]
    );
    let excluded = ports::INBOUND_EXCLUDED.map(|port| {
        let args = containers[0]["args"]
            .as_array()
            .expect("istio-init has arguments");
        let at = args
            .iter()
            .position(|arg| arg == "-d")
            .expect("-d is given");
        let list = args[at + 1].as_str().unwrap_or_default();
        list.split(',').any(|item| item == port.to_string())
    });
    assert_eq!(
        excluded, [true; 3],
        "the agent's own ports are not captured"
    );
    let proxy = &containers[1];
    assert_eq!(proxy["ports"][0]["containerPort"], ports::PROMETHEUS);
    let ready = &proxy["readinessProbe"]["httpGet"];
    assert_eq!(
        (&ready["path"], &ready["port"]),
        (&json!(paths::HEALTHZ_READY), &json!(ports::READINESS))
    );
}

#[test]
fn variables_paths_and_volumes_are_the_contracts() {
    let pod = injected();
    let proxy = &pod["spec"]["initContainers"][1];
    let variables = all(&proxy["env"], "name");
    for name in [
        env::POD_NAME,
        env::POD_NAMESPACE,
        env::INSTANCE_IP,
        env::SERVICE_ACCOUNT,
        env::HOST_IP,
        env::PROXY_CONFIG,
        env::TRUST_DOMAIN,
        env::KUBE_APP_PROBERS,
        env::META_CLUSTER_ID,
        env::META_NODE_NAME,
        env::META_WORKLOAD_NAME,
        env::META_OWNER,
        env::META_APP_CONTAINERS,
        env::META_POD_PORTS,
        env::META_INTERCEPTION_MODE,
        env::META_MESH_ID,
    ] {
        assert!(variables.contains(&name), "{name}");
    }
    let mounts = all(&proxy["volumeMounts"], "mountPath");
    for path in [paths::PROXY_DIR, paths::POD_INFO_DIR, paths::CERTS_DIR] {
        assert!(mounts.contains(&path), "{path}");
    }
    for file in [paths::TOKEN, paths::ROOT_CERT, paths::POD_LABELS] {
        assert!(
            mounts.iter().any(|mount| file.starts_with(*mount)),
            "{file}"
        );
    }
    let volumes = pod["spec"]["volumes"].to_string();
    assert!(volumes.contains(names::ROOT_CERT_CONFIG_MAP));
}

#[test]
fn labels_and_annotations_are_the_contracts() {
    let metadata = injected()["metadata"].to_string();
    for key in [
        labels::TLS_MODE,
        labels::CANONICAL_NAME,
        labels::CANONICAL_REVISION,
        labels::REVISION,
        annotations::STATUS,
        annotations::DEFAULT_CONTAINER,
        annotations::DEFAULT_LOGS_CONTAINER,
    ] {
        assert!(metadata.contains(key), "{key}");
    }
}

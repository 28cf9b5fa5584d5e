//! What the injector is given: it loads, and it injects what the values say.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use template::{
    Config, Namespace, NativeSidecars, Options, Outcome, Request, Sources, Text, inject, yaml,
};

use super::helm::{Install, chart, file, object};

/// The three texts, as they would be mounted.
fn texts(install: &Install, suffix: &str) -> [String; 3] {
    let objects = install.objects();
    [
        ("istio-sidecar-injector", "config"),
        ("istio-sidecar-injector", "values"),
        ("istio", "mesh"),
    ]
    .map(|(name, key)| {
        let map = object(&objects, "ConfigMap", &format!("{name}{suffix}"));
        map["data"][key].as_str().expect("a text").to_owned()
    })
}

fn load([config, values, mesh]: &[String; 3], revision: &str) -> Config {
    let sources = Sources {
        config: Text {
            name: "config",
            text: config,
        },
        values: Text {
            name: "values",
            text: values,
        },
        mesh: Text {
            name: "mesh",
            text: mesh,
        },
    };
    let options = Options {
        revision: revision.to_owned(),
        native_sidecars: NativeSidecars::Always,
        ..Options::default()
    };
    Config::load(&sources, options).expect("a sound configuration")
}

/// The nginx pod of the cluster tests, injected.
fn injected(config: &Config) -> Value {
    let path = chart().join("../../e2e/manifests/nginx.yaml");
    let text = fs::read_to_string(&path).expect("a manifest");
    let documents = yaml::documents(&text);
    let documents = documents
        .iter()
        .map(|document| document.parse("nginx.yaml").expect("YAML"));
    let pod = documents
        .into_iter()
        .find(|object| object["kind"] == "Pod")
        .expect("a pod");
    let request = Request {
        pod: &pod,
        namespace: &Namespace::named("shop"),
        owner: None,
        environment: &BTreeMap::new(),
    };
    match inject(config, &request).expect("it can be injected") {
        Outcome::Injected { pod, .. } => pod,
        Outcome::Skipped { reason, .. } => panic!("skipped: {reason}"),
    }
}

fn variable<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let env = pod["spec"]["initContainers"][1]["env"].as_array().unwrap();
    let variable = env.iter().find(|variable| variable["name"] == name);
    &variable.unwrap_or_else(|| panic!("no variable {name}"))["value"]
}

/// The cluster and the command line without one therefore give the same pod.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_cluster_is_given_what_the_files_hold() {
    let rendered = injected(&load(&texts(&Install::default(), ""), ""));
    let offline = [
        file("files/config"),
        file("values.yaml"),
        file("files/mesh"),
    ];
    assert_eq!(rendered, injected(&load(&offline, "")));
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn templates_see_nothing_of_what_only_the_chart_reads() {
    let [_, values, _] = texts(&Install::default(), "");
    let values = yaml::parse("values", &values).unwrap();
    let keys: Vec<&String> = values.as_object().unwrap().keys().collect();
    let expected = [
        "gateways",
        "global",
        "pilot",
        "revision",
        "sidecarInjectorWebhook",
    ];
    assert_eq!(keys, expected);
    for key in [
        "priorityClassName",
        "defaultPodDisruptionBudget",
        "networkPolicy",
        "operatorManageWebhooks",
    ] {
        assert!(values["global"][key].is_null(), "{key}");
    }
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn an_empty_tag_is_the_charts_version() {
    let texts = texts(&Install::default().set("global.tag="), "");
    let pod = injected(&load(&texts, ""));
    let image = concat!("minimesh/agent:", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod["spec"]["initContainers"][1]["image"], image);
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn sidecars_of_a_revision_ask_that_revisions_control_plane() {
    let install = Install::default().set("revision=canary").namespace("mesh");
    let pod = injected(&load(&texts(&install, "-canary"), "canary"));
    let address = "istiod-canary.mesh.svc:15012";
    assert_eq!(*variable(&pod, "CA_ADDR"), address);
    let config = variable(&pod, "PROXY_CONFIG").as_str().unwrap();
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!(config, json!({"discoveryAddress": address}));
}

/// Also where they are empty, false or zero.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn mesh_settings_win_over_the_charts() {
    let install = Install::default()
        .set("meshConfig.accessLogFile=")
        .set("meshConfig.trustDomain=example.org")
        .set("meshConfig.defaultConfig.discoveryAddress=istiod.other.svc:15012")
        .set("global.proxy.statusPort=15099");
    let [_, _, mesh] = texts(&install, "");
    assert_eq!(
        yaml::parse("mesh", &mesh).unwrap(),
        json!({
            "accessLogEncoding": "TEXT",
            "accessLogFile": "",
            "defaultConfig": {"discoveryAddress": "istiod.other.svc:15012", "statusPort": 15099},
            "enablePrometheusMerge": false,
            "rootNamespace": "istio-system",
            "trustDomain": "example.org",
        })
    );
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn templates_of_ones_own_are_laid_over_the_shipped_one() {
    let texts = texts(&Install::values_file("own-templates"), "");
    let pod = injected(&load(&texts, ""));
    assert_eq!(pod["metadata"]["labels"]["team"], "shop");
    assert_eq!(pod["metadata"]["annotations"]["example.org/by"], "minimesh");
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "istio-proxy");
}

/// A user may bring Istio's templates, and everything that they read.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn what_istios_templates_read_can_be_given_and_reaches_them() {
    let texts = texts(&Install::values_file("istio-templates"), "");
    let config = yaml::parse("config", &texts[0]).unwrap();
    assert_eq!(config["defaultTemplates"], json!(["both"]));
    assert_eq!(config["aliases"], json!({"both": ["sidecar", "gateway"]}));
    assert_eq!(config["policy"], "enabled");
    assert_eq!(
        config["alwaysInjectSelector"][0]["matchLabels"]["mesh"],
        "always"
    );
    assert_eq!(
        config["neverInjectSelector"][0]["matchExpressions"][0]["key"],
        "mesh"
    );
    let pod = injected(&load(&texts, ""));
    let annotations = &pod["metadata"]["annotations"];
    for (name, expected) in [
        ("by", "templates"),
        ("sts", "15463"),
        ("cni", "true/multus"),
        ("ca", "ca.example.org:443/Example"),
        ("trust", "example.org/roots"),
        ("where", "mesh-1/network-1/east"),
        ("image", "proxyv2/proxyv2/registry"),
        ("startup", "false/60"),
        ("privileged", "true/RuntimeDefault/true"),
        ("other", "/dev/stdout/datadog/revoked"),
        ("switches", "true/true/true/true"),
    ] {
        assert_eq!(
            annotations[format!("example.org/{name}")],
            expected,
            "{name}"
        );
    }
    assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 1337);
}

/// What Pod Security `restricted` asks of each container, whoever brought the plugin to the nodes.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn with_a_cni_plugin_injected_pods_ask_for_nothing_that_restricted_forbids() {
    for assignment in ["cni.enabled=true", "pilot.cni.enabled=true"] {
        let pod = injected(&load(&texts(&Install::default().set(assignment), ""), ""));
        let spec = &pod["spec"];
        assert_eq!(spec["initContainers"][0]["name"], "istio-validation");
        let lists = ["initContainers", "containers"].map(|list| spec[list].as_array().unwrap());
        let ours = lists.into_iter().flatten().filter(|container| {
            let name = container["name"].as_str().unwrap();
            name.starts_with("istio-")
        });
        let mut n_containers = 0;
        for container in ours {
            let context = &container["securityContext"];
            assert_eq!(
                context["capabilities"],
                json!({"drop": ["ALL"]}),
                "{container}"
            );
            assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(context["runAsNonRoot"], true, "{container}");
            assert!(
                context["runAsUser"].as_u64().is_some_and(|user| user > 0),
                "{container}"
            );
            assert_eq!(
                context["seccompProfile"],
                json!({"type": "RuntimeDefault"}),
                "{container}"
            );
            assert_eq!(context["privileged"], false, "{container}");
            n_containers += 1;
        }
        assert_eq!(n_containers, 2, "{assignment}");
        let volumes = spec["volumes"].as_array().unwrap();
        let allowed = [
            "emptyDir",
            "secret",
            "projected",
            "configMap",
            "downwardAPI",
        ];
        for volume in volumes {
            assert!(
                allowed.iter().any(|kind| volume.get(kind).is_some()),
                "{volume}"
            );
        }
    }
}

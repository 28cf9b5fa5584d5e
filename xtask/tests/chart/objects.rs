//! Goldens of the whole chart, and what must hold for them whatever the values are.

use std::collections::BTreeSet;

use contract::{cni, control_plane as names, ids, ports};
use serde_json::{Value, json};
use testkit::golden;

use super::helm::{Install, chart, file, object};

/// The value files with a golden: `tests/NAME.values.yaml` gives `tests/NAME.golden.yaml`.
const CASES: [&str; 8] = [
    "default",
    "production",
    "revision",
    "own-templates",
    "istio-templates",
    "tags",
    "cert-manager",
    "cni",
];

/// The value of a variable of the injector.
fn variable(objects: &[Value], name: &str) -> Option<Value> {
    let pod = &object(objects, "Deployment", "injector")["spec"]["template"]["spec"];
    let env = pod["containers"][0]["env"].as_array().unwrap().iter();
    let mut variable = env.filter(|variable| variable["name"] == name);
    let value = variable.next().map(|variable| variable["value"].clone());
    assert!(variable.next().is_none(), "{name} is there twice");
    value
}

fn cases() -> impl Iterator<Item = (&'static str, Install)> {
    CASES.into_iter().map(|name| {
        let install = Install::values_file(name);
        let install = match name {
            "revision" => install.namespace("mesh"),
            _ => install,
        };
        (name, install)
    })
}

/// The shipped template has tests of its own; here it would only hide what the chart does.
fn without_shipped_template(rendered: &str) -> String {
    let mut text = String::new();
    let mut is_hidden = false;
    for line in rendered.lines() {
        if is_hidden && (line.is_empty() || line.starts_with("        ")) {
            continue;
        }
        is_hidden = line == "      sidecar: |";
        text.push_str(line);
        if is_hidden {
            text.push_str(" (as in files/config)");
        }
        text.push('\n');
    }
    text
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_chart_renders_as_it_did() {
    let differences: Vec<String> = cases()
        .filter_map(|(name, install)| {
            let path = chart().join(format!("tests/{name}.golden.yaml"));
            golden::compare(&path, &without_shipped_template(&install.render())).err()
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn helm_finds_nothing_to_complain_about() {
    for (_, install) in cases() {
        install.lint();
    }
}

/// Every name that a program knows is the one that the chart gives.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn names_and_ports_are_the_contracts() {
    let objects = Install::default().objects();
    let has = |kind: &str, name: &str| {
        object(&objects, kind, name);
    };
    has("ConfigMap", names::SIDECAR_INJECTOR);
    has("ConfigMap", names::MESH_CONFIG_MAP);
    has("MutatingWebhookConfiguration", names::SIDECAR_INJECTOR);
    let numbers = |service: &str| -> Vec<(u64, u64)> {
        let service = object(&objects, "Service", service);
        let ports = service["spec"]["ports"].as_array().unwrap().iter();
        ports
            .map(|port| {
                let number = port["port"].as_u64().unwrap();
                (number, port["targetPort"].as_u64().unwrap_or(number))
            })
            .collect()
    };
    let webhook = (443, u64::from(ports::WEBHOOK));
    assert_eq!(numbers(names::SIDECAR_INJECTOR), [webhook]);
    let plain = |port: u16| (u64::from(port), u64::from(port));
    assert_eq!(
        numbers(names::ISTIOD),
        [
            plain(ports::DISCOVERY_PLAINTEXT),
            plain(ports::DISCOVERY),
            webhook,
            plain(ports::MONITORING)
        ]
    );
    let pod = &object(&objects, "Deployment", "injector")["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["volumeMounts"][0]["mountPath"], names::INJECT_DIR);
    let sources = pod["spec"]["volumes"][0]["projected"]["sources"]
        .as_array()
        .unwrap();
    let paths: Vec<&Value> = sources
        .iter()
        .flat_map(|source| source["configMap"]["items"].as_array().unwrap())
        .map(|item| &item["path"])
        .collect();
    assert_eq!(
        paths,
        [names::CONFIG_KEY, names::VALUES_KEY, names::MESH_KEY]
    );
}

/// The rights that the injector is built to need, and not one more.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn rights_are_as_few_as_work() {
    let objects = Install::default().objects();
    let rules = |kind, name| rules(&objects, kind, name);
    assert_eq!(
        rules("ClusterRole", "injector-istio-system"),
        [
            " | namespaces |  | get,list,watch",
            " | nodes |  | get,list,watch",
            " | pods,services |  | get,list,watch",
            "discovery.k8s.io | endpointslices |  | get,list,watch",
            "security.istio.io | peerauthentications |  | get,list,watch",
            "security.istio.io | peerauthentications/status |  | patch",
            "authentication.k8s.io | tokenreviews |  | create",
            " | configmaps |  | create",
            " | configmaps | istio-ca-root-cert,istio-ca-crl | get,list,watch,update,patch",
            "admissionregistration.k8s.io | mutatingwebhookconfigurations |  | list,watch",
            "admissionregistration.k8s.io | mutatingwebhookconfigurations | istio-sidecar-injector | patch",
            "admissionregistration.k8s.io | validatingwebhookconfigurations | istio-validator-istio-system | get,list,watch,patch",
            "rbac.authorization.k8s.io | clusterroles | injector-istio-system | get",
            "events.k8s.io | events |  | create,patch",
            "apps | replicasets |  | get",
            "batch | jobs |  | get",
            " | replicationcontrollers |  | get",
        ]
    );
    assert_eq!(
        rules("Role", "injector"),
        [
            " | secrets |  | create",
            " | secrets | istio-ca-secret | get,list,watch,update,patch",
            "coordination.k8s.io | leases |  | create",
            "coordination.k8s.io | leases | minimesh-leader | get,update",
            " | secrets | cacerts | get,list,watch",
            "events.k8s.io | events |  | create,patch",
            " | configmaps | istio-sidecar-injector | get",
        ]
    );
}

/// The rules of a role, a line each.
fn rules(objects: &[Value], kind: &str, name: &str) -> Vec<String> {
    let rules = object(objects, kind, name)["rules"].as_array().unwrap();
    let line = |rule: &Value| {
        let list = |key: &str| {
            let items = rule[key].as_array().into_iter().flatten();
            let items = items.map(|item| item.as_str().unwrap());
            items.collect::<Vec<_>>().join(",")
        };
        let keys = ["apiGroups", "resources", "resourceNames", "verbs"].map(list);
        keys.join(" | ")
    };
    rules.iter().map(line).collect()
}

/// The right to Secrets of the whole cluster is asked for by whoever wants certificates in Secrets, and by nobody else.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn secrets_of_service_accounts_come_with_a_role_of_their_own() {
    const ROLE: &str = "injector-istio-system-account-secrets";
    let without = Install::default().objects();
    assert!(
        without
            .iter()
            .all(|object| object["metadata"]["name"] != ROLE)
    );
    assert_eq!(variable(&without, "ACCOUNT_SECRETS"), Some(json!("false")));
    let with = Install::default()
        .set("pilot.accountSecrets=true")
        .objects();
    assert_eq!(variable(&with, "ACCOUNT_SECRETS"), Some(json!("true")));
    assert_eq!(
        rules(&with, "ClusterRole", ROLE),
        [
            " | serviceaccounts |  | list,watch",
            " | secrets |  | get,list,watch,create,update",
        ]
    );
    let binding = object(&with, "ClusterRoleBinding", ROLE);
    assert_eq!(binding["roleRef"]["name"], ROLE);
    assert_eq!(binding["subjects"][0]["name"], "injector");
    let main = |objects| rules(objects, "ClusterRole", "injector-istio-system");
    assert_eq!(main(&with), main(&without));
}

/// Without Events on workloads there is no need to see what is behind a pod.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn events_on_workloads_can_be_switched_off_with_their_rights() {
    let objects = Install::default()
        .set("sidecarInjectorWebhook.events=false")
        .objects();
    let role = object(&objects, "ClusterRole", "injector-istio-system").to_string();
    for resource in ["events", "replicasets", "jobs", "replicationcontrollers"] {
        assert!(!role.contains(&format!("\"{resource}\"")), "{resource}");
    }
    assert_eq!(variable(&objects, "WORKLOAD_EVENTS"), Some(json!("false")));
}

/// What Pod Security `restricted` asks for, and what it does not.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_control_plane_has_no_rights_on_its_node() {
    for (name, install) in cases() {
        let objects = install.objects();
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(
            *container,
            json!({
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "privileged": false,
                "readOnlyRootFilesystem": true,
                "runAsGroup": ids::PROXY_GID,
                "runAsNonRoot": true,
                "runAsUser": ids::PROXY_UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            }),
            "{name}"
        );
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[key].is_null(), "{name}: {key}");
        }
        let volumes = pod["volumes"].as_array().unwrap().iter();
        let volumes: Vec<&Value> = volumes.map(|volume| &volume["name"]).collect();
        match name {
            "cert-manager" => assert_eq!(volumes, ["inject", "tls"], "and the certificate"),
            _ => assert_eq!(
                volumes,
                ["inject"],
                "{name}: only the configuration is mounted"
            ),
        }
    }
}

/// Root's two folders of the node, and nothing else of it: no capability, no token, no other namespace than the node's network.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_installer_of_the_plugin_has_two_folders_of_its_node_and_no_other_right() {
    let install = Install::values_file("cni").namespace("mesh");
    let objects = install.objects();
    let set = object(&objects, "DaemonSet", "istio-cni-node");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        })
    );
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null());
    let account = object(&objects, "ServiceAccount", "istio-cni-node");
    for place in [pod, account] {
        assert_eq!(place["automountServiceAccountToken"], false);
    }
    let paths = |list: &Value, key: &str| -> Vec<Value> {
        let items = list.as_array().unwrap().iter();
        items
            .map(|item| item.pointer(key).unwrap().clone())
            .collect()
    };
    assert_eq!(
        paths(&pod["volumes"], "/hostPath/path"),
        ["/var/lib/cni/bin", "/var/lib/cni/net.d"]
    );
    assert_eq!(
        paths(&container["volumeMounts"], "/mountPath"),
        [cni::BIN_DIR, cni::CONF_DIR]
    );
    let env = container["env"].as_array().unwrap().iter();
    let excluded = env
        .clone()
        .find(|variable| variable["name"] == "EXCLUDE_NAMESPACES")
        .unwrap();
    assert_eq!(excluded["value"], "kube-system,storage,mesh");
    // No rights in the cluster: nothing binds the account to a role.
    let bindings = objects
        .iter()
        .filter(|object| object.to_string().contains("\"subjects\""));
    for binding in bindings {
        assert!(
            !binding["subjects"].to_string().contains("istio-cni-node"),
            "{binding}"
        );
    }
    let without = Install::default().objects();
    assert!(!without.iter().any(|object| object["kind"] == "DaemonSet"));
}

/// Two control planes in one namespace share nothing that Helm would fight over.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn revisions_can_be_installed_beside_each_other() {
    let identities = |install: &Install| -> BTreeSet<String> {
        let objects = install.objects();
        let identity =
            |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        // What users' objects are is defined once: the chart leaves a definition alone that another release has brought.
        let own = objects
            .iter()
            .filter(|object| object["kind"] != "CustomResourceDefinition");
        own.map(identity).collect()
    };
    let default = identities(&Install::default());
    let canary = identities(&Install::default().set("revision=canary"));
    assert_eq!(default.len(), canary.len());
    assert!(default.is_disjoint(&canary), "{default:?} {canary:?}");
    let spelled_out = identities(&Install::default().set("revision=default"));
    assert_eq!(default, spelled_out);
}

/// A ConfigMap is reloaded by the running pods; rolling them for it would only make an outage possible.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn a_change_of_the_configuration_rolls_no_pod() {
    let pod = |install: &Install| {
        let objects = install.objects();
        object(&objects, "Deployment", "injector")["spec"]["template"].clone()
    };
    let changed = Install::default()
        .set("meshConfig.accessLogEncoding=JSON")
        .set("global.proxy.logLevel=debug")
        .set("sidecarInjectorWebhook.injectedAnnotations.a=b");
    assert_eq!(pod(&Install::default()), pod(&changed));
}

#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn a_disruption_budget_never_holds_up_the_only_replica() {
    for (replicas, budgets) in [(0, 0), (1, 0), (2, 1), (5, 1)] {
        let objects = Install::default()
            .set(&format!("pilot.replicaCount={replicas}"))
            .objects();
        let n_budgets = objects
            .iter()
            .filter(|object| object["kind"] == "PodDisruptionBudget")
            .count();
        assert_eq!(n_budgets, budgets, "{replicas} replicas");
    }
}

/// A value that is empty or false is a value: it switches off what the chart has switched on.
#[test]
#[ignore = "needs Helm: run cargo xtask test"]
fn the_injectors_environment_can_be_added_to_and_switched_off() {
    let objects = Install::default()
        .set("pilot.env.INJECTION_WEBHOOK_CONFIG_NAME=")
        .set("pilot.env.ENABLE_NATIVE_SIDECARS=false")
        .set("pilot.env.LIMIT=1000000")
        .set("pilot.env.Y=y")
        .objects();
    let value = |name: &str| variable(&objects, name);
    assert_eq!(value("INJECTION_WEBHOOK_CONFIG_NAME"), Some(json!("")));
    assert_eq!(value("ENABLE_NATIVE_SIDECARS"), Some(json!("false")));
    assert_eq!(value("LIMIT"), Some(json!("1000000")));
    assert_eq!(value("Y"), Some(json!("y")));
    assert_eq!(value("REVISION"), Some(json!("")));
}

#[test]
fn versions_are_the_workspaces() {
    let chart = super::helm::yaml_file("Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);
    assert_eq!(
        super::helm::yaml_file("values.yaml")["global"]["tag"],
        version
    );
    assert!(!file(".helmignore").is_empty());
}

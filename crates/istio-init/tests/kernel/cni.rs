//! The program as a CNI plugin: run from the node as a container runtime does, with the path of a pod's namespace.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use contract::{annotations, cni, net, ports};
use serde_json::{Value, json};
use testkit::netns::Pod;

use crate::lab::{APPLICATION, Lab, Listener, connect, generation, loopback_addresses, run};

/// What the plugin answered.
struct Answer {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

// === impl Answer ===

impl Answer {
    #[track_caller]
    fn succeeds(self) -> String {
        assert_eq!(self.status, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    #[track_caller]
    fn fails_with(self, code: u32, part: &str) {
        assert_eq!(self.status, Some(1), "{}{}", self.stdout, self.stderr);
        let error: Value = serde_json::from_str(&self.stdout).expect("an error is JSON");
        assert_eq!(error["code"], code, "{error}");
        let text = format!("{} {}", error["msg"], error["details"]);
        assert!(text.contains(part), "{part}: {error}");
    }
}

/// Runs the plugin on the node, for this namespace.
fn plugin(command: &str, namespace: &str, configuration: &Value) -> Answer {
    let mut child = Command::new(env!("CARGO_BIN_EXE_istio-init"))
        .arg("cni")
        .env_clear()
        .envs([
            ("CNI_COMMAND", command),
            ("CNI_NETNS", namespace),
            ("CNI_CONTAINERID", "c0ffee"),
            ("CNI_IFNAME", "eth0"),
            (
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart",
            ),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("it has an input");
    input
        .write_all(configuration.to_string().as_bytes())
        .expect("it reads its input");
    drop(input);
    let output = child.wait_with_output().expect("the program ends");
    Answer {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn ask(command: &str, pod: &Pod, configuration: &Value) -> Answer {
    plugin(
        command,
        &pod.namespace_path().to_string_lossy(),
        configuration,
    )
}

/// A configuration as libcni gives it to the last plugin of a list.
fn configuration(annotations: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "pods", "type": cni::PLUGIN,
        "capabilities": {cni::POD_ANNOTATIONS: true},
        "runtimeConfig": {cni::POD_ANNOTATIONS: annotations},
        "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}], "ips": [{"address": "10.244.0.2/24", "interface": 0}], "dns": {}},
    })
}

/// Annotations of an injected pod, with these beside the status.
fn injected(others: &Value) -> Value {
    let mut annotations = others.clone();
    let status = json!({"initContainers": ["istio-validation"], "containers": ["istio-proxy"]});
    annotations[annotations::STATUS] = json!(status.to_string());
    annotations
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn an_injected_pod_is_captured_and_the_result_of_the_plugin_before_is_passed_on() {
    let lab = Lab::new();
    let configuration = configuration(&injected(
        &json!({annotations::EXCLUDE_INBOUND_PORTS: "9000"}),
    ));
    let before = generation(&lab.pod);
    let result: Value =
        serde_json::from_str(&ask("ADD", &lab.pod, &configuration).succeeds()).expect("JSON");
    assert_eq!(result, configuration["prevResult"]);
    assert_eq!(generation(&lab.pod), before + 1);

    let (inbound, outbound) = (
        Listener::any(&lab.pod, ports::INBOUND),
        Listener::any(&lab.pod, ports::OUTBOUND),
    );
    let excluded = Listener::any(&lab.pod, 9000);
    for (own, peer) in lab.own_addresses().into_iter().zip(lab.peer_addresses()) {
        connect(&lab.peer, APPLICATION, SocketAddr::new(own, 8080)).expect("the proxy accepts");
        assert_eq!(inbound.accepted(), Some(SocketAddr::new(own, 8080)));
        connect(&lab.pod, APPLICATION, SocketAddr::new(peer, 8080)).expect("the proxy accepts");
        assert_eq!(outbound.accepted(), Some(SocketAddr::new(peer, 8080)));
        connect(&lab.peer, APPLICATION, SocketAddr::new(own, 9000))
            .expect("the application accepts");
        assert!(excluded.was_reached());
    }
    // An init container with the same flags finds nothing to do: the rules are the same.
    run(&lab.pod, "-i * -b * -d 15090,15021,15020,9000", &[]).succeeds_saying("rules unchanged");
    assert_eq!(generation(&lab.pod), before + 1);
}

/// Every question for DNS is captured, because the pod's resolver is not known on the node.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn flags_that_the_injector_recorded_give_what_an_init_container_sets_with_them() {
    let lab = Lab::new();
    for (flags, variables, init) in [
        (
            "-i 10.0.0.0/8 -b 80 -u 2000",
            json!({}),
            "-i 10.0.0.0/8 -b 80 -u 2000",
        ),
        (
            "-i * -b * --run-validation --skip-rule-apply",
            json!({"ISTIO_META_DNS_CAPTURE": "true"}),
            "-i * -b * --redirect-dns --capture-all-dns",
        ),
        (
            "-i * -b * -m TPROXY",
            json!({"DROP_INVALID": "true"}),
            "-i * -b * -m TPROXY --drop-invalid",
        ),
    ] {
        let arguments: Vec<_> = flags.split(' ').collect();
        let status = json!({
            "initContainers": ["istio-validation"], "containers": ["istio-proxy"],
            cni::CAPTURE: {cni::ARGS: arguments, cni::ENV: variables},
        });
        let configuration = configuration(&json!({annotations::STATUS: status.to_string()}));
        ask("ADD", &lab.pod, &configuration).succeeds();
        ask("CHECK", &lab.pod, &configuration).succeeds();
        let before = generation(&lab.pod);
        run(&lab.pod, init, &[]).succeeds_saying("rules unchanged");
        assert_eq!(generation(&lab.pod), before, "{flags}");
        ask("DEL", &lab.pod, &configuration).succeeds();
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn adding_again_changes_nothing_and_removing_leaves_nothing() {
    let lab = Lab::new();
    let configuration = configuration(&injected(&json!({})));
    ask("ADD", &lab.pod, &configuration).succeeds();
    let added = generation(&lab.pod);
    ask("ADD", &lab.pod, &configuration).succeeds();
    ask("CHECK", &lab.pod, &configuration).succeeds();
    assert_eq!(generation(&lab.pod), added);
    assert!(loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
    assert_eq!(ask("DEL", &lab.pod, &configuration).succeeds(), "");
    assert!(!loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
    let removed = generation(&lab.pod);
    assert_eq!(ask("DEL", &lab.pod, &configuration).succeeds(), "");
    assert_eq!(generation(&lab.pod), removed);
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_check_finds_rules_that_are_missing_or_different_and_repairs_nothing() {
    let lab = Lab::new();
    let configuration = configuration(&injected(&json!({})));
    ask("CHECK", &lab.pod, &configuration).fails_with(103, "shop/cart");
    ask("ADD", &lab.pod, &configuration).succeeds();
    assert_eq!(ask("CHECK", &lab.pod, &configuration).succeeds(), "");
    run(&lab.pod, "-i * -b 80", &[]).succeeds();
    let drifted = generation(&lab.pod);
    ask("CHECK", &lab.pod, &configuration).fails_with(103, "shop/cart");
    assert_eq!(generation(&lab.pod), drifted);
    ask("ADD", &lab.pod, &configuration).succeeds();
    ask("CHECK", &lab.pod, &configuration).succeeds();
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_pod_that_is_not_of_the_mesh_is_left_alone() {
    let lab = Lab::new();
    let before = generation(&lab.pod);
    let plain = configuration(&json!({"kubernetes.io/config.source": "api"}));
    for command in ["ADD", "CHECK", "DEL"] {
        ask(command, &lab.pod, &plain).succeeds();
    }
    assert_eq!(generation(&lab.pod), before);
    assert!(!loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn without_annotations_or_with_wrong_ones_the_pod_is_refused_and_nothing_is_set() {
    let lab = Lab::new();
    let before = generation(&lab.pod);
    let mut none = configuration(&json!({}));
    none.as_object_mut()
        .expect("an object")
        .remove("runtimeConfig");
    ask("ADD", &lab.pod, &none).fails_with(100, cni::POD_ANNOTATIONS);
    let wrong = configuration(&injected(
        &json!({annotations::EXCLUDE_OUTBOUND_PORTS: "http"}),
    ));
    ask("ADD", &lab.pod, &wrong).fails_with(101, "http");
    assert_eq!(generation(&lab.pod), before);
    for configuration in [none, wrong] {
        ask("DEL", &lab.pod, &configuration).succeeds();
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_namespace_that_is_gone_or_none_or_the_nodes_own_is_refused() {
    let lab = Lab::new();
    let configuration = configuration(&injected(&json!({})));
    plugin("ADD", "/var/run/netns/gone", &configuration).fails_with(3, "/var/run/netns/gone");
    plugin("ADD", "/proc/self/ns/net", &configuration).fails_with(4, "node's own");
    plugin("ADD", "/proc/self/status", &configuration).fails_with(102, "/proc/self/status");
    for namespace in [
        "/var/run/netns/gone",
        "/proc/self/ns/net",
        "/proc/self/status",
        "",
    ] {
        plugin("DEL", namespace, &configuration).succeeds();
    }
    drop(lab);
}

/// containerd raises the loopback interface by another plugin at the same time.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_loopback_interface_that_is_still_down_hides_no_family() {
    let namespace = testkit::netns::Node::new().expect("namespaces can be made");
    let pod = namespace.bare_pod().expect("there is room");
    assert!(loopback_addresses(&pod).is_empty());
    ask("ADD", &pod, &configuration(&injected(&json!({})))).succeeds();
    assert!(loopback_addresses(&pod).contains(&net::INBOUND_SOURCE_V6));
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_node_whose_rules_can_be_read_is_ready_for_pods() {
    let node = testkit::netns::Node::new().expect("namespaces can be made");
    let configuration = json!({"cniVersion": "1.1.0", "name": "pods", "type": cni::PLUGIN});
    for command in ["STATUS", "GC"] {
        let answer = node.enter(|| plugin(command, "", &configuration));
        assert_eq!(answer.succeeds(), "");
    }
}

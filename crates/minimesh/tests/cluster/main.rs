//! `minimesh kube-inject` and `minimesh why` with a cluster: a stand-in for the API server, a kubeconfig that leads to it, and the built program.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod api_server;
mod certs;
mod plan;
mod why;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use api_server::{ApiServer, refusal};
use serde_json::{Value, json};
use template::yaml;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: web, image: web}]}\n";
const HOMELESS_POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: web}]}\n";

const INJECTOR_MAP: &str = "/api/v1/namespaces/istio-system/configmaps/istio-sidecar-injector";
const MESH_MAP: &str = "/api/v1/namespaces/istio-system/configmaps/istio";
const NODES: &str = "/api/v1/nodes?limit=500";

/// A home folder with a kubeconfig, and the cluster that it leads to.
struct Mesh {
    home: tempfile::TempDir,
    server: ApiServer,
}

impl Mesh {
    /// A cluster with the shipped configuration and a node.
    fn new() -> Self {
        let server = ApiServer::start();
        server.put(INJECTOR_MAP, &config_map(&["config", "values"]));
        server.put(MESH_MAP, &config_map(&["mesh"]));
        server.put(NODES, &nodes(&["v1.34.0"], ""));
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".kube")).unwrap();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: dev\n\
             clusters: [{{name: dev, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: dev, user: {{token: secret-token}}}}]\n\
             contexts: [{{name: dev, context: {{cluster: dev, user: dev, namespace: team}}}}, {{name: bare, context: {{cluster: dev, user: dev}}}}]\n",
            server.address
        );
        fs::write(home.path().join(".kube/config"), kubeconfig).unwrap();
        Self { home, server }
    }

    fn run(&self, input: &str, args: &[&str]) -> Output {
        run(self.home.path(), input, args)
    }

    #[track_caller]
    fn injected(&self, input: &str, args: &[&str]) -> Value {
        let output = self.run(input, args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        yaml::parse("output", &text(&output.stdout)).unwrap()
    }

    #[track_caller]
    fn refused(&self, args: &[&str], parts: &[&str]) {
        let output = self.run(POD, args);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_eq!(text(&output.stdout), "", "nothing is printed on an error");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
    }
}

fn run(home: &Path, input: &str, args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["kube-inject", "-f", "-"])
        .args(args)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends early closes the pipe, which is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn shipped(file: &str) -> PathBuf {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    match file {
        "values" => chart.join("values.yaml"),
        file => chart.join("files").join(file),
    }
}

fn config_map(keys: &[&str]) -> Value {
    let data: serde_json::Map<_, _> = keys
        .iter()
        .map(|key| {
            let text = fs::read_to_string(shipped(key)).unwrap();
            ((*key).to_owned(), text.into())
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any"}, "data": data})
}

fn nodes(versions: &[&str], next: &str) -> Value {
    let items: Vec<_> = versions
        .iter()
        .map(|version| json!({"metadata": {"name": "n"}, "spec": {}, "status": {"nodeInfo": {"kubeletVersion": version}}}))
        .collect();
    json!({"apiVersion": "v1", "kind": "NodeList", "metadata": {"continue": next}, "items": items})
}

fn file_flags(files: &[&str]) -> Vec<String> {
    let all = [
        ("config", "--injectConfigFile"),
        ("values", "--valuesFile"),
        ("mesh", "--meshConfigFile"),
    ];
    let given = all.iter().filter(|(file, _)| files.contains(file));
    given
        .flat_map(|(file, flag)| {
            [
                (*flag).to_owned(),
                shipped(file).to_str().unwrap().to_owned(),
            ]
        })
        .collect()
}

fn is_native(pod: &Value) -> bool {
    let containers = pod["spec"]["initContainers"].as_array().unwrap();
    containers.iter().any(|item| item["name"] == "istio-proxy")
}

/// The variables of the sidecar.
fn variable<'a>(pod: &'a Value, name: &str) -> &'a str {
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    let proxy = lists.into_iter().flatten().flatten();
    let mut env = proxy
        .filter(|container| container["name"] == "istio-proxy")
        .flat_map(|container| container["env"].as_array().unwrap());
    let found = env.find(|item| item["name"] == name);
    found
        .and_then(|item| item["value"].as_str())
        .unwrap_or_default()
}

#[test]
fn the_clusters_configuration_gives_the_same_bytes_as_its_files() {
    let mesh = Mesh::new();
    let online = mesh.run(POD, &[]);
    assert!(online.status.success(), "{}", text(&online.stderr));
    let mut flags = file_flags(&["config", "values", "mesh"]);
    flags.extend(["--node-versions".to_owned(), "v1.34.0".to_owned()]);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let offline = run(Path::new("/nowhere"), POD, &flags);
    assert_eq!(text(&online.stdout), text(&offline.stdout));
    assert!(text(&online.stdout).contains("istio-proxy"));
    for request in mesh.server.requests() {
        let head = request.head.to_ascii_lowercase();
        assert!(
            head.contains("authorization: bearer secret-token"),
            "{head}"
        );
        assert!(head.contains("user-agent: minimesh/"), "{head}");
    }
}

#[test]
fn three_files_are_enough_even_where_the_kubeconfig_is_broken() {
    let mesh = Mesh::new();
    let flags = file_flags(&["config", "values", "mesh"]);
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    flags.extend(["--kubeconfig", "/nowhere", "--context", "none"]);
    let pod = mesh.injected(HOMELESS_POD, &flags);
    assert!(!is_native(&pod), "nothing is known of the nodes");
    assert!(mesh.server.paths().is_empty());
}

#[test]
fn a_file_stands_for_its_part_and_only_the_rest_is_asked_for() {
    for (files, asked) in [
        (&["config", "values"][..], &[MESH_MAP, NODES][..]),
        (&["mesh", "values"], &[INJECTOR_MAP, NODES]),
        (&["mesh", "config"], &[INJECTOR_MAP, NODES]),
        (&["mesh"], &[INJECTOR_MAP, NODES]),
        (&["config"], &[INJECTOR_MAP, MESH_MAP, NODES]),
    ] {
        let mesh = Mesh::new();
        let flags = file_flags(files);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        mesh.injected(POD, &flags);
        assert_eq!(mesh.server.paths(), asked, "{files:?}");
    }
}

#[test]
fn a_files_text_wins_over_the_clusters() {
    let mesh = Mesh::new();
    let config = mesh.home.path().join("config");
    let bare = "spec: {containers: [{name: istio-proxy, image: 'example.org/mine:1'}]}\n";
    fs::write(&config, bare).unwrap();
    let pod = mesh.injected(POD, &["--injectConfigFile", config.to_str().unwrap()]);
    assert!(pod.to_string().contains("example.org/mine:1"));
}

#[test]
fn revision_names_and_namespace_say_which_configmaps_are_read() {
    let both = |namespace: &str, injector: &str, mesh: &str| {
        [injector, mesh].map(|name| format!("/api/v1/namespaces/{namespace}/configmaps/{name}"))
    };
    for (args, expected) in [
        (
            &["-r", "canary"][..],
            both(
                "istio-system",
                "istio-sidecar-injector-canary",
                "istio-canary",
            ),
        ),
        (
            &["-r", "default"],
            both("istio-system", "istio-sidecar-injector", "istio"),
        ),
        (
            &["-i", "mesh", "-r", "canary", "--meshConfigMapName", "m"],
            both("mesh", "istio-sidecar-injector-canary", "m"),
        ),
        (
            &["--istioNamespace=mesh", "--injectConfigMapName=i"],
            both("mesh", "i", "istio"),
        ),
    ] {
        let mesh = Mesh::new();
        mesh.server
            .put(&expected[0], &config_map(&["config", "values"]));
        mesh.server.put(&expected[1], &config_map(&["mesh"]));
        mesh.injected(POD, args);
        assert_eq!(mesh.server.paths()[..2], expected, "{args:?}");
    }
}

#[test]
fn what_names_no_namespace_is_in_that_of_the_context() {
    let mesh = Mesh::new();
    for (input, args, expected) in [
        (HOMELESS_POD, &[][..], "/namespaces/team/"),
        (HOMELESS_POD, &["--context", "bare"], "/namespaces/default/"),
        (HOMELESS_POD, &["-n", "other"], "/namespaces/other/"),
        (POD, &["-n", "other"], "/namespaces/shop/"),
    ] {
        let pod = mesh.injected(input, args);
        let owner = variable(&pod, "ISTIO_META_OWNER");
        assert!(owner.contains(expected), "{args:?}: {owner}");
    }
}

#[test]
fn the_sidecar_is_native_if_every_node_of_every_page_has_it() {
    let mesh = Mesh::new();
    assert!(is_native(&mesh.injected(POD, &[])));
    mesh.server
        .put(NODES, &nodes(&["v1.34.0", "v1.33.1"], "p2"));
    let second = format!("{NODES}&continue=p2");
    mesh.server.put(&second, &nodes(&["v1.35.0"], ""));
    assert!(is_native(&mesh.injected(POD, &[])));
    mesh.server.put(&second, &nodes(&["v1.32.9"], ""));
    assert!(!is_native(&mesh.injected(POD, &[])));
    let unready = json!({"metadata": {"name": "n"}, "spec": {}});
    mesh.server.put(
        &second,
        &json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": [unready]}),
    );
    assert!(!is_native(&mesh.injected(POD, &[])));
}

#[test]
fn a_list_of_nodes_that_expires_is_read_again_whole() {
    let mesh = Mesh::new();
    mesh.server.put(NODES, &nodes(&["v1.32.0"], "p2"));
    mesh.server
        .refuse(&format!("{NODES}&continue=p2"), 410, "the list is gone");
    mesh.server.put("/api/v1/nodes", &nodes(&["v1.34.0"], ""));
    assert!(is_native(&mesh.injected(POD, &[])));
}

#[test]
fn nodes_are_not_asked_for_where_the_answer_is_known() {
    for (args, native) in [
        (&["--native-sidecars", "true"][..], true),
        (&["--native-sidecars", "false"], false),
        (&["--node-versions", "v1.32.0"], false),
    ] {
        let mesh = Mesh::new();
        mesh.server.refuse(NODES, 403, "nodes is forbidden");
        assert_eq!(is_native(&mesh.injected(POD, args)), native, "{args:?}");
        assert_eq!(mesh.server.paths(), [INJECTOR_MAP, MESH_MAP], "{args:?}");
    }
}

#[test]
fn the_injectors_own_environment_holds_where_no_flag_is_given() {
    let mesh = Mesh::new();
    let mut map = config_map(&["config", "values"]);
    let with = |value: &str| {
        json!({"pilot": {"env": {"ENABLE_NATIVE_SIDECARS": value}}})
            .to_string()
            .into()
    };
    map["data"]["values"] = with("false");
    mesh.server.put(INJECTOR_MAP, &map);
    assert!(!is_native(&mesh.injected(POD, &[])));
    assert!(is_native(
        &mesh.injected(POD, &["--native-sidecars", "auto"])
    ));
    map["data"]["values"] = with("perhaps");
    mesh.server.put(INJECTOR_MAP, &map);
    mesh.refused(&[], &["pilot.env.ENABLE_NATIVE_SIDECARS", "perhaps"]);
}

#[test]
fn the_namespace_is_read_where_its_object_decides() {
    let mesh = Mesh::new();
    let path = "/api/v1/namespaces/shop";
    let annotations = json!({"openshift.io/sa.scc.uid-range": "1000650000/10000"});
    mesh.server.put(path, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}}));
    let twice = format!("{POD}---\n{POD}");
    let args = ["--platform", "openshift"];
    let output = mesh.run(&twice, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout)
            .matches("runAsUser: 1000659999")
            .count(),
        2,
        "{}",
        text(&output.stdout)
    );
    assert_eq!(mesh.server.paths()[3..], [path], "read once");
    // A namespace that is yet to be made says nothing.
    mesh.server.remove(path);
    assert!(!mesh.injected(POD, &args).to_string().contains("1000659999"));
    mesh.server.refuse(
        path,
        403,
        "namespaces \"shop\" is forbidden: User \"u\" cannot get",
    );
    mesh.refused(&args, &["namespace shop", "User \"u\" cannot get"]);
}

#[test]
fn a_configmap_that_is_not_there_is_named_with_what_to_try() {
    for path in [INJECTOR_MAP, MESH_MAP] {
        let mesh = Mesh::new();
        mesh.server.remove(path);
        let name = format!(
            "ConfigMap istio-system/{}",
            path.rsplit('/').next().unwrap()
        );
        let server = format!("http://{}", mesh.server.address);
        mesh.refused(
            &[],
            &[
                &name,
                "is minimesh installed",
                "--istioNamespace",
                "--revision",
                &server,
                "context dev",
            ],
        );
    }
}

#[test]
fn a_key_that_is_not_there_is_named_with_those_that_are() {
    let mesh = Mesh::new();
    mesh.server.put(
        INJECTOR_MAP,
        &json!({"metadata": {"name": "any"}, "data": {"config": "", "other": ""}}),
    );
    mesh.refused(
        &[],
        &[
            "ConfigMap istio-system/istio-sidecar-injector",
            "\"values\"",
            "config, other",
        ],
    );
    mesh.server
        .put(MESH_MAP, &json!({"metadata": {"name": "any"}}));
    mesh.server
        .put(INJECTOR_MAP, &config_map(&["config", "values"]));
    mesh.refused(
        &[],
        &["ConfigMap istio-system/istio", "\"mesh\"", "is empty"],
    );
}

#[test]
fn a_text_that_is_wrong_is_named_by_configmap_and_key() {
    let mesh = Mesh::new();
    let mut map = config_map(&["config", "values"]);
    map["data"]["values"] = "global: [".into();
    mesh.server.put(INJECTOR_MAP, &map);
    mesh.refused(
        &[],
        &["ConfigMap istio-system/istio-sidecar-injector, key values"],
    );
}

#[test]
fn a_refusal_says_which_right_is_missing() {
    let mesh = Mesh::new();
    let message = "configmaps \"istio-sidecar-injector\" is forbidden: User \"u\" cannot get resource \"configmaps\"";
    mesh.server.refuse(INJECTOR_MAP, 403, message);
    mesh.refused(
        &[],
        &[
            "ConfigMap istio-system/istio-sidecar-injector",
            "a right is missing",
            message,
        ],
    );
    mesh.server.refuse(INJECTOR_MAP, 401, "Unauthorized");
    mesh.refused(&[], &["does not accept the credentials", "context dev"]);
    mesh.server.refuse(INJECTOR_MAP, 500, "etcd is away");
    mesh.refused(&[], &["500", "etcd is away"]);
    let mesh = Mesh::new();
    mesh.server.refuse(
        NODES,
        403,
        "nodes is forbidden: User \"u\" cannot list resource \"nodes\"",
    );
    mesh.refused(
        &[],
        &[
            "--native-sidecars",
            "--node-versions",
            "cannot list resource \"nodes\"",
        ],
    );
}

#[test]
fn an_answer_that_is_no_api_servers_is_said_to_be_none() {
    let mesh = Mesh::new();
    mesh.server.put(INJECTOR_MAP, &json!("welcome"));
    mesh.refused(&[], &["is this a Kubernetes API server"]);
    mesh.server.reply(INJECTOR_MAP, 200, "<html>welcome</html>");
    mesh.refused(&[], &["is this a Kubernetes API server"]);
    mesh.server
        .reply(INJECTOR_MAP, 404, &refusal(404, "not found").to_string());
    mesh.refused(&[], &["is minimesh installed"]);
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let mesh = Mesh::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (server, parts) in [
        (
            format!("http://{address}"),
            &["cannot be reached", "refused"][..],
        ),
        (
            "http://api.invalid".to_owned(),
            &["cannot be reached", "\"api.invalid\""],
        ),
    ] {
        let path = mesh.home.path().join("away");
        let away = fs::read_to_string(mesh.home.path().join(".kube/config"))
            .unwrap()
            .replace(&format!("http://{}", mesh.server.address), &server);
        fs::write(&path, away).unwrap();
        let args = ["--kubeconfig", path.to_str().unwrap()];
        mesh.refused(&args, &[&server]);
        mesh.refused(&args, parts);
    }
}

#[test]
fn a_kubeconfig_that_is_wrong_is_named() {
    let mesh = Mesh::new();
    mesh.refused(
        &["--kubeconfig", "/nowhere"],
        &["/nowhere", "--injectConfigFile"],
    );
    mesh.refused(
        &["--context", "prod"],
        &[".kube/config", "\"prod\"", "dev, bare"],
    );
    let empty = tempfile::tempdir().unwrap();
    let output = run(empty.path(), POD, &[]);
    let message = text(&output.stderr);
    assert!(!output.status.success());
    for part in [
        "no cluster",
        ".kube/config",
        "--kubeconfig",
        "--injectConfigFile",
        "--valuesFile",
        "--meshConfigFile",
    ] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn a_pod_without_a_service_account_says_so() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["kube-inject", "-f", "-"])
        .env_clear()
        .env("HOME", empty.path())
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = text(&output.stderr);
    assert!(message.contains("service account"), "{message}");
}

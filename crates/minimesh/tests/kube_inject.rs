//! `minimesh kube-inject` as a person runs it: the built program, files in and out, messages and exit status.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use template::yaml;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: web, image: web}]}\n";

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../charts/minimesh")
        .join(file)
}

/// Runs the command on `input` with the shipped configuration.
fn inject(input: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minimesh"));
    command.args(["kube-inject", "-f", "-"]);
    for (flag, file) in [
        ("--injectConfigFile", "files/config"),
        ("--valuesFile", "values.yaml"),
        ("--meshConfigFile", "files/mesh"),
    ] {
        if !args.contains(&flag) {
            command.arg(flag).arg(shipped(file));
        }
    }
    feed(command.args(args), input)
}

fn feed(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .env_clear()
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

#[track_caller]
fn injected(input: &str, args: &[&str]) -> Vec<Value> {
    let output = inject(input, args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    yaml::documents(&text(&output.stdout))
        .iter()
        .map(|document| document.parse("output").unwrap())
        .collect()
}

fn names<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item["name"].as_str())
        .collect()
}

#[track_caller]
fn refused(input: &str, args: &[&str], parts: &[&str]) {
    let output = inject(input, args);
    let message = text(&output.stderr);
    assert!(
        !output.status.success(),
        "accepted: {}",
        text(&output.stdout)
    );
    assert_eq!(text(&output.stdout), "", "nothing is printed on an error");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn a_pod_gets_both_containers() {
    let pod = injected(POD, &[]).remove(0);
    assert_eq!(names(&pod, "/spec/initContainers"), ["istio-init"]);
    assert_eq!(names(&pod, "/spec/containers"), ["web", "istio-proxy"]);
}

#[test]
fn the_sidecar_is_native_where_asked_for_or_where_the_nodes_have_it() {
    for args in [
        ["--native-sidecars", "true"],
        ["--node-versions", "v1.33.0,v1.34.0"],
    ] {
        let pod = injected(POD, &args).remove(0);
        assert_eq!(
            names(&pod, "/spec/initContainers"),
            ["istio-init", "istio-proxy"]
        );
        assert_eq!(pod["spec"]["initContainers"][1]["restartPolicy"], "Always");
    }
    let pod = injected(POD, &["--node-versions", "v1.32.0,v1.34.0"]).remove(0);
    assert_eq!(names(&pod, "/spec/containers"), ["web", "istio-proxy"]);
}

#[test]
fn pod_templates_are_injected_where_each_kind_has_them() {
    let template =
        "{metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}";
    for (head, path) in [
        ("apiVersion: apps/v1\nkind: Deployment", "/spec/template"),
        ("apiVersion: apps/v1\nkind: StatefulSet", "/spec/template"),
        ("apiVersion: batch/v1\nkind: Job", "/spec/template"),
        (
            "apiVersion: batch/v1\nkind: CronJob",
            "/spec/jobTemplate/spec/template",
        ),
    ] {
        let spec = if path.contains("job") {
            format!("{{jobTemplate: {{spec: {{template: {template}}}}}}}")
        } else {
            format!("{{template: {template}}}")
        };
        let workload = injected(
            &format!("{head}\nmetadata: {{name: web}}\nspec: {spec}\n"),
            &[],
        )
        .remove(0);
        let pod = workload.pointer(path).unwrap();
        assert_eq!(
            names(pod, "/spec/containers"),
            ["web", "istio-proxy"],
            "{head}"
        );
        assert_eq!(pod.get("kind"), None, "{head}");
        assert_eq!(
            pod["metadata"]["labels"]["service.istio.io/canonical-name"],
            "web"
        );
        assert_eq!(
            workload["metadata"].as_object().unwrap().len(),
            1,
            "only the pod template is changed"
        );
    }
}

#[test]
fn lists_are_injected_item_by_item() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: web, image: web}]}}";
    let list = injected(
        &format!("apiVersion: v1\nkind: List\nitems: [{pod}, {{apiVersion: v1, kind: Service}}]\n"),
        &[],
    );
    assert_eq!(
        names(&list[0]["items"][0], "/spec/containers"),
        ["web", "istio-proxy"]
    );
    assert_eq!(list[0]["items"][1]["kind"], "Service");
}

#[test]
fn everything_else_passes_through_byte_for_byte() {
    let odd = "\u{feff}# a comment\r\napiVersion: v1\r\nkind:   Service   # of ours\r\nspec: {ports: [ {port: 0400} ]}\r\n---\n\n# nothing here\n---\nkind: ConfigMap\ndata: {a: |\n    x\n   }\nno newline at the end";
    let valid = "# a comment\napiVersion: v1\nkind:   Service   # of ours\nspec: {ports: [ {port: 0400} ]}\n---\n\n# nothing here\n---\nkind: ConfigMap\nlast: no newline at the end";
    assert_eq!(text(&inject(valid, &[]).stdout), valid);
    let windows = valid.replace('\n', "\r\n");
    assert_eq!(text(&inject(&windows, &[]).stdout), windows);
    // What is no YAML is no manifest, and is refused with its place.
    refused(odd, &[], &["standard input:"]);
}

#[test]
fn documents_keep_their_order_and_their_separators() {
    let service = "# the service\nkind: Service\n";
    let output = text(&inject(&format!("{service}---\n{POD}---\n{service}"), &[]).stdout);
    let kinds: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("kind:"))
        .collect();
    assert_eq!(kinds, ["kind: Service", "kind: Pod", "kind: Service"]);
    assert_eq!(output.lines().filter(|line| *line == "---").count(), 2);
    assert!(output.starts_with(service) && output.ends_with(service));
}

#[test]
fn a_pod_that_is_not_injected_is_said_and_passes_through() {
    for (pod, message) in [
        (
            POD.replace("spec: {", "spec: {hostNetwork: true, "),
            "host networking",
        ),
        (
            POD.replace(
                "namespace: shop",
                "namespace: shop, labels: {sidecar.istio.io/inject: \"false\"}",
            ),
            "disabled",
        ),
        (
            POD.replace("namespace: shop", "namespace: kube-system"),
            "kube-system",
        ),
    ] {
        let output = inject(&pod, &[]);
        assert!(output.status.success());
        assert_eq!(text(&output.stdout), pod);
        let said = text(&output.stderr);
        assert!(said.contains(message) && said.contains("/web\""), "{said}");
    }
}

#[test]
fn a_wrong_annotation_is_refused_by_name() {
    let pod = POD.replace(
        "namespace: shop",
        "namespace: shop, annotations: {status.sidecar.istio.io/port: http}",
    );
    refused(
        &pod,
        &[],
        &["Pod \"shop/web\"", "status.sidecar.istio.io/port", "http"],
    );
}

#[test]
fn a_wrong_manifest_is_refused_with_its_place() {
    refused("kind: Pod\nspec: [\n", &[], &["standard input:"]);
    refused(
        "apiVersion: v1\nkind: Pod\nspec: {containers: {}}\n",
        &[],
        &["spec.containers"],
    );
    refused(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
        &[],
        &["Deployment", "spec.template"],
    );
}

#[test]
fn a_wrong_configuration_is_refused_with_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::write(&config, "policy: enabled\ntemplates:\n  sidecar: |\n    metadata: {{ .ObjectMeta.Name | quoote }}\n").unwrap();
    let config = config.to_str().unwrap();
    refused(
        POD,
        &["--injectConfigFile", config],
        &["config", "sidecar", "quoote"],
    );
    refused(
        POD,
        &["--injectConfigFile", "/nowhere"],
        &["--injectConfigFile", "/nowhere"],
    );
    refused(
        POD,
        &["--native-sidecars", "maybe"],
        &["--native-sidecars", "maybe"],
    );
    refused(POD, &["--platform", "mars"], &["--platform", "mars"]);
    refused(POD, &["--unknown"], &["--unknown"]);
}

#[test]
fn the_old_format_of_the_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let old = "policy: enabled\ntemplate: |-\n  containers:\n  - name: istio-proxy\n    image: [[ annotation .ObjectMeta `sidecar.istio.io/proxyImage` \"mesh/old:1\" ]]\n";
    fs::write(&config, old).unwrap();
    let pod = injected(POD, &["--injectConfigFile", config.to_str().unwrap()]).remove(0);
    let proxy = pod["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["name"] == "istio-proxy");
    assert_eq!(proxy.unwrap()["image"], "mesh/old:1");
}

#[test]
fn the_output_file_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.yaml");
    let target = path.to_str().unwrap();
    assert!(inject(POD, &["-o", target]).status.success());
    let first = fs::read_to_string(&path).unwrap();
    assert!(first.contains("istio-proxy"));
    let bad = "apiVersion: v1\nkind: Pod\nspec: {containers: 7}\n";
    assert!(
        !inject(&format!("{POD}---\n{bad}"), &["-o", target])
            .status
            .success()
    );
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        first,
        "a failure leaves the old file"
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "and nothing beside it"
    );
    refused(POD, &["-o", "/nowhere/out.yaml"], &["/nowhere/out.yaml"]);
}

#[test]
fn the_version_is_printed() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minimesh"));
    let output = feed(command.arg("version"), "");
    let expected = concat!("minimesh ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn the_command_line_that_is_wrong_has_an_exit_status_of_its_own() {
    assert_eq!(inject(POD, &["--unknown"]).status.code(), Some(2));
    assert_eq!(inject("kind: [", &[]).status.code(), Some(1));
}

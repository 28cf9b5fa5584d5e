//! Configurations of all kinds: the shipped one in several forms, and templates that do to a pod whatever a template can.

use std::{fs, path::Path, sync::LazyLock};

use template::{Config, NativeSidecars, Options, Sources, Text};

/// The shipped configuration with and without native sidecars come first.
pub(crate) static CONFIGS: LazyLock<Vec<Config>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a configuration");
    let shipped = ["files/config", "values.yaml", "files/mesh"]
        .map(|name| read(&format!("../../charts/minimesh/{name}")));
    let [config, values, mesh] = shipped.each_ref().map(String::as_str);
    let merging = format!(
        "{}\nenablePrometheusMerge: true\n",
        without(mesh, "enablePrometheusMerge")
    );
    let mut configs = vec![
        load(config, values, &merging, NativeSidecars::Never),
        load(config, values, &merging, NativeSidecars::Always),
        load(config, values, mesh, NativeSidecars::Always),
    ];
    for own in ["small", "several", "metadata", "directives", "types"] {
        let own = read(&format!("tests/data/{own}.config"));
        configs.push(load(
            &own,
            "{}",
            "enablePrometheusMerge: true",
            NativeSidecars::Auto,
        ));
    }
    for template in TEMPLATES {
        let indented: String = template
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect();
        let own = format!(
            "policy: enabled\ninjectedAnnotations: {{added: 'yes'}}\ntemplates:\n  sidecar: |\n{indented}"
        );
        configs.push(load(&own, "{}", "{}", NativeSidecars::Never));
    }
    configs
});

/// What templates can do beside adding a sidecar.
const TEMPLATES: &[&str] = &[
    // A gateway's.
    "spec:
  securityContext:
    sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '0'}]
  containers:
  - name: istio-proxy
    image: agent",
    // No sidecar, but a part of every container.
    "spec:
  initContainers:
  - {name: grpc-bootstrap-init, image: init}
  containers:
  {{- range .Spec.Containers }}
  - name: {{ .Name }}
    env: [{name: A, value: template}, {name: B, value: template}]
    volumeMounts: [{name: shared, mountPath: /data}]
  {{- end }}
  volumes: [{name: shared, emptyDir: {}}, {name: data, emptyDir: {}}]",
    // Settings of the whole pod, some of them the author's.
    "metadata:
  labels: {app: mesh, added: 'yes'}
  annotations: {note: mesh}
  finalizers: [mesh]
spec:
  hostUsers: false
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.1]}
  securityContext: {fsGroup: 1337}
  nodeSelector: {mesh: 'true'}
  tolerations: [{key: mesh}]
  imagePullSecrets: [{name: pull}, {name: mesh}]
  volumes:
  - {name: data, emptyDir: {medium: Memory}}
  - {name: certs, secret: {secretName: x}}
  initContainers:
  - {name: setup, image: setup}
  containers:
  - {name: istio-proxy, image: agent}
  - {name: helper, image: helper, readinessProbe: {httpGet: {port: 1}}}",
    // Taking things away.
    "metadata:
  labels: {app: null}
  annotations: {only: 'this'}
spec:
  securityContext: {$patch: replace, fsGroup: 1}
  nodeSelector: {$patch: delete}
  terminationGracePeriodSeconds: null
  containers:
  - {name: b, $patch: delete}
  - {name: a, env: null, resources: {$patch: replace, limits: {cpu: 1}}}
  - {name: istio-proxy, image: agent}
  $setElementOrder/containers: [{name: istio-proxy}, {name: c}, {name: a}]
  volumes: [{$patch: replace}, {name: data}]",
];

fn load(config: &str, values: &str, mesh: &str, native_sidecars: NativeSidecars) -> Config {
    let [config, values, mesh] = [config, values, mesh].map(|text| Text { name: "test", text });
    let sources = Sources {
        config,
        values,
        mesh,
    };
    let options = Options {
        native_sidecars,
        ..Options::default()
    };
    Config::load(&sources, options).expect("a sound configuration")
}

/// The text without the line of `key`.
fn without(text: &str, key: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(key));
    lines.map(|line| format!("{line}\n")).collect()
}

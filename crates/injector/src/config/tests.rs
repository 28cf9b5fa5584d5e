use clap::Parser as _;

use super::*;

/// The arguments as they are, whatever the environment of the test holds.
fn config_in(host: Option<&str>, args: &[&str]) -> Result<Config, ConfigError> {
    let mut args = Args::try_parse_from([&["injector"], args].concat()).unwrap();
    args.cluster.kubernetes_service_host = host.map(str::to_owned);
    Config::try_from(args)
}

fn config(args: &[&str]) -> Result<Config, ConfigError> {
    config_in(None, args)
}

fn in_pod(args: &[&str]) -> Result<Config, ConfigError> {
    config_in(Some("10.96.0.1"), args)
}

fn settings_of(config: Config) -> Settings {
    match config.mode {
        Mode::Cluster(settings) => *settings,
        Mode::Files(_) => panic!("it looks for no cluster"),
    }
}

const FILES: [&str; 3] = ["--inject-dir=/d", "--tls-cert-file=c", "--tls-key-file=k"];

#[test]
fn files_are_found_in_the_mounted_folder() {
    let config = config(&[&FILES[..], &["--mesh-config=/m"]].concat()).unwrap();
    assert_eq!(config.injection.path, PathBuf::from("/d/config"));
    assert_eq!(config.values.path, PathBuf::from("/d/values"));
    assert_eq!(config.mesh.unwrap().path, PathBuf::from("/m"));
}

#[test]
fn with_all_files_no_cluster_is_looked_for() {
    let config = in_pod(&[&FILES[..], &["--kubeconfig=/k"]].concat()).unwrap();
    assert!(matches!(config.mode, Mode::Files(_)));
    assert_eq!((config.mesh, config.monitoring_address), (None, None));
}

#[test]
fn in_a_pod_no_flag_is_needed() {
    let config = in_pod(&[]).unwrap();
    let path = |key| PathBuf::from(control_plane::INJECT_DIR).join(key);
    assert_eq!(config.injection.path, path("config"));
    assert_eq!(config.values.path, path("values"));
    assert_eq!(config.mesh.clone().unwrap().path, path("mesh"));
    assert_eq!(
        config.monitoring_address,
        Some("[::]:15014".parse().unwrap())
    );
    assert_eq!(
        config.names(),
        [
            "ConfigMap istio-system/istio-sidecar-injector, key config",
            "ConfigMap istio-system/istio-sidecar-injector, key values",
            "ConfigMap istio-system/istio, key mesh",
        ]
    );
    let settings = settings_of(config);
    assert_eq!(settings.namespace, "istio-system");
    assert!(matches!(settings.certificates, Certificates::Authority));
    assert_eq!(
        settings.webhook_configuration.as_deref(),
        Some("istio-sidecar-injector")
    );
    assert!(settings.follow_nodes);
}

#[test]
fn what_the_cluster_is_for_follows_the_flags() {
    let all = in_pod(&[
        "--revision=canary",
        "--native-sidecars=true",
        "--custom-host=a.example,b.example",
        "--tls-cert-file=c",
        "--tls-key-file=k",
        "--mesh-config=/m",
    ])
    .unwrap();
    let names = all.names();
    assert!(names[0].contains("istio-sidecar-injector-canary, key config"));
    assert_eq!(names[2], "/m");
    let settings = settings_of(all);
    assert_eq!(settings.revision, "canary");
    assert_eq!(
        settings.webhook_configuration.as_deref(),
        Some("istio-sidecar-injector-canary")
    );
    assert!(!settings.follow_nodes);
    assert_eq!(settings.names.last().unwrap().as_ref(), "b.example");
    assert!(matches!(settings.certificates, Certificates::Files(_)));

    let none = settings_of(in_pod(&["--webhook-config=", "--node-versions=v1.30.0"]).unwrap());
    assert_eq!(none.webhook_configuration, None);
    assert!(!none.follow_nodes);
}

#[test]
fn a_kubeconfig_is_a_cluster_too() {
    let config = config(&["--kubeconfig=/k", "--inject-dir=/d"]).unwrap();
    assert_eq!(config.injection.path, PathBuf::from("/d/config"));
    assert_eq!(config.mesh.clone().unwrap().path, PathBuf::from("/d/mesh"));
    assert_eq!(config.names(), ["/d/config", "/d/values", "/d/mesh"]);
    assert_eq!(settings_of(config).kubeconfig, Some("/k".into()));
}

#[test]
fn all_problems_are_told_together() {
    let error = config(&["--native-sidecars=maybe", "--platform=vax"]).unwrap_err();
    assert_eq!(error.problems.len(), 5, "{error}");
    let text = error.to_string();
    for flag in [
        "--inject-dir (INJECT_DIR)",
        "--kubeconfig (KUBECONFIG)",
        "--tls-cert-file (TLS_CERT_FILE)",
        "--tls-key-file (TLS_KEY_FILE)",
        "--native-sidecars (ENABLE_NATIVE_SIDECARS)",
        "maybe",
        "--platform (PLATFORM)",
    ] {
        assert!(text.contains(flag), "{text}");
    }
    let error = in_pod(&["--tls-cert-file=c", "--custom-host=a b", "--platform=vax"]).unwrap_err();
    assert_eq!(error.problems.len(), 3, "{error}");
    let text = error.to_string();
    for flag in [
        "--tls-key-file (TLS_KEY_FILE)",
        "--custom-host (ISTIOD_CUSTOM_HOST)",
        "PLATFORM",
    ] {
        assert!(text.contains(flag), "{text}");
    }
    let error = in_pod(&["--namespace="]).unwrap_err().to_string();
    assert!(error.contains("--namespace (POD_NAMESPACE)"), "{error}");
}

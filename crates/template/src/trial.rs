//! Trying a configuration on sample pods.
//!
//! That templates parse does not mean that they render, or to a part of a pod. The injector asks [`run`] before it uses a new configuration; lint
//! tries every template on all samples. A template that refuses a sample on purpose, by `fail` or `required`, is within its rights: it may ask
//! for a label that the samples lack.

use std::collections::BTreeMap;

use contract::{annotations, labels, pod::PROXY_CONTAINER};
use serde_json::{Value, json};

use crate::{
    config::Config,
    error::Error,
    gotemplate::ExecReason,
    inject::{Namespace, Outcome, Request, inject},
};

/// Functions by which templates refuse pods.
const REFUSALS: [&str; 2] = ["fail", "required"];

/// Injects the plainest of pods, as what fails for it fails for nearly every other.
///
/// # Errors
/// What any author of a plain pod would be told.
pub fn run(config: &Config) -> Result<(), Error> {
    match injected(config, &plain()) {
        Err(error) if !is_deliberate(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Injects a pod in namespace `default`; gives it as it is where it is not to be injected.
pub(crate) fn injected(config: &Config, pod: &Value) -> Result<Value, Error> {
    let request = Request {
        pod,
        namespace: &Namespace::named("default"),
        owner: None,
        environment: &BTreeMap::new(),
    };
    Ok(match inject(config, &request)? {
        Outcome::Injected { pod, .. } => pod,
        Outcome::Skipped { .. } => pod.clone(),
    })
}

/// Whether a template refuses the pod on purpose.
pub(crate) fn is_deliberate(error: &Error) -> bool {
    let Error::Render { source, .. } = error else {
        return false;
    };
    matches!(&source.reason, ExecReason::Call { function, .. } if REFUSALS.contains(function))
}

/// The sample pods with what messages call them.
pub(crate) fn samples() -> [(&'static str, Value); 3] {
    [
        ("a plain pod", plain()),
        ("a pod with many annotations", annotated()),
        ("a gateway's pod", gateway()),
    ]
}

fn plain() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", "labels": {labels::INJECT: "true"}},
        "spec": {"containers": [{"name": "application", "image": "application"}]},
    })
}

fn annotated() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "trial-5d8f9c7b6d-",
            "labels": {
                labels::INJECT: "true",
                "app": "trial",
                "version": "v1",
                "pod-template-hash": "5d8f9c7b6d",
            },
            "annotations": {
                annotations::PROXY_IMAGE: "registry.example/proxy:1",
                annotations::STATUS_PORT: "15099",
                annotations::REWRITE_PROBES: "true",
                annotations::PROXY_CONFIG: "concurrency: 3\nproxyMetadata: {TRIAL: \"yes: no\"}\nholdApplicationUntilProxyStarts: true\n",
                annotations::INCLUDE_OUTBOUND_IP_RANGES: "10.0.0.0/8,fd00::/8",
                annotations::EXCLUDE_OUTBOUND_IP_RANGES: "10.1.0.0/16",
                annotations::INCLUDE_INBOUND_PORTS: "*",
                annotations::EXCLUDE_INBOUND_PORTS: "9000,9001",
                annotations::INCLUDE_OUTBOUND_PORTS: "5432",
                annotations::EXCLUDE_OUTBOUND_PORTS: "3306",
                annotations::INTERCEPTION_MODE: "TPROXY",
                "sidecar.istio.io/logLevel": "debug",
                "sidecar.istio.io/componentLogLevel": "http:trace",
                "sidecar.istio.io/agentLogLevel": "default:debug",
                "sidecar.istio.io/proxyCPU": "100m",
                "sidecar.istio.io/proxyMemory": "64Mi",
                "sidecar.istio.io/proxyCPULimit": "1",
                "sidecar.istio.io/proxyMemoryLimit": "128Mi",
                "sidecar.istio.io/userVolume": r#"{"own":{"emptyDir":{}}}"#,
                "sidecar.istio.io/userVolumeMount": r#"{"own":{"mountPath":"/own"}}"#,
                "readiness.status.sidecar.istio.io/initialDelaySeconds": "2",
                "readiness.status.sidecar.istio.io/periodSeconds": "3",
                "readiness.status.sidecar.istio.io/failureThreshold": "4",
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "8080",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "trial-5d8f9c7b6d", "uid": "0", "controller": true,
            }],
        },
        "spec": {
            "serviceAccountName": "trial",
            "initContainers": [{"name": "before", "image": "application"}],
            "containers": [{
                "name": "application",
                "image": "application:1",
                "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
            }],
        },
    })
}

fn gateway() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", "labels": {labels::INJECT: "true", "istio": "ingressgateway"}},
        "spec": {"containers": [{"name": PROXY_CONTAINER, "image": "auto", "ports": [{"containerPort": 8443}]}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Sources, Text},
        options::Options,
    };

    fn config(template: &str) -> Config {
        let text = |text| Text { name: "x", text };
        let config =
            format!("templates:\n  sidecar: |\n    {template}\ndefaultTemplates: [sidecar]\n");
        let sources = Sources {
            config: text(&config),
            values: text(""),
            mesh: text(""),
        };
        Config::load(&sources, Options::default()).expect("it compiles")
    }

    #[test]
    fn what_renders_to_a_part_of_a_pod_passes() {
        for template in [
            "spec: {dnsPolicy: Default}",
            r#"{{ fail "label your pods" }}"#,
        ] {
            let outcome = run(&config(template));
            assert!(outcome.is_ok(), "{template}: {outcome:?}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_or_merged_is_told() {
        for (template, expected) in [
            (
                "spec: {{ index (splitList `,` .ObjectMeta.Name) 7 }}",
                "render",
            ),
            ("spec: [", "not YAML"),
            ("spec: {containers: 7}", "no pod"),
        ] {
            let error = run(&config(template)).expect_err(template).to_string();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }

    #[test]
    fn the_samples_are_pods_that_nothing_is_wrong_with() {
        let config = config("spec: {dnsPolicy: Default}");
        for (name, pod) in samples() {
            let outcome = injected(&config, &pod).expect(name);
            assert_eq!(outcome["spec"]["dnsPolicy"], "Default", "{name}");
        }
    }
}

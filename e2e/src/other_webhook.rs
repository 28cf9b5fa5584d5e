//! Somebody else's mutating webhook, which the API server asks after the mesh's.
//!
//! The server is `test-server webhook`; here it is set up in a namespace, with a certificate of its own, for pods of one namespace.

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{Namespace, kubectl};

/// The container that it adds to pods.
pub const CONTAINER: &str = "late";
/// Where that container serves HTTP.
pub const PORT: u16 = 8090;

/// A webhook that is asked as long as the value lives.
#[derive(Debug)]
pub struct OtherWebhook {
    name: String,
}

const SERVER: &str = "late-webhook";

// === impl OtherWebhook ===

impl OtherWebhook {
    /// Runs the server in `home` and has it asked about the pods of `namespace`.
    ///
    /// # Errors
    /// It does not get ready, or the API server refuses.
    pub fn install(home: &Namespace, namespace: &Namespace) -> anyhow::Result<Self> {
        let host = format!("{SERVER}.{}.svc", home.name());
        let pair = rcgen::generate_simple_self_signed([host])
            .context("cannot make a certificate for the other webhook")?;
        home.apply_text(&server(&pair.cert.pem(), &pair.signing_key.serialize_pem()))?;
        home.pod(SERVER).wait_ready()?;
        // Webhooks are asked in the order of their configurations' names.
        let name = format!("zz-{}", home.name());
        let configuration = configuration(&name, home, namespace, pair.cert.pem().as_bytes());
        let webhook = Self { name };
        kubectl::run_with_input(&["create", "-f", "-"], &configuration.to_string())?;
        Ok(webhook)
    }
}

impl Drop for OtherWebhook {
    fn drop(&mut self) {
        let args = ["delete", "mutatingwebhookconfiguration", &self.name];
        if let Err(error) = kubectl::run(&args) {
            eprintln!("the other webhook is still there: {error:#}");
        }
    }
}

fn server(certificate: &str, key: &str) -> String {
    let labels = json!({"app": SERVER});
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SERVER},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    });
    let image = "minimesh/test-server:0.1.0";
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": SERVER, "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "webhook",
                "image": image,
                "args": [
                    "webhook", "--cert-file=/tls/tls.crt", "--key-file=/tls/tls.key",
                    format!("--image={image}"),
                ],
                "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
            }],
            "volumes": [{"name": "tls", "secret": {"secretName": SERVER}}],
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVER},
        "spec": {"selector": labels, "ports": [{"port": 443, "targetPort": 8443}]},
    });
    format!("{secret}\n{pod}\n{service}\n")
}

fn configuration(name: &str, home: &Namespace, namespace: &Namespace, ca: &[u8]) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "late.example.com",
            "clientConfig": {
                "service": {"name": SERVER, "namespace": home.name(), "path": "/", "port": 443},
                "caBundle": STANDARD.encode(ca),
            },
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}},
            "rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            }],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    })
}

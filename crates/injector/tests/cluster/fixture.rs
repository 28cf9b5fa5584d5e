//! A replica of the injector that works with the test's API server.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use injector::{
    app::{App, AppError},
    args::Args,
    config::{Config, Mode},
};
use runtime::{lifecycle::Lifecycle, task::Group};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;

use crate::api::Api;

/// How long anything may take that is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);
/// The control plane's namespace.
pub(crate) const SYSTEM: &str = "istio-system";
/// Names that the tests use often.
pub(crate) const ROOT_CERT: &str = "istio-ca-root-cert";
pub(crate) const WEBHOOKS: &str = "mutatingwebhookconfigurations";
pub(crate) const WEBHOOK: &str = "istio-sidecar-injector";
pub(crate) const VALIDATORS: &str = "validatingwebhookconfigurations";
pub(crate) const VALIDATOR: &str = "istio-validator-istio-system";

/// A running injector.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) monitoring: SocketAddr,
    pub(crate) grpc: Vec<SocketAddr>,
    pub(crate) life: Lifecycle,
    pub(crate) dir: TempDir,
    tasks: Group,
}

/// A cluster in which the chart was installed: namespaces, a node, the webhook without `caBundle`, the ClusterRole.
pub(crate) fn installed() -> Api {
    let api = Api::default();
    for name in ["default", "kube-public", "kube-system", SYSTEM] {
        api.put("namespaces", "", namespace(name));
    }
    api.put("nodes", "", node("one", "v1.34.0"));
    api.put(WEBHOOKS, "", webhook());
    api.put(VALIDATORS, "", validator());
    api.put("clusterroles", "", cluster_role());
    api
}

pub(crate) fn cluster_role() -> Value {
    json!({"metadata": {"name": "injector-istio-system"}})
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn node(name: &str, version: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {"nodeInfo": {"kubeletVersion": version}, "images": [{"names": ["large"]}]},
    })
}

pub(crate) fn webhook() -> Value {
    let entry = |name: &str| {
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"service": {"name": WEBHOOK, "namespace": SYSTEM}},
        })
    };
    json!({
        "metadata": {"name": WEBHOOK},
        "webhooks": [entry("rev.namespace"), entry("namespace")],
    })
}

pub(crate) fn validator() -> Value {
    json!({
        "metadata": {"name": VALIDATOR},
        "webhooks": [{
            "name": "validation.istio.io",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"service": {"name": "istiod", "namespace": SYSTEM}},
        }],
    })
}

/// Arguments for a replica whose files are in `dir`.
pub(crate) fn config(dir: &Path, more: &[&str]) -> Config {
    let mut args = vec![
        "injector".to_owned(),
        "--kubeconfig=/nowhere".to_owned(),
        format!("--inject-dir={}", dir.display()),
        "--https-addr=127.0.0.1:0".to_owned(),
        "--grpc-addr=127.0.0.1:0".to_owned(),
        "--monitoring-addr=127.0.0.1:0".to_owned(),
        "--owner-cluster-role=injector-istio-system".to_owned(),
    ];
    if !more.iter().any(|arg| arg.starts_with("--pod-name")) {
        args.push("--pod-name=injector-1".to_owned());
    }
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    let args = Args::try_parse_from(args).expect("arguments");
    Config::try_from(args).expect("a configuration")
}

/// The shipped configuration as the chart mounts it.
pub(crate) fn mounted() -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    for (file, shipped) in [
        ("config", "files/config"),
        ("mesh", "files/mesh"),
        ("values", "values.yaml"),
    ] {
        fs::copy(chart.join(shipped), dir.path().join(file)).expect("a file");
    }
    dir
}

pub(crate) async fn build(api: &Api, config: Config) -> Result<App, AppError> {
    let Mode::Cluster(settings) = &config.mode else {
        panic!("the arguments ask for no cluster");
    };
    let settings = settings.clone();
    App::build_in(api.client(), config, &settings).await
}

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    time::timeout(LIMIT, async {
        while !is_so() {
            time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}

/// The trust bundle of a namespace.
pub(crate) fn bundle_in(api: &Api, namespace: &str) -> Option<String> {
    let object = api.get("configmaps", namespace, ROOT_CERT)?;
    object["data"]["root-cert.pem"].as_str().map(str::to_owned)
}

/// The `caBundle` of each entry of the webhook, as text.
pub(crate) fn ca_bundles(api: &Api) -> Vec<String> {
    ca_bundles_of(api, WEBHOOK)
}

/// The `caBundle` of each entry of a webhook configuration, as text.
pub(crate) fn ca_bundles_of(api: &Api, name: &str) -> Vec<String> {
    ca_bundles_of_kind(api, WEBHOOKS, name)
}

/// As [`ca_bundles_of`], of either kind of webhook configuration.
pub(crate) fn ca_bundles_of_kind(api: &Api, kind: &str, name: &str) -> Vec<String> {
    let object = api.get(kind, "", name).unwrap_or_default();
    let entries = object["webhooks"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let encoded = entry["clientConfig"]["caBundle"].as_str();
            let decoded = STANDARD.decode(encoded.unwrap_or_default());
            String::from_utf8(decoded.expect("base64")).expect("text")
        })
        .collect()
}

/// The reasons of all Events.
pub(crate) fn reasons(api: &Api) -> Vec<String> {
    let events = api.list("events");
    events
        .iter()
        .filter_map(|event| event["reason"].as_str().map(str::to_owned))
        .collect()
}

// === impl Replica ===

impl Replica {
    pub(crate) async fn start(api: &Api) -> Self {
        Self::start_with(api, &[]).await
    }

    pub(crate) async fn start_with(api: &Api, more: &[&str]) -> Self {
        let dir = mounted();
        let mut config = config(dir.path(), more);
        // As it is in a pod, where the folder cannot be replaced by one of the test.
        config.mounted = true;
        let app = build(api, config).await.expect("it starts");
        let address = app.https_address();
        let monitoring = app.monitoring_address().expect("it was asked for");
        let grpc = app.grpc_addresses();
        let life = app.life();
        let tasks = Group::new();
        tasks.spawn_essential("injector", app.run());
        Self {
            address,
            monitoring,
            grpc,
            life,
            dir,
            tasks,
        }
    }

    /// The page at `path` of the monitoring port.
    pub(crate) async fn page(&self, path: &'static str) -> String {
        let address = self.monitoring;
        tokio::task::spawn_blocking(move || testkit::http::get(address, path, LIMIT))
            .await
            .expect("no panic")
            .expect("an answer")
            .body
    }

    /// Waits until `/ready` holds `text`.
    pub(crate) async fn until_ready_says(&self, text: &str) -> String {
        let mut body = String::new();
        let waiting = async {
            loop {
                body = self.page("/ready").await;
                if body.contains(text) {
                    return;
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        if time::timeout(LIMIT, waiting).await.is_err() {
            panic!("/ready never said `{text}` but: {body}");
        }
        body
    }

    /// Waits until the metrics hold `text`.
    pub(crate) async fn until_metrics_say(&self, text: &str) {
        let mut body = String::new();
        let waiting = async {
            while !body.contains(text) {
                body = self.page("/metrics").await;
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        if time::timeout(LIMIT, waiting).await.is_err() {
            panic!("the metrics never said `{text}` but: {body}");
        }
    }

    /// Waits until it is ready and has nothing to complain about.
    pub(crate) async fn well(&self) {
        let mut body = String::new();
        let waiting = async {
            while body != "ready\n" {
                body = self.page("/ready").await;
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        if time::timeout(LIMIT, waiting).await.is_err() {
            panic!("it is never well: {body}");
        }
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        while !self.page("/ready").await.starts_with("ready\n") {
            self.until_ready_says("ready\n").await;
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The injected pod, as the API server gets it: over TLS that `roots` vouch for, at the name of the Service.
    pub(crate) async fn injected(&self, roots: &str) -> String {
        let pod = json!({
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        });
        let response = self.reviewed(roots, &pod, false).await;
        let patch = response["patch"].as_str().expect("a patch");
        String::from_utf8(STANDARD.decode(patch).expect("base64")).expect("text")
    }

    /// What the API server is answered about `pod` in namespace `shop`.
    pub(crate) async fn reviewed(&self, roots: &str, pod: &Value, dry_run: bool) -> Value {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "namespace": "shop",
                "operation": "CREATE",
                "dryRun": dry_run,
                "object": pod,
            },
        });
        let answer = self.post(roots, &review.to_string()).await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let answer: Value = serde_json::from_str(body).expect("JSON");
        answer["response"].clone()
    }

    async fn post(&self, roots: &str, body: &str) -> String {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            store.add(certificate.expect("PEM")).expect("a root");
        }
        let provider = injector::webhook::tls::provider();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(store)
            .with_no_client_auth();
        let name = ServerName::try_from(format!("{WEBHOOK}.{SYSTEM}.svc")).expect("a name");
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("a certificate that the API server accepts");
        let request = format!(
            "POST /inject HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        // A peer that closes without a farewell has answered all the same.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// Ends it and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.life.stop("the test is over");
        let _ = self.tasks.join(LIMIT).await;
    }
}

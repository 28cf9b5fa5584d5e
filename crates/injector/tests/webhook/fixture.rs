//! An injector that runs in the test's own process.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use injector::{app::App, args::Args, config::Config};
use runtime::{lifecycle::Lifecycle, task::Group};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time;

use crate::client::{Client, HTTP_1, Speech};

/// How long anything may take that is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running injector with its files.
pub(crate) struct Fixture {
    pub(crate) files: Files,
    pub(crate) address: SocketAddr,
    pub(crate) monitoring: SocketAddr,
    pub(crate) life: Lifecycle,
    pub(crate) certificate: CertificateDer<'static>,
    app: Group,
}

/// The injector's files: `inject/` as a mounted ConfigMap, `mesh`, `tls.crt` and `tls.key`.
pub(crate) struct Files {
    dir: TempDir,
    generation: u32,
}

/// The shipped configuration's text `name`; the chart's values are what templates see as values.
pub(crate) fn shipped(name: &str) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let path = match name {
        "values" => chart.join("values.yaml"),
        name => chart.join("files").join(name),
    };
    fs::read_to_string(path).expect("the shipped configuration")
}

/// A pod that has nothing special about it.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "labels": {"app": "web"}},
        "spec": {
            "serviceAccountName": "default",
            "containers": [{"name": "web", "image": "nginx", "resources": {}}],
        },
        "status": {},
    })
}

/// A review that asks for `pod` in the namespace `shop`.
pub(crate) fn review_of(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "shop",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": null,
            "dryRun": false,
        },
    })
}

/// `pod` after the patch of `answer`.
pub(crate) fn patched(pod: &Value, answer: &Value) -> Value {
    let patch = answer["response"]["patch"].as_str().expect("a patch");
    let patch = STANDARD.decode(patch).expect("base64");
    let operations: Vec<template::patch::Operation<'_>> =
        serde_json::from_slice(&patch).expect("a JSON patch");
    let mut pod = pod.clone();
    template::patch::apply(&mut pod, &operations).expect("a patch that applies strictly");
    pod
}

fn parse(args: Vec<String>) -> Config {
    let args = Args::try_parse_from(args).expect("arguments");
    Config::try_from(args).expect("a configuration")
}

// === impl Fixture ===

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(more: &[&str]) -> Self {
        let files = Files::new();
        let certificate = files.renew_certificate();
        let app = App::build(files.config(more)).await.expect("it starts");
        let (address, life) = (app.https_address(), app.life());
        let monitoring = app.monitoring_address().expect("it was asked for");
        let group = Group::new();
        group.spawn_essential("injector", app.run());
        Self {
            files,
            address,
            monitoring,
            life,
            certificate,
            app: group,
        }
    }

    pub(crate) async fn client(&self, speech: Speech) -> Client {
        Client::connect(self.address, &self.certificate, speech)
            .await
            .expect("a connection")
    }

    /// `GET path` over a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> (http::StatusCode, String) {
        let answer = self.client(HTTP_1).await.get(path).await;
        (answer.status, answer.text())
    }

    /// The value of `series` among the metrics.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let address = self.monitoring;
        let page =
            tokio::task::spawn_blocking(move || testkit::http::get(address, "/metrics", LIMIT))
                .await
                .expect("no panic")
                .expect("an answer");
        page.body
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .find(|(name, _)| *name == series)
            .and_then(|(_, value)| value.parse().ok())
    }

    /// Waits until `/ready` holds `text`.
    pub(crate) async fn until_ready_says(&self, text: &str) -> String {
        time::timeout(LIMIT, async {
            loop {
                let (_, body) = self.get("/ready").await;
                if body.contains(text) {
                    return body;
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("/ready never said `{text}`"))
    }

    /// Waits until the program has ended, and tells whether it ended well.
    pub(crate) async fn ended(&self) -> bool {
        // Ending is what was asked for here, so it counts as a failure only if it is one.
        match self.app.join(LIMIT).await {
            Ok(()) | Err(runtime::task::Failure::Ended { .. }) => true,
            Err(_) => false,
        }
    }
}

// === impl Files ===

impl Files {
    pub(crate) fn new() -> Self {
        let mut files = Self {
            dir: TempDir::new().expect("a temporary folder"),
            generation: 0,
        };
        files.swap(&shipped("config"), &shipped("values"));
        fs::write(files.path("mesh"), shipped("mesh")).expect("a file");
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self, more: &[&str]) -> Config {
        let mut args = self.args();
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        parse(args)
    }

    /// The configuration with `flag` in place of the argument that begins with `replaced`.
    pub(crate) fn config_with(&self, replaced: &str, flag: &str) -> Config {
        let mut args = self.args();
        args.retain(|arg| !arg.starts_with(&format!("{replaced}=")));
        args.push(flag.to_owned());
        parse(args)
    }

    /// The program's arguments, its name aside.
    pub(crate) fn flags(&self) -> Vec<String> {
        self.args().split_off(1)
    }

    fn args(&self) -> Vec<String> {
        let flag = |name: &str, file| format!("{name}={}", self.path(file).display());
        vec![
            "injector".to_owned(),
            "--https-addr=127.0.0.1:0".to_owned(),
            "--monitoring-addr=127.0.0.1:0".to_owned(),
            flag("--inject-dir", "inject"),
            flag("--mesh-config", "mesh"),
            flag("--tls-cert-file", "tls.crt"),
            flag("--tls-key-file", "tls.key"),
        ]
    }

    /// Replaces the mounted files as the kubelet does.
    pub(crate) fn swap(&mut self, config: &str, values: &str) {
        self.mount("inject", &[("config", config), ("values", values)]);
    }

    /// Replaces the mounted Secret in the folder `tls` by one with a new certificate for `localhost` and its key.
    pub(crate) fn swap_certificate(&mut self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        self.mount("tls", &[("tls.crt", &certificate), ("tls.key", &key)]);
        made.cert.der().clone()
    }

    /// Replaces all files of a folder at once: a new folder, a new link to it under another name, and a rename over the old link.
    fn mount(&mut self, folder: &str, files: &[(&str, &str)]) {
        let mount = self.path(folder);
        fs::create_dir_all(&mount).expect("a folder");
        let old = fs::read_link(mount.join("..data")).ok();
        self.generation += 1;
        let new = format!("..2026_01_01_00_00_{:02}.1", self.generation);
        fs::create_dir(mount.join(&new)).expect("a folder");
        for (name, text) in files {
            fs::write(mount.join(&new).join(name), text).expect("a file");
        }
        symlink(&new, mount.join("..data_tmp")).expect("a link");
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("a rename");
        match old {
            Some(old) => fs::remove_dir_all(mount.join(old)).expect("the old folder"),
            None => {
                for (name, _) in files {
                    symlink(Path::new("..data").join(name), mount.join(name)).expect("a link");
                }
            }
        }
    }

    /// Writes a new certificate for `localhost` and its key.
    pub(crate) fn renew_certificate(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        self.write("tls.crt", &made.cert.pem());
        self.write("tls.key", &made.signing_key.serialize_pem());
        made.cert.der().clone()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let write = || -> io::Result<()> {
            fs::write(self.path("new"), text)?;
            fs::rename(self.path("new"), self.path(name))
        };
        write().expect("a file");
    }
}

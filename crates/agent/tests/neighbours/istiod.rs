//! Istio's control plane beside the test, and sidecars that know no other.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use testkit::{
    api_server::ApiServer,
    pki::Root,
    process::{Process, eventually},
};

use crate::{
    cluster::{SHOP, SYSTEM, installed},
    start::Agent,
};

/// A running istiod with its own certificate authority and its cluster.
pub(crate) struct Istiod {
    pub(crate) api: ApiServer,
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
}

/// It waits for every cache first, on a busy machine for long.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Far more than anything takes that is meant to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);
/// What it says once sidecars can connect; its address follows.
const LISTENS: &str = "starting secure gRPC discovery service at ";

/// Its own authority and discovery as the ambient mode has it, which alone serves addresses; no webhooks, plain lists and watches.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("KUBE_FEATURE_WatchListClient", "false"),
    ("PILOT_ENABLE_AMBIENT", "true"),
    ("POD_NAME", "istiod"),
    ("POD_NAMESPACE", SYSTEM),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
];

// === impl Istiod ===

impl Istiod {
    /// Starts it in a cluster as [`installed`] makes it, with an authority below a root of the test's.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_authority(&folder.path().join("etc/cacerts"));
        let api = installed();
        fs::write(folder.path().join("kubeconfig"), api.kubeconfig()).unwrap();
        let mut istiod = Self {
            api,
            process: None,
            address: ([127, 0, 0, 1], 0).into(),
            folder,
        };
        istiod.start_again();
        istiod
    }

    /// Comes back at the same address.
    #[expect(
        clippy::disallowed_methods,
        reason = "no command line leads here but that of the test runner"
    )]
    pub(crate) fn start_again(&mut self) {
        let program = std::env::var_os("ISTIOD").expect("ISTIOD names Istio's pilot-discovery");
        let output = File::create(self.log_file()).unwrap();
        let child = Command::new(fs::canonicalize(program).unwrap())
            .current_dir(self.folder.path())
            .env_clear()
            .envs(ENVIRONMENT)
            .args([
                "discovery",
                "--kubeconfig",
                "kubeconfig",
                "--httpAddr",
                "127.0.0.1:0",
            ])
            .args(["--secureGRPCAddr", &self.address.to_string()])
            .args([
                "--grpcAddr=",
                "--httpsAddr=",
                "--monitoringAddr=",
                "--ctrlz_port",
                "0",
            ])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        self.process = Some(Process::new("istiod", child));
        let listens = eventually(START_LIMIT, || self.log().contains(LISTENS));
        assert!(listens, "{}", self.log());
        let log = self.log();
        let address = log.split(LISTENS).nth(1).unwrap();
        let address = address.split_whitespace().next().unwrap();
        self.address = address.parse().unwrap();
    }

    /// Goes away with all its connections.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// What it has logged since its last start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The arguments of a sidecar of the pod at `address`, whose service account is `account`.
    pub(crate) fn arguments(&self, address: &str, account: &str, extra: &[&str]) -> Vec<String> {
        let token = format!("token-of-{account}");
        self.api.know_token(&token, SHOP, account);
        let state = self.folder.path().join(format!("state-{address}"));
        fs::create_dir_all(&state).unwrap();
        let token_file = state.join("istio-token");
        fs::write(&token_file, token).unwrap();
        let roots = self.folder.path().join("etc/cacerts/root-cert.pem");
        let own = [
            format!("--discovery-address={}", self.address),
            format!("--control-plane-name=istiod.{SYSTEM}.svc"),
            format!("--root-cert-file={}", roots.display()),
            format!("--token-file={}", token_file.display()),
            format!("--state-dir={}", state.display()),
            format!("--instance-ip={address}"),
            format!("--pod-namespace={SHOP}"),
            format!("--service-account={account}"),
            "--cluster-id=Kubernetes".to_owned(),
        ];
        let extra = extra.iter().map(|argument| (*argument).to_owned());
        own.into_iter().chain(extra).collect()
    }

    /// A sidecar that has become ready.
    pub(crate) fn sidecar(&self, address: &str, account: &str, extra: &[&str]) -> Agent {
        let arguments = self.arguments(address, account, extra);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Agent::start(&arguments)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("istiod.log")
    }
}

/// The files of Secret `cacerts`: an authority between the root and the workloads.
fn write_authority(folder: &std::path::Path) {
    let root = Root::new("root");
    let (authority, certificate) = root.intermediate("istiod");
    fs::create_dir_all(folder).unwrap();
    for (name, pem) in [
        ("root-cert.pem", root.pem()),
        ("ca-cert.pem", &certificate),
        ("ca-key.pem", &authority.key()),
        ("cert-chain.pem", &certificate),
    ] {
        fs::write(folder.join(name), pem).unwrap();
    }
}

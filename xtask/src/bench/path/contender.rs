//! What is measured: two pods, and what carries their traffic.
//!
//! Made by `path` from the arguments; every contender has pods of its own with the real rules, the same web server and the same
//! certificates, so that what differs is the proxy. All of them run from the beginning, and rest while another is measured.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use contract::{ids, paths, ports};
use testkit::{
    http,
    netns::Pod,
    process::{Process, eventually},
};

use super::{
    envoy::{self, Features},
    table::{Family, Named},
};
use crate::{
    lab::{
        self, AccessLog, Captured, Lab, PlainPod,
        secrets::{self, Secrets, Speech},
    },
    manifest::Manifest,
};

/// A contender that is to be started.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) named: Named,
    /// Nothing where the pods have no sidecars.
    pub(super) carrier: Option<Carrier>,
}

/// What carries a contender's traffic.
#[derive(Clone, Debug)]
pub(super) enum Carrier {
    Agent {
        program: PathBuf,
        log: Encoding,
    },
    Envoy {
        program: PathBuf,
        features: Features,
    },
    Ztunnel {
        program: PathBuf,
    },
}

/// Form of our access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Encoding {
    #[default]
    Text,
    Json,
}

/// Two pods and their proxies.
pub(super) struct Contender {
    pub(super) named: Named,
    pub(super) client: Side,
    pub(super) server: Side,
    /// Where each sidecar tells its metrics.
    pub(super) metrics: Option<(u16, &'static str)>,
    /// The file that says what the mesh is, where it is read again when it changes.
    pub(super) mesh: Option<PathBuf>,
}

/// A pod and its proxy, if it has one.
pub(super) struct Side {
    pub(super) plain: PlainPod,
    pub(super) proxy: Option<Proxy>,
    /// Our own server beside nginx.
    _peer: Process,
}

/// A running sidecar.
pub(super) struct Proxy {
    pub(super) process: Process,
    pub(super) ready_took: Duration,
    access_log: PathBuf,
}

/// Where everything that contenders write goes.
pub(super) struct Scene<'a> {
    pub(super) lab: &'a Lab,
    pub(super) manifest: &'a Manifest,
    /// A folder in memory, for access logs.
    pub(super) logs: &'a Path,
}

/// Port of our own server in the pods.
pub(super) const PEER_PORT: u16 = 8080;

// === impl Contender ===

impl Contender {
    /// Starts both pods.
    pub(super) fn start(scene: &Scene<'_>, entry: &Entry) -> anyhow::Result<Self> {
        let name = entry.named.name.replace([' ', '+'], "-");
        let names = [format!("{name}-client"), format!("{name}-server")];
        let mut mesh_file = None;
        let sides = match &entry.carrier {
            None => names.map(|name| scene.side(&name, scene.lab.node().pod()?, None)),
            Some(carrier) => {
                let [client, server] = names;
                let pods = [scene.capture(&client)?, scene.capture(&server)?];
                let folder = scene.lab.folder().join(format!("{name}-mesh"));
                fs::create_dir_all(&folder)?;
                let addresses = pods.each_ref().map(|pod| pod.pod.ip4());
                let (speech, ports) = (
                    speech(entry.named.family),
                    [
                        (lab::APP_PORT, "http"),
                        (lab::OPAQUE_PORT, "tcp"),
                        (PEER_PORT, "http-peer"),
                    ],
                );
                let mesh = secrets::write_mesh(&folder, addresses, &ports, speech)?;
                let secrets = match entry.named.family {
                    Family::Plain => [None, None],
                    Family::Mtls => Secrets::make(&folder)?.map(Some),
                };
                if let Carrier::Agent { .. } = carrier {
                    mesh_file = Some(mesh.clone());
                }
                let [client, server] = pods;
                let [of_client, of_server] = secrets;
                [(client, of_client), (server, of_server)]
                    .map(|(pod, secrets)| scene.meshed(pod, carrier, &mesh, secrets.as_ref()))
            }
        };
        let [client, server] = sides;
        let contender = Self {
            named: entry.named.clone(),
            client: client?,
            server: server?,
            metrics: entry.carrier.as_ref().map(Carrier::metrics),
            mesh: mesh_file,
        };
        contender.check()?;
        if let (Family::Mtls, Some(carrier)) = (entry.named.family, &entry.carrier) {
            contender.check_mtls(carrier)?;
        }
        Ok(contender)
    }

    /// The proxies on the way, the client's first.
    pub(super) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        [&self.client, &self.server]
            .into_iter()
            .filter_map(|side| side.proxy.as_ref())
    }

    /// Where the web server is for the client.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.server.plain.pod.ip4()
    }

    /// Empties the access logs, which are in memory.
    pub(super) fn forget_logs(&self) -> anyhow::Result<()> {
        for proxy in self.proxies().filter(|proxy| proxy.access_log.exists()) {
            File::options()
                .write(true)
                .open(&proxy.access_log)?
                .set_len(0)?;
        }
        Ok(())
    }

    /// Whether an answer comes through.
    fn check(&self) -> anyhow::Result<()> {
        let page = self.client.plain.get(self.address().into(), lab::LIMIT);
        let page = page.with_context(|| format!("no answer through {}", self.named.name))?;
        ensure!(
            page.contains("hello from pod"),
            "another page came through {}",
            self.named.name
        );
        Ok(())
    }

    /// Whether the answer came by mTLS, by what the server's sidecar says of it; it counts a moment after the last byte.
    fn check_mtls(&self, carrier: &Carrier) -> anyhow::Result<()> {
        let (port, path) = match carrier {
            Carrier::Agent { .. } | Carrier::Ztunnel { .. } => {
                (ports::STATUS, paths::STATS_PROMETHEUS)
            }
            Carrier::Envoy { .. } => (ports::ADMIN, "/stats?filter=inbound.*ssl.handshake"),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let pod = &self.server.plain.pod;
        let is_mutual = eventually(lab::LIMIT, || {
            pod.enter(|| http::get(address, path, lab::LIMIT))
                .is_ok_and(|page| is_mutual(&page.body))
        });
        ensure!(is_mutual, "{} does not speak mTLS", self.named.name);
        Ok(())
    }
}

// === impl Scene ===

impl Scene<'_> {
    /// A pod whose traffic is captured.
    fn capture(&self, name: &str) -> anyhow::Result<Captured> {
        self.lab.capture(name, self.manifest)
    }

    /// A pod whose sidecar runs, and then its servers.
    fn meshed(
        &self,
        captured: Captured,
        carrier: &Carrier,
        mesh: &Path,
        secrets: Option<&Secrets>,
    ) -> anyhow::Result<Side> {
        let name = captured.name.clone();
        let access_log = self.logs.join(format!("{name}.log"));
        let mut command = match carrier {
            Carrier::Agent { program, log } => {
                let container = contract::pod::PROXY_CONTAINER;
                let container = captured.container(self.manifest, container)?;
                let mut command = self.lab.agent_command(program, &container)?;
                command
                    .args(["--concurrency", "1", "--access-log-file"])
                    .arg(&access_log)
                    .args(["--access-log-encoding", log.flag()]);
                // By environment: an agent from before it knew these variables is measured as well.
                command.env("AGENT_LOCAL_MESH", mesh);
                if let Some(secrets) = secrets {
                    command.env("AGENT_CERTS_DIR", &secrets.folder);
                }
                command
            }
            Carrier::Envoy { program, features } => {
                let settings = envoy::Settings {
                    features: *features,
                    access_log: &access_log,
                    secrets,
                };
                let file = self.lab.folder().join(format!("{name}.json"));
                fs::write(&file, envoy::bootstrap(&settings).to_string())?;
                envoy::command(program, &file)
            }
            Carrier::Ztunnel { program } => ztunnel_command(program, captured.pod.ip4()),
        };
        let (port, path) = match carrier {
            Carrier::Envoy { .. } => (ports::ADMIN, "/ready"),
            Carrier::Agent { .. } | Carrier::Ztunnel { .. } => {
                (ports::READINESS, paths::HEALTHZ_READY)
            }
        };
        command.uid(ids::PROXY_UID).gid(ids::PROXY_GID);
        let log = self.lab.folder().join(format!("{name}.sidecar.log"));
        let is_ready = || lab::answers(port, path);
        let (process, ready_took) = captured.start_sidecar(&mut command, &log, is_ready)?;
        let proxy = Proxy {
            process,
            ready_took,
            access_log,
        };
        self.side(&name, captured.pod, Some(proxy))
    }

    /// The servers of a pod.
    fn side(&self, name: &str, pod: Pod, proxy: Option<Proxy>) -> anyhow::Result<Side> {
        let mut command = Command::new(self.lab.xtask());
        command
            .args(["bench-serve", "--port", &PEER_PORT.to_string()])
            .uid(lab::APP_ID)
            .gid(lab::APP_ID)
            .stdin(Stdio::null());
        let child = pod
            .spawn(&mut command)
            .context("cannot start the bench's own server")?;
        let peer = Process::new(format!("bench's server of pod {name}"), child);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PEER_PORT));
        let up = pod.enter(|| eventually(lab::LIMIT, || TcpStream::connect(address).is_ok()));
        ensure!(up, "the bench's own server of pod {name} does not listen");
        Ok(Side {
            plain: self.lab.start_server(name, pod, AccessLog::Off)?,
            proxy,
            _peer: peer,
        })
    }
}

// === impl Carrier ===

impl Carrier {
    /// Where Prometheus finds what it counts.
    fn metrics(&self) -> (u16, &'static str) {
        match self {
            Self::Agent { .. } | Self::Ztunnel { .. } => (ports::STATUS, paths::STATS_PROMETHEUS),
            Self::Envoy { .. } => (ports::ADMIN, paths::STATS_PROMETHEUS),
        }
    }
}

// === impl Encoding ===

impl Encoding {
    fn flag(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Json => "JSON",
        }
    }
}

fn speech(family: Family) -> Speech {
    match family {
        Family::Plain => Speech::Plaintext,
        Family::Mtls => Speech::Strict,
    }
}

/// Whether figures of a sidecar count a request by mTLS, or a handshake of Envoy.
fn is_mutual(figures: &str) -> bool {
    figures
        .lines()
        .filter(|line| {
            line.contains("ssl.handshake:")
                || (line.starts_with("istio_requests_total{")
                    && line.contains("connection_security_policy=\"mutual_tls\""))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .any(|count| count > 0.0)
}

/// ztunnel for one pod, without a control plane: what it does not know passes through as it is.
fn ztunnel_command(program: &Path, pod: Ipv4Addr) -> Command {
    let workloads = format!(
        "workloads:\n- uid: bench//Pod/default/pod\n  name: pod\n  namespace: default\n  serviceAccount: default\n  workloadIps: [\"{pod}\"]\n  protocol: TCP\n  node: node\nservices: []\npolicies: []\n"
    );
    let mut command = Command::new(program);
    command.current_dir("/").env_clear().envs([
        ("FAKE_CA", "true"),
        ("XDS_ADDRESS", ""),
        ("LOCAL_XDS", &workloads),
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "default/pod/default"),
        ("ZTUNNEL_WORKER_THREADS", "1"),
        ("ENABLE_ORIG_SRC", "false"),
        ("RUST_LOG", "warn"),
    ]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mtls_is_told_from_plaintext_by_the_sidecars_figures() {
        let ours = |policy: &str, count: u32| {
            format!(
                "istio_requests_total{{a=\"b\",connection_security_policy=\"{policy}\"}} {count}\n"
            )
        };
        assert!(is_mutual(&ours("mutual_tls", 1)));
        assert!(!is_mutual(&ours("mutual_tls", 0)));
        assert!(!is_mutual(&ours("none", 1)));
        assert!(is_mutual("listener.0.0.0.0_15006.ssl.handshake: 3\n"));
        assert!(!is_mutual("listener.0.0.0.0_15006.ssl.handshake: 0\n"));
    }
}

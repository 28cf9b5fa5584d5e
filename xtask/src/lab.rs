//! Pods with sidecars on one machine, started as the kubelet would start them from an injected manifest.
//!
//! Called by the demo and the bench; runs the project's own programs inside `testkit`'s network namespaces.
//! Everything ends with the [`Lab`] and its pods, unless a pod is left running on purpose.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use contract::{paths, ports};
use tempfile::TempDir;
use testkit::{
    http::{self, Response},
    netns::{Capability, Node, Pod},
    process::{Process, eventually},
};

pub(crate) mod secrets;
mod server;

pub(crate) use server::{AccessLog, PlainPod};

use super::{
    images,
    manifest::{Container, Facts, Manifest},
    project,
};

/// User and group of the applications in the pods.
pub(crate) const APP_ID: u32 = 1000;
/// Port of the web server in the pods.
pub(crate) const APP_PORT: u16 = 80;

/// Another port of nginx, for those who take what comes there for opaque.
pub(crate) const OPAQUE_PORT: u16 = 81;

pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A node, and a folder with the programs and files of its pods.
pub(crate) struct Lab {
    node: Node,
    folder: TempDir,
}

/// A pod whose init container has run and whose sidecar and web server are up.
pub(crate) struct MeshPod {
    pub(crate) plain: PlainPod,
    pub(crate) sidecar: Process,
    pub(crate) init: Output,
    pub(crate) init_took: Duration,
    pub(crate) ready_took: Duration,
    init_command: InitCommand,
    sidecar_log: PathBuf,
}

/// A pod whose init container has run, and in which nothing else runs yet.
pub(crate) struct Captured {
    pub(crate) name: String,
    pub(crate) pod: Pod,
    facts: Facts,
    init: Output,
    init_took: Duration,
    init_command: InitCommand,
}

/// The init container's program, and the capabilities that it may have.
type InitCommand = (Vec<Capability>, Command);

// === impl Lab ===

impl Lab {
    /// Makes the node and copies the programs of `programs` to where every user may run them.
    pub(crate) fn new(programs: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("minimesh-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        for program in project::PROGRAMS {
            let from = programs.join(program);
            fs::copy(&from, folder.path().join(program))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        fs::copy("/proc/self/exe", folder.path().join("xtask"))
            .context("cannot copy this program")?;
        Ok(Self {
            node: Node::new()?,
            folder,
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The command that injects `manifest`, as a person would type it.
    pub(crate) fn inject_command(&self, manifest: &Path) -> Command {
        let chart = project::root().join("charts/minimesh");
        let mut command = Command::new(self.folder.path().join("minimesh"));
        command.args(["kube-inject", "-f"]).arg(manifest);
        for (flag, file) in [
            ("--injectConfigFile", "files/config"),
            ("--valuesFile", "values.yaml"),
            ("--meshConfigFile", "files/mesh"),
        ] {
            command.arg(flag).arg(chart.join(file));
        }
        command
    }

    /// Starts a pod from an injected manifest: init container, sidecar, then the application.
    pub(crate) fn start(&self, name: &str, manifest: &Manifest) -> anyhow::Result<MeshPod> {
        let captured = self.capture(name, manifest)?;
        self.start_captured(captured, manifest, &[])
    }

    /// Starts the rest of a pod, its sidecar with further arguments.
    pub(crate) fn start_captured(
        &self,
        captured: Captured,
        manifest: &Manifest,
        args: &[&OsStr],
    ) -> anyhow::Result<MeshPod> {
        let name = &*captured.name.clone();
        let proxy = captured.container(manifest, contract::pod::PROXY_CONTAINER)?;
        let mut command = self.agent_command(&self.folder.path().join("agent"), &proxy)?;
        command.args(args);
        let sidecar_log = self.folder.path().join(format!("{name}.sidecar.log"));
        let (sidecar, ready_took) = captured.start_sidecar(&mut command, &sidecar_log, is_ready)?;
        Ok(MeshPod {
            plain: self.start_server(name, captured.pod, AccessLog::On)?,
            sidecar,
            init: captured.init,
            init_took: captured.init_took,
            ready_took,
            init_command: captured.init_command,
            sidecar_log,
        })
    }

    /// Starts a pod from an injected manifest as far as its init container.
    pub(crate) fn capture(&self, name: &str, manifest: &Manifest) -> anyhow::Result<Captured> {
        let pod = self.node.pod()?;
        let facts = Facts {
            pod_name: name.to_owned(),
            pod_ip: pod.ip4().to_string(),
            host_ip: "10.244.0.1".to_owned(),
            n_cores: thread::available_parallelism().map_or(1, usize::from),
        };
        let init = manifest.container(contract::pod::INIT_CONTAINER, &facts)?;
        let mut init_command = self.init_command(&init)?;
        let start = Instant::now();
        let (capabilities, command) = &mut init_command;
        let init = pod
            .output_with(capabilities, command)
            .context("cannot run istio-init")?;
        let init_took = start.elapsed();
        if !init.status.success() {
            bail!(
                "istio-init of pod {name} failed: {}",
                String::from_utf8_lossy(&init.stderr)
            );
        }
        Ok(Captured {
            name: name.to_owned(),
            pod,
            facts,
            init,
            init_took,
            init_command,
        })
    }

    /// Starts a pod with the web server only.
    pub(crate) fn start_plain(&self, name: &str) -> anyhow::Result<PlainPod> {
        self.start_server(name, self.node.pod()?, AccessLog::On)
    }

    /// Copies a program to where every user may run it, and tells where.
    pub(crate) fn install(&self, program: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let to = self.folder.path().join(name);
        fs::copy(program, &to).with_context(|| format!("cannot copy {}", program.display()))?;
        Ok(to)
    }

    /// Where the programs and files of the pods are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An agent as its container starts it, but for the control plane: a lab has none, and whoever wants certificates gives them as files.
    pub(crate) fn agent_command(
        &self,
        program: &Path,
        container: &Container,
    ) -> anyhow::Result<Command> {
        let mut command = Command::new(program);
        command
            .args(&container.args)
            .env_clear()
            .envs(images::environment("agent")?)
            .envs(container.env.iter().cloned())
            .env_remove(contract::env::CA_ADDR)
            .uid(container.uid)
            .gid(container.gid)
            .current_dir("/");
        Ok(command)
    }

    fn init_command(&self, container: &Container) -> anyhow::Result<InitCommand> {
        let capabilities = container
            .capabilities
            .iter()
            .map(|name| {
                format!("CAP_{name}")
                    .parse()
                    .with_context(|| format!("unknown capability {name}"))
            })
            .collect::<anyhow::Result<_>>()?;
        let mut command = Command::new(self.folder.path().join("istio-init"));
        command
            .args(&container.args)
            .env_clear()
            .envs(container.env.iter().cloned())
            .uid(container.uid)
            .gid(container.gid);
        Ok((capabilities, command))
    }

    /// Leaves the files in place after this value is gone, and tells where.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

// === impl Captured ===

impl Captured {
    /// A container of the pod, as the kubelet would start it.
    pub(crate) fn container(&self, manifest: &Manifest, name: &str) -> anyhow::Result<Container> {
        manifest.container(name, &self.facts)
    }

    /// Starts a sidecar and tells how long it took until `is_ready` held, which is asked inside the pod.
    pub(crate) fn start_sidecar(
        &self,
        command: &mut Command,
        log: &Path,
        is_ready: impl Fn() -> bool + Sync,
    ) -> anyhow::Result<(Process, Duration)> {
        let name = &self.name;
        let out = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        let start = Instant::now();
        let child = self
            .pod
            .spawn(command)
            .with_context(|| format!("cannot start the sidecar of pod {name}"))?;
        let sidecar = Process::new(format!("sidecar of pod {name}"), child);
        let ready = self.pod.enter(|| eventually(LIMIT, &is_ready));
        let ready_took = start.elapsed();
        if !ready {
            bail!(
                "the sidecar of pod {name} is not ready after {LIMIT:?}:\n{}",
                read(log)
            );
        }
        Ok((sidecar, ready_took))
    }
}

// === impl MeshPod ===

impl MeshPod {
    /// Runs the init container a second time, with the same arguments.
    pub(crate) fn init_again(&mut self) -> anyhow::Result<Output> {
        let (capabilities, command) = &mut self.init_command;
        Ok(self.plain.pod.output_with(capabilities, command)?)
    }

    /// The sidecar's metrics, as a scraper in the pod reads them.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::STATUS));
        let response = self
            .plain
            .pod
            .enter(|| http::get(address, paths::STATS_PROMETHEUS, LIMIT))
            .with_context(|| format!("the sidecar of pod {} gives no metrics", self.plain.name))?;
        Ok(response.body)
    }

    /// The sum of all samples of `metric` whose labels hold `label`.
    pub(crate) fn count(&self, metric: &str, label: &str) -> anyhow::Result<f64> {
        Ok(sum(&self.metrics()?, metric, label))
    }

    /// What the sidecar has written so far: its log and its access log.
    pub(crate) fn log(&self) -> String {
        read(&self.sidecar_log)
    }
}

/// Asks a path of a pod's sidecar from the node, as the kubelet does.
pub(crate) fn ask_as_kubelet(
    node: &Node,
    pod: &Pod,
    port: u16,
    path: &str,
) -> anyhow::Result<Response> {
    let address = SocketAddr::from((pod.ip4(), port));
    Ok(node.enter(|| http::get(address, path, LIMIT))?)
}

/// Resident memory of a process in kibibytes.
pub(crate) fn resident_kib(process: &Process) -> anyhow::Result<u64> {
    memory_kib(process, "VmRSS")
}

/// A figure of a process's memory in kibibytes, as the kernel calls it (proc_pid_status(5)).
pub(crate) fn memory_kib(process: &Process, figure: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| *name == figure)
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{} has no {figure}", process.name()))
}

/// Whether the sidecar of this network namespace is ready, as the kubelet asks it.
pub(crate) fn is_ready() -> bool {
    answers(ports::READINESS, paths::HEALTHZ_READY)
}

/// Whether a port of this network namespace answers a path with 200.
pub(crate) fn answers(port: u16, path: &str) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    http::get(address, path, LIMIT).is_ok_and(|response| response.status == 200)
}

fn read(path: &Path) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn sum(metrics: &str, metric: &str, label: &str) -> f64 {
    metrics
        .lines()
        .filter(|line| {
            line.strip_prefix(metric)
                .is_some_and(|rest| rest.starts_with('{'))
                && line.contains(label)
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_with_the_label_are_added_up() {
        let metrics = "a_total{reporter=\"source\"} 2\na_total{reporter=\"destination\"} 5\n\
                       a_total{reporter=\"source\",code=\"503\"} 1\na_total_more{reporter=\"source\"} 9\n";
        assert!((sum(metrics, "a_total", "reporter=\"source\"") - 3.0).abs() < f64::EPSILON);
    }
}

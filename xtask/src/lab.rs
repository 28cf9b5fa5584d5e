//! Pods with sidecars on one machine, started as the kubelet would start them from an injected manifest.
//!
//! Called by the demo and the bench; runs the project's own programs inside `testkit`'s network namespaces.
//! Everything ends with the [`Lab`] and its pods, unless a pod is left running on purpose.

use std::{
    fs::{self, File, Permissions},
    net::{IpAddr, Ipv4Addr, SocketAddr},
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

use super::{
    manifest::{Container, Facts, Manifest},
    project,
};

/// User and group of the applications in the pods.
pub(crate) const APP_ID: u32 = 1000;
/// Port of the web server in the pods.
pub(crate) const APP_PORT: u16 = 80;

const LIMIT: Duration = Duration::from_secs(10);

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
    init_command: (Vec<Capability>, Command),
    sidecar_log: PathBuf,
}

/// A pod with a web server and without a sidecar.
pub(crate) struct PlainPod {
    pub(crate) name: String,
    pub(crate) pod: Pod,
    server: Process,
    server_log: PathBuf,
    program: PathBuf,
}

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
        let pod = self.node.pod()?;
        let facts = Facts {
            pod_name: name.to_owned(),
            pod_ip: pod.ip4().to_string(),
            host_ip: "10.244.0.1".to_owned(),
            n_cores: thread::available_parallelism().map_or(1, usize::from),
        };
        let init = manifest.container(contract::pod::INIT_CONTAINER, &facts)?;
        let (capabilities, mut init_command) = self.init_command(&init)?;
        let start = Instant::now();
        let init = pod
            .output_with(&capabilities, &mut init_command)
            .context("cannot run istio-init")?;
        let init_took = start.elapsed();
        if !init.status.success() {
            bail!(
                "istio-init of pod {name} failed: {}",
                String::from_utf8_lossy(&init.stderr)
            );
        }
        let proxy = manifest.container(contract::pod::PROXY_CONTAINER, &facts)?;
        let sidecar_log = self.folder.path().join(format!("{name}.sidecar.log"));
        let start = Instant::now();
        let sidecar = self.start_sidecar(name, &pod, &proxy, &sidecar_log)?;
        let ready = eventually(LIMIT, || pod.enter(is_ready));
        let ready_took = start.elapsed();
        if !ready {
            bail!(
                "the sidecar of pod {name} is not ready after {LIMIT:?}:\n{}",
                read(&sidecar_log)
            );
        }
        Ok(MeshPod {
            plain: self.start_server(name, pod)?,
            sidecar,
            init,
            init_took,
            ready_took,
            init_command: (capabilities, init_command),
            sidecar_log,
        })
    }

    /// Starts a pod with the web server only.
    pub(crate) fn start_plain(&self, name: &str) -> anyhow::Result<PlainPod> {
        self.start_server(name, self.node.pod()?)
    }

    fn init_command(&self, container: &Container) -> anyhow::Result<(Vec<Capability>, Command)> {
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

    fn start_sidecar(
        &self,
        name: &str,
        pod: &Pod,
        container: &Container,
        log: &Path,
    ) -> anyhow::Result<Process> {
        let out = File::create(log)?;
        let mut command = Command::new(self.folder.path().join("agent"));
        command
            .args(&container.args)
            .env_clear()
            .envs(container.env.iter().cloned())
            .uid(container.uid)
            .gid(container.gid)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        let child = pod.spawn(&mut command).context("cannot start the agent")?;
        Ok(Process::new(
            format!("{} of pod {name}", container.name),
            child,
        ))
    }

    fn start_server(&self, name: &str, pod: Pod) -> anyhow::Result<PlainPod> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder)?;
        std::os::unix::fs::chown(&folder, Some(APP_ID), Some(APP_ID))?;
        let server_log = folder.join("access.log");
        let page = format!("hello from pod {name}\n");
        let mut command = match project::find_program("nginx") {
            Some(nginx) => nginx_command(&nginx, &folder, &page)?,
            None => self.stand_in_command(&server_log, &page),
        };
        command.uid(APP_ID).gid(APP_ID).stdin(Stdio::null());
        let child = pod
            .spawn(&mut command)
            .context("cannot start the web server")?;
        let server = Process::new(format!("web server of pod {name}"), child);
        let plain = PlainPod {
            name: name.to_owned(),
            program: self.folder.path().join("xtask"),
            pod,
            server,
            server_log,
        };
        let own_address = SocketAddr::from((Ipv4Addr::LOCALHOST, APP_PORT));
        let up = eventually(LIMIT, || {
            plain
                .pod
                .enter(|| std::net::TcpStream::connect(own_address).is_ok())
        });
        if !up {
            bail!("the web server of pod {name} does not listen after {LIMIT:?}");
        }
        Ok(plain)
    }

    fn stand_in_command(&self, log: &Path, page: &str) -> Command {
        let mut command = Command::new(self.folder.path().join("xtask"));
        command
            .args([
                "serve",
                "--port",
                &APP_PORT.to_string(),
                "--page",
                page,
                "--log",
            ])
            .arg(log);
        command
    }

    /// Leaves the files in place after this value is gone, and tells where.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
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

// === impl PlainPod ===

impl PlainPod {
    /// Asks for `/` of `to` as the pod's application, in a process of its own.
    pub(crate) fn get(&self, to: IpAddr, limit: Duration) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "get",
                "--ip",
                &to.to_string(),
                "--port",
                &APP_PORT.to_string(),
            ])
            .args(["--limit-ms", &limit.as_millis().to_string()])
            .uid(APP_ID)
            .gid(APP_ID);
        let output = self.pod.output(&mut command)?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How many requests have reached the web server.
    pub(crate) fn n_served(&self) -> usize {
        read(&self.server_log).lines().count()
    }

    /// Lets the web server go on after this value is gone.
    pub(crate) fn detach(self) -> u32 {
        self.server.detach()
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
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{} has no resident memory", process.name()))
}

fn is_ready() -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::READINESS));
    http::get(address, paths::HEALTHZ_READY, LIMIT).is_ok_and(|response| response.status == 200)
}

fn read(path: &Path) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// nginx as a single process, so that ending it leaves no worker behind; everything it writes is in `folder`.
fn nginx_command(nginx: &Path, folder: &Path, page: &str) -> anyhow::Result<Command> {
    let shown = folder.display();
    let config = format!(
        "master_process off;\n\
         daemon off;\n\
         pid {shown}/nginx.pid;\n\
         error_log {shown}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log {shown}/access.log;\n\
           client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;\n\
           uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;\n\
           keepalive_requests 1000000;\n\
           server {{ listen {APP_PORT}; listen [::]:{APP_PORT}; root {shown}; default_type text/plain; }}\n\
         }}\n"
    );
    fs::write(folder.join("nginx.conf"), config)?;
    fs::write(folder.join("index.html"), page)?;
    let mut command = Command::new(nginx);
    command
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-e")
        .arg(folder.join("error.log"));
    Ok(command)
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

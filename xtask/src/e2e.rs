//! `cargo xtask e2e`: the mesh on a real cluster.
//!
//! Makes a kind cluster, installs the chart with the images of this tree, and runs the tests of the crate `e2e` against it, in stages:
//! those that share the cluster at once, then those that disturb the control plane, at last the one that uninstalls it.

mod engine;
mod go;
pub(crate) mod host;
mod kind;
mod node;
pub(crate) mod setup;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail};
use contract::control_plane::NAMESPACE;

use self::{
    host::NGINX_IMAGE,
    kind::{Cluster, Shape},
    setup::Tools,
};
use super::{images, project};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install what is missing on a Debian machine, as root: the Docker engine, kind, Helm, kubectl and a node image.
    #[arg(long)]
    setup: bool,
    /// Leave the cluster running at the end, and say how to reach it.
    #[arg(long)]
    keep: bool,
    /// Image of the cluster's nodes, instead of the one that is there or that --setup gets.
    #[arg(long, value_name = "IMAGE")]
    node_image: Option<String>,
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Address family of pods and Services.
    #[arg(long, value_name = "FAMILY", default_value_t = IpFamily::Ipv4)]
    ip_family: IpFamily,
    /// Run only the tests whose names contain this.
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// Address family of a cluster.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum IpFamily {
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both.
    Dual,
}

/// A file of tests, and whether its tests may run at the same time.
struct Stage {
    file: &'static str,
    in_parallel: bool,
}

const STAGES: [Stage; 6] = [
    Stage {
        file: "cases",
        in_parallel: true,
    },
    Stage {
        file: "pods",
        in_parallel: true,
    },
    Stage {
        file: "mutual_tls",
        in_parallel: true,
    },
    Stage {
        file: "control_plane",
        in_parallel: false,
    },
    Stage {
        file: "cni",
        in_parallel: false,
    },
    Stage {
        file: "release",
        in_parallel: false,
    },
];

/// The release's name, which nothing depends on.
const RELEASE: &str = "minimesh";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut clock = Clock::start();
    if args.setup {
        setup::install(args.node_image.as_deref())?;
        clock.lap("set up");
    }
    let tools = setup::find(args.node_image.as_deref())?;
    let mut images: Vec<String> = images::build(images::HUB, env!("CARGO_PKG_VERSION"))?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    images.push(NGINX_IMAGE.to_owned());
    let minimesh = build_tests()?;
    clock.lap("images and tests built");

    let output = project::target_folder()?.join("e2e");
    drop(fs::remove_dir_all(&output));
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let shape = Shape {
        n_nodes: args.nodes,
        ip_family: args.ip_family,
    };
    let cluster = Cluster::create(&tools, &shape, &output, args.keep)?;
    clock.lap("cluster created");
    cluster.load(&images)?;
    clock.lap("images loaded");
    let run = Run {
        tools: &tools,
        kubeconfig: cluster.kubeconfig(),
        minimesh,
        output: &output,
        filter: args.filter.as_deref(),
        keep: args.keep,
    };
    run.install()?;
    clock.lap("chart installed");
    run.tests(&mut clock)?;
    clock.total();
    Ok(())
}

/// Compiles what the stages run, so that no test waits for a compiler.
fn build_tests() -> anyhow::Result<PathBuf> {
    // Not in release form: the images have been through that already, and one program more takes minutes.
    project::run(project::cargo().args(["build", "--locked", "--package", "minimesh"]))?;
    project::run(project::cargo().args(["test", "--locked", "--package", "e2e", "--no-run"]))?;
    Ok(project::target_folder()?.join("debug/minimesh"))
}

/// What the steps on a running cluster share.
struct Run<'a> {
    tools: &'a Tools,
    kubeconfig: &'a Path,
    minimesh: PathBuf,
    output: &'a Path,
    filter: Option<&'a str>,
    keep: bool,
}

// === impl Run ===

impl Run<'_> {
    fn install(&self) -> anyhow::Result<()> {
        let installed = project::run(
            Command::new(&self.tools.helm)
                .env("KUBECONFIG", self.kubeconfig)
                .args(["install", RELEASE])
                .arg(project::root().join("charts/minimesh"))
                .args(["--namespace", NAMESPACE, "--create-namespace"])
                .args(["--wait", "--timeout", "180s"]),
        );
        if installed.is_err() {
            self.describe_control_plane();
        }
        installed.context("the chart could not be installed")
    }

    /// Shows why the control plane does not come up; there is no test yet that would collect it.
    fn describe_control_plane(&self) {
        let look: [&[&str]; 3] = [
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["describe", "pods"],
            &["logs", "--selector=app=istiod", "--tail=100", "--prefix"],
        ];
        for args in look {
            let mut command = self.kubectl();
            command.args(["--namespace", NAMESPACE]).args(args);
            println!("--- {}", project::shown(&command));
            drop(command.status());
        }
    }

    fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.tools.kubectl);
        command.env("KUBECONFIG", self.kubeconfig);
        command
    }

    fn tests(&self, clock: &mut Clock) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        for stage in &STAGES {
            if self.stage(stage).is_err() {
                failed.push(stage.file);
            }
            clock.lap(stage.file);
        }
        if !failed.is_empty() {
            bail!(
                "tests failed in {}; what was collected of the cluster is in {}",
                failed.join(", "),
                self.output.display()
            );
        }
        Ok(())
    }

    fn stage(&self, stage: &Stage) -> anyhow::Result<()> {
        let mut command = project::cargo();
        command
            .args(["test", "--locked", "--package", "e2e", "--test", stage.file])
            .args(["--", "--include-ignored"])
            .args(self.filter)
            .env("KUBECONFIG", self.kubeconfig)
            .env("E2E_MINIMESH", &self.minimesh)
            .env("E2E_OUTPUT", self.output)
            .env("E2E_HELM", &self.tools.helm)
            .env("E2E_KUBECTL", &self.tools.kubectl)
            .env("E2E_DOCKER", &self.tools.docker);
        if self.keep {
            command.env("E2E_KEEP", "1");
        }
        // The tests wait for the cluster far more than they compute.
        let n_threads = if stage.in_parallel { "8" } else { "1" };
        command.args(["--test-threads", n_threads]);
        project::run(&mut command)
    }
}

/// Tells how long each step took.
struct Clock {
    start: Instant,
    lap: Instant,
}

// === impl Clock ===

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            lap: now,
        }
    }

    fn lap(&mut self, step: &str) {
        println!("== {step}: {:.0} s", self.lap.elapsed().as_secs_f32());
        self.lap = Instant::now();
    }

    fn total(&self) {
        println!("== ok, {:.0} s in all", self.start.elapsed().as_secs_f32());
    }
}

// === impl IpFamily ===

impl std::fmt::Display for IpFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dual => "dual",
        })
    }
}

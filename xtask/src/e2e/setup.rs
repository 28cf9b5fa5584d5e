//! What the cluster tests need of a machine: found, or installed where `--setup` asks for it.
//!
//! Called by `e2e` first of all, and by `cargo xtask setup`. Without `--setup` nothing is installed, and all that is missing is named at once, each with the command
//! that gets it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail, ensure};

use super::{
    engine,
    go::Go,
    host::{self, NGINX_IMAGE},
    node,
};
use crate::{
    docker::{self, docker},
    project,
};

pub(crate) const KIND_VERSION: &str = "v0.33.0";
pub(crate) const HELM_VERSION: &str = "v3.22.0";
/// kind's default node image of [`KIND_VERSION`].
const STOCK_NODE_IMAGE: &str = "kindest/node:v1.37.0";
const BIN: &str = "/usr/local/bin";

/// The tools and images, all of them there.
pub(crate) struct Tools {
    pub(crate) kind: PathBuf,
    pub(crate) helm: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) docker: PathBuf,
    pub(crate) node_image: String,
}

/// The Helm that checks of the chart use; without one, the command that gets it.
pub(crate) fn helm() -> Result<PathBuf, String> {
    project::find_program("helm").ok_or_else(|| install_command("helm"))
}

/// Finds everything; fails with all that is missing.
pub(crate) fn find(node_image: Option<&str>) -> anyhow::Result<Tools> {
    let mut missing = Vec::new();
    let mut tool = |name: &str| {
        project::find_program(name).unwrap_or_else(|| {
            missing.push(format!("{name}: {}", install_command(name)));
            PathBuf::new()
        })
    };
    let (kind, helm, kubectl) = (tool("kind"), tool("helm"), tool("kubectl"));
    let docker = tool("docker");
    if docker::answers() {
        if !docker::has_image(NGINX_IMAGE) {
            missing.push(format!("image {NGINX_IMAGE}: docker pull {NGINX_IMAGE}"));
        }
    } else {
        missing.push("a Docker engine that answers: apt-get install docker.io".to_owned());
    }
    let node_image = match node_image {
        Some(image) => image.to_owned(),
        None => match known_node_image()? {
            Some(image) => image,
            None => {
                missing.push(format!("a node image: docker pull {STOCK_NODE_IMAGE}"));
                String::new()
            }
        },
    };
    ensure!(
        missing.is_empty(),
        "these are missing:\n  {}\n`cargo xtask e2e --setup`, as root on Debian, installs them all",
        missing.join("\n  ")
    );
    Ok(Tools {
        kind,
        helm,
        kubectl,
        docker,
        node_image,
    })
}

/// Installs what is missing.
pub(crate) fn install(node_image: Option<&str>) -> anyhow::Result<()> {
    let is_complete = find(node_image).is_ok();
    if is_complete {
        return Ok(());
    }
    ensure!(
        nix::unistd::geteuid().is_root(),
        "setting up installs packages and starts the Docker engine, which needs root"
    );
    engine::start()?;
    if node_image.is_none() && known_node_image()?.is_none() && !docker::pull(STOCK_NODE_IMAGE) {
        println!(
            "the stock node image cannot be pulled, so one is built; about ten minutes on two cores"
        );
        node::build().context("cannot build the node image")?;
    }
    host::nginx_image().with_context(|| format!("cannot make image {NGINX_IMAGE}"))?;
    tools(node_image)
}

fn tools(node_image: Option<&str>) -> anyhow::Result<()> {
    let bin = Path::new(BIN);
    if project::find_program("kind").is_none() {
        let package = format!("sigs.k8s.io/kind@{KIND_VERSION}");
        Go::find_or_fetch()?.install(&package, bin, "")?;
    }
    if project::find_program("helm").is_none() {
        let package = format!("helm.sh/helm/v3/cmd/helm@{HELM_VERSION}");
        Go::find_or_fetch()?.install(&package, bin, &helm_stamp())?;
    }
    if project::find_program("kubectl").is_none() {
        let image = match node_image {
            Some(image) => image.to_owned(),
            None => known_node_image()?.context("the node image is not there")?,
        };
        kubectl_of(&image, &bin.join("kubectl"))?;
    }
    Ok(())
}

/// What a release of Helm knows of itself: its version, and the newest Kubernetes that it renders for without a cluster.
fn helm_stamp() -> String {
    let package = "helm.sh/helm/v3";
    format!(
        "-X {package}/internal/version.version={HELM_VERSION} -X {package}/pkg/chartutil.k8sVersionMajor=1 -X {package}/pkg/chartutil.k8sVersionMinor=34"
    )
}

/// Takes `kubectl` out of a node image: the cluster's own version, and nothing to download.
fn kubectl_of(image: &str, to: &Path) -> anyhow::Result<()> {
    let output = docker()
        .args(["create", image])
        .output()
        .context("cannot run docker create")?;
    let container = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if container.is_empty() {
        bail!(
            "docker create {image} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let unfinished = to.with_extension("unfinished");
    let copied = project::run(
        docker()
            .args(["cp", &format!("{container}:/usr/bin/kubectl")])
            .arg(&unfinished)
            .stdout(Stdio::null()),
    );
    project::run(docker().args(["rm", &container]).stdout(Stdio::null()))?;
    copied?;
    fs::rename(&unfinished, to).with_context(|| format!("cannot install {}", to.display()))
}

/// A node image that the engine holds already.
fn known_node_image() -> anyhow::Result<Option<String>> {
    Ok([node::tag()?, STOCK_NODE_IMAGE.to_owned()]
        .into_iter()
        .find(|image| docker::has_image(image)))
}

fn install_command(tool: &str) -> String {
    match tool {
        "kind" => format!("go install sigs.k8s.io/kind@{KIND_VERSION}"),
        "helm" => format!("go install helm.sh/helm/v3/cmd/helm@{HELM_VERSION}"),
        "docker" => "apt-get install docker.io".to_owned(),
        _ => format!("docker cp of /usr/bin/{tool} from a kind node, or your system's package"),
    }
}

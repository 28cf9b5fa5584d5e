//! The node image, for machines that reach package registries but no container registry.
//!
//! Called by `setup`. Kubernetes, etcd and CoreDNS are compiled from their Go modules, the userland comes from Debian's packages, kind's
//! node files from kind's own module. What is compiled stays in the target folder until the image is complete, so a failed build resumes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::{go::Go, host, setup::KIND_VERSION};
use crate::{docker, project};

/// The programs of Kubernetes; the first three go into the node itself.
const KUBERNETES: [&str; 7] = [
    "kubeadm",
    "kubelet",
    "kubectl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
];
const N_NODE_PROGRAMS: usize = 3;
const PATH: &str = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The image before it holds the components, and the container that takes them up.
const BARE_IMAGE: &str = "minimesh/node-bare";
const LOADER: &str = "minimesh-node-build";
/// Runs in the node: takes the components' archives into the image store that the kubelet will look at.
const LOAD: &str = "
containerd >/tmp/containerd.log 2>&1 &
for _ in $(seq 60); do ctr version >/dev/null 2>&1 && break; sleep 0.5; done
for archive in /images/*.tar; do
  ctr --namespace=k8s.io images import --no-unpack --all-platforms --digests \"$archive\" >/dev/null
done
kill %1; wait %1 || true
rm /tmp/containerd.log";

/// Where things are while the image is being made.
struct Build {
    go: Go,
    sources: PathBuf,
    programs: PathBuf,
    archives: PathBuf,
    version: String,
}

/// Removes the loading container, also when loading fails.
struct Loader;

/// The tag of the image that [`build`] makes.
pub(crate) fn tag() -> anyhow::Result<String> {
    Ok(format!("minimesh/node:{}", kubernetes_version()?))
}

/// Builds the image [`tag`]; about ten minutes on two cores the first time.
pub(crate) fn build() -> anyhow::Result<()> {
    host::base_image()?;
    let work = project::target_folder()?.join("node-image");
    let build = Build {
        go: Go::find_or_fetch()?,
        sources: sources(),
        programs: work.join("programs"),
        archives: work.join("archives"),
        version: kubernetes_version()?,
    };
    for folder in [&build.programs, &build.archives] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    build.compile()?;
    let names = build.component_names()?;
    for name in &names {
        build
            .component(name)
            .with_context(|| format!("cannot make image {name}"))?;
    }
    build.node(&names)?;
    build.load()?;
    // The node holds them now.
    for name in names.iter().map(String::as_str).chain([BARE_IMAGE]) {
        project::run(
            docker::docker()
                .args(["image", "rm", name])
                .stdout(Stdio::null()),
        )?;
    }
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

fn sources() -> PathBuf {
    project::root().join("e2e/kind")
}

/// The version of Kubernetes that `go.mod` pins.
fn kubernetes_version() -> anyhow::Result<String> {
    let file = sources().join("kubernetes/go.mod");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("require k8s.io/kubernetes "))
        .map(|version| version.trim().to_owned())
        .with_context(|| format!("{} pins no k8s.io/kubernetes", file.display()))
}

// === impl Build ===

impl Build {
    fn compile(&self) -> anyhow::Result<()> {
        let minor = self.version.split('.').nth(1).unwrap_or_default();
        let stamp = [
            "k8s.io/component-base/version",
            "k8s.io/client-go/pkg/version",
        ]
        .map(|package| {
            format!(
                "-X {package}.gitVersion={} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}",
                self.version
            )
        })
        .join(" ");
        for program in KUBERNETES {
            let package = format!("k8s.io/kubernetes/cmd/{program}");
            self.compile_go("kubernetes", program, &package, &stamp)?;
        }
        self.compile_go("etcd", "etcd", "go.etcd.io/etcd/server/v3", "")?;
        self.compile_go("coredns", "coredns", ".", "")?;
        project::run(
            Command::new("cc")
                .args(["-Os", "-static", "-s", "-o"])
                .arg(self.programs.join("pause"))
                .arg(self.sources.join("pause/pause.c")),
        )
    }

    fn compile_go(
        &self,
        module: &str,
        program: &str,
        package: &str,
        stamp: &str,
    ) -> anyhow::Result<()> {
        let output = self.programs.join(program);
        if output.exists() {
            return Ok(());
        }
        println!("compiling {program}");
        // An interrupted link must not look like a program.
        let unfinished = output.with_extension("unfinished");
        project::run(
            self.go
                .command()
                .current_dir(self.sources.join(module))
                .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath"])
                .arg(format!("-ldflags=-s -w {stamp}"))
                .arg("-o")
                .arg(&unfinished)
                .arg(package),
        )?;
        fs::rename(&unfinished, &output)
            .with_context(|| format!("cannot rename {}", unfinished.display()))
    }

    /// Names of the components' images, as kubeadm will ask for them.
    fn component_names(&self) -> anyhow::Result<Vec<String>> {
        let output = Command::new(self.programs.join("kubeadm"))
            .args(["config", "images", "list", "--kubernetes-version"])
            .arg(&self.version)
            .output()
            .context("cannot run kubeadm")?;
        ensure!(
            output.status.success(),
            "kubeadm does not list its images: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let names = String::from_utf8_lossy(&output.stdout);
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn component(&self, name: &str) -> anyhow::Result<()> {
        let program = program_of(name);
        println!("image {name}");
        let context = tempfile::tempdir().context("cannot make a temporary folder")?;
        if program == "kube-proxy" {
            copy(&self.programs.join(program), &context.path().join(program))?;
            copy(
                &self.sources.join("kube-proxy/Dockerfile"),
                &context.path().join("Dockerfile"),
            )?;
            host::build_on_debian(name, context.path(), &[])?;
        } else {
            let folder = context.path().join("usr/local/bin");
            fs::create_dir_all(&folder).context("cannot make the image's folders")?;
            copy(&self.programs.join(program), &folder.join(program))?;
            let entrypoint = format!("ENTRYPOINT [\"/usr/local/bin/{program}\"]");
            docker::import(name, context.path(), &[PATH, &entrypoint])?;
        }
        docker::save(name, &self.archives.join(program).with_extension("tar"))
    }

    fn node(&self, components: &[String]) -> anyhow::Result<()> {
        println!("image of the node");
        let pause = components
            .iter()
            .find(|name| program_of(name) == "pause")
            .context("kubeadm asks for no image of pause")?;
        let context = tempfile::tempdir().context("cannot make a temporary folder")?;
        let context = context.path();
        let kind = context.join("kind");
        copy_tree(&self.kind_module()?.join("images/base/files"), &kind)?;
        // The module proxy does not carry permissions.
        for folder in ["usr/local/bin", "kind/bin"] {
            for entry in fs::read_dir(kind.join(folder)).with_context(|| {
                format!("kind's module has no files in images/base/files/{folder}")
            })? {
                fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))
                    .context("cannot set permissions")?;
            }
        }
        copy_tree(&self.sources.join("node/files"), &context.join("files"))?;
        let programs = context.join("programs");
        fs::create_dir(&programs).context("cannot make a folder")?;
        for program in KUBERNETES.iter().take(N_NODE_PROGRAMS) {
            copy(&self.programs.join(program), &programs.join(program))?;
        }
        fs::write(context.join("version"), &self.version).context("cannot write the version")?;
        copy(
            &self.sources.join("node/Dockerfile"),
            &context.join("Dockerfile"),
        )?;
        host::build_on_debian(BARE_IMAGE, context, &[&format!("PAUSE={pause}")])
    }

    /// The folder of kind's module, which holds the node's files.
    fn kind_module(&self) -> anyhow::Result<PathBuf> {
        let output = self
            .go
            .command()
            .current_dir(self.sources.join("kubernetes"))
            .args(["mod", "download", "-json"])
            .arg(format!("sigs.k8s.io/kind@{KIND_VERSION}"))
            .output()
            .context("cannot run go mod download")?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .context("cannot read what go mod download says")?;
        match answer["Dir"].as_str() {
            Some(folder) => Ok(folder.into()),
            None => bail!("kind's module cannot be fetched: {}", answer["Error"]),
        }
    }

    fn load(&self) -> anyhow::Result<()> {
        println!("loading the components into the node");
        drop(Loader);
        let archives = format!("{}:/images:ro", self.archives.display());
        project::run(
            docker::docker()
                .args(["run", "--detach", "--name", LOADER, "--entrypoint", "sleep"])
                // importing makes user namespaces, which the engine's filter of system calls refuses
                .args([
                    "--security-opt",
                    "seccomp=unconfined",
                    "--volume",
                    &archives,
                ])
                .args([BARE_IMAGE, "infinity"])
                .stdout(Stdio::null()),
        )?;
        let _loader = Loader;
        project::run(docker::docker().args(["exec", LOADER, "bash", "-euc", LOAD]))?;
        let entrypoint = "ENTRYPOINT [\"/usr/local/bin/entrypoint\", \"/sbin/init\"]";
        project::run(
            docker::docker()
                .args(["commit", "--change", entrypoint, LOADER, &tag()?])
                .stdout(Stdio::null()),
        )
    }
}

// === impl Loader ===

impl Drop for Loader {
    fn drop(&mut self) {
        // Absent is as good as removed.
        drop(docker::docker().args(["rm", "--force", LOADER]).output());
    }
}

/// The `etcd` of `example.org/etcd:3.6.5-0`.
fn program_of(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies a folder with its links and permissions, all of it writable by its owner.
fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    project::run(
        Command::new("cp")
            .arg("--recursive")
            .arg("--no-dereference")
            .arg("--preserve=mode,links")
            .arg(from)
            .arg(to),
    )?;
    // Go keeps its module folders read-only.
    project::run(Command::new("chmod").args(["--recursive", "u+w"]).arg(to))
}

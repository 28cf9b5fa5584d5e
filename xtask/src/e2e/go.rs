//! The Go toolchain, which Kubernetes and its tools are compiled with.
//!
//! Called by `setup` and `node`. Debian's Go may be older than what Kubernetes needs; then the toolchain comes from the module proxy
//! that GOPROXY names, as Go itself would fetch it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::host;
use crate::project;

/// Fetched where the machine has no Go of [`OLDEST`] or newer.
const TOOLCHAIN: &str = "v0.0.1-go1.26.0";
/// Minor version that Kubernetes, kind and Helm need.
const OLDEST: u32 = 26;

/// A Go toolchain that is new enough.
pub(crate) struct Go {
    program: PathBuf,
}

// === impl Go ===

impl Go {
    /// The machine's own toolchain, else one in the target folder.
    pub(crate) fn find_or_fetch() -> anyhow::Result<Self> {
        if let Some(program) = project::find_program("go")
            && minor_version(&program).is_some_and(|minor| minor >= OLDEST)
        {
            return Ok(Self { program });
        }
        let folder = project::target_folder()?.join("go");
        let program = folder.join("bin/go");
        if minor_version(&program).is_none() {
            fetch(&folder)?;
        }
        Ok(Self { program })
    }

    /// Runs the toolchain.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "auto")
            .env_remove("GOFLAGS");
        command
    }

    /// Installs the program of `package`, `PATH@VERSION`, into `folder`.
    pub(crate) fn install(&self, package: &str, folder: &Path, link: &str) -> anyhow::Result<()> {
        println!("compiling {package}");
        project::run(self.command().env("GOBIN", folder).args([
            "install",
            &format!("-ldflags=-s -w {link}"),
            package,
        ]))
    }
}

/// The 26 of `go version go1.26.8 linux/amd64`.
fn minor_version(program: &Path) -> Option<u32> {
    let output = Command::new(program)
        .arg("version")
        .env("GOTOOLCHAIN", "local")
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Fetches the toolchain's module and moves it to `folder`.
#[expect(
    clippy::disallowed_methods,
    reason = "GOPROXY tells which proxy this machine uses"
)]
fn fetch(folder: &Path) -> anyhow::Result<()> {
    for program in ["curl", "unzip"] {
        if project::find_program(program).is_none() {
            host::apt_install(&[program, "ca-certificates"])?;
        }
    }
    let proxy = env::var("GOPROXY").unwrap_or_default();
    let proxy = proxy
        .split([',', '|'])
        .find(|proxy| proxy.starts_with("http"))
        .with_context(|| {
            format!("there is no Go 1.{OLDEST} or newer; install it, or say by GOPROXY which module proxy has its toolchain")
        })?;
    let module = format!("{TOOLCHAIN}.{}", platform()?);
    let url = format!("{proxy}/golang.org/toolchain/@v/{module}.zip");
    println!("fetching {url}");
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let archive = work.path().join("go.zip");
    project::run(
        Command::new("curl")
            .args([
                "--fail",
                "--silent",
                "--show-error",
                "--location",
                "--output",
            ])
            .arg(&archive)
            .arg(&url),
    )?;
    project::run(
        Command::new("unzip")
            .arg("-q")
            .arg(&archive)
            .arg("-d")
            .arg(work.path()),
    )?;
    let unpacked = work.path().join(format!("golang.org/toolchain@{module}"));
    // The module proxy does not carry permissions.
    project::run(
        Command::new("chmod")
            .arg("--recursive")
            .arg("a+rx")
            .arg(unpacked.join("bin"))
            .arg(unpacked.join("pkg/tool")),
    )?;
    drop(fs::remove_dir_all(folder));
    project::run(Command::new("mv").arg(&unpacked).arg(folder))?;
    ensure!(
        minor_version(&folder.join("bin/go")).is_some(),
        "the Go toolchain in {} does not run",
        folder.display()
    );
    Ok(())
}

fn platform() -> anyhow::Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("linux-amd64"),
        "aarch64" => Ok("linux-arm64"),
        other => anyhow::bail!("there is no Go toolchain for {other}; install Go 1.{OLDEST}"),
    }
}

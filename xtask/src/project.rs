//! Where the project lies and how its programs are built and run.
//!
//! Called by every command; calls cargo.
//! Paths are absolute, so commands work from any folder of the tree.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// The programs that the demo and the bench run.
pub(crate) const PROGRAMS: [&str; 3] = ["minimesh", "istio-init", "agent"];

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_owned()
}

/// Cargo, in the project's folder: the one that started this program, else the one in PATH.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells its path by environment only"
)]
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether this runs as a gate, where a skipped step is a failed one.
#[expect(clippy::disallowed_methods, reason = "a convention of every CI system")]
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As tests are.
    Debug,
    Release,
}

/// Builds [`PROGRAMS`] and returns the folder that holds them.
pub(crate) fn build_programs(form: Form) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--locked"]);
    for program in PROGRAMS {
        command.args(["--package", program]);
    }
    let folder = match form {
        Form::Debug => "debug",
        Form::Release => {
            command.arg("--release");
            "release"
        }
    };
    run(&mut command)?;
    Ok(target_folder()?.join(folder))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(target))
}

/// What `cargo metadata` says, with `args` added.
pub(crate) fn metadata(args: &[&str]) -> anyhow::Result<serde_json::Value> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--locked"])
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")
}

/// Runs `command` with this terminal and fails where it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// The program `name` in PATH.
#[expect(
    clippy::disallowed_methods,
    reason = "looking a program up is what PATH is for"
)]
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    // Debian keeps servers in sbin, which an ordinary user's PATH lacks.
    let mut folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Of programs and the Debian packages that bring them, the packages that are missing.
pub(crate) fn missing_packages(tools: &[(&str, &'static str)]) -> Vec<&'static str> {
    let missing = tools
        .iter()
        .filter(|(program, _)| find_program(program).is_none());
    let packages: BTreeSet<_> = missing.map(|(_, package)| *package).collect();
    packages.into_iter().collect()
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

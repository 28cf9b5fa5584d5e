//! The Docker engine, by its command line.
//!
//! Used by `images` and `e2e`. Images are built by the classic builder, which every engine has.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::project::{run, shown};

/// The command line of the engine.
pub(crate) fn docker() -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_BUILDKIT", "0");
    command
}

/// Whether an engine answers.
pub(crate) fn answers() -> bool {
    quietly(docker().arg("info"))
}

/// Whether the engine holds the image `name`.
pub(crate) fn has_image(name: &str) -> bool {
    quietly(docker().args(["image", "inspect", name]))
}

/// Fetches the image `name` from its registry; false where that cannot be reached.
pub(crate) fn pull(name: &str) -> bool {
    println!("pulling {name}");
    // A registry that swallows packets must not hold up a machine that can build the image.
    quietly(Command::new("timeout").args(["300", "docker", "pull", "--quiet", name]))
}

/// Builds `tag` of a Dockerfile in `context`; `args` are added to the command line.
pub(crate) fn build(tag: &str, context: &Path, args: &[&str]) -> anyhow::Result<()> {
    let mut command = docker();
    command
        .args(["build", "--quiet", "--force-rm", "--tag", tag])
        .args(args)
        .arg(context);
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", shown(&command)))?;
    ensure!(
        output.status.success(),
        "{} failed:\n{}{}",
        shown(&command),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Makes the image `tag` of the files below `root` as its one layer; `changes` are lines of a Dockerfile.
pub(crate) fn import(tag: &str, root: &Path, changes: &[&str]) -> anyhow::Result<()> {
    let mut tar = Command::new("tar")
        .args(["--create", "--numeric-owner", "--directory"])
        .arg(root)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run tar")?;
    let files = tar.stdout.take().context("tar has no output")?;
    let mut command = docker();
    command.arg("import");
    for change in changes {
        command.args(["--change", change]);
    }
    command.args(["-", tag]).stdin(files).stdout(Stdio::null());
    let imported = run(&mut command);
    let packed = tar.wait().context("cannot wait for tar")?;
    imported?;
    ensure!(
        packed.success(),
        "tar of {} failed: {packed}",
        root.display()
    );
    Ok(())
}

/// Writes the image `name` to the archive `file`.
pub(crate) fn save(name: &str, file: &Path) -> anyhow::Result<()> {
    run(docker().args(["save", "--output"]).arg(file).arg(name))
}

/// Bytes of the image `name` as it is sent over the network, compressed.
pub(crate) fn compressed_size(name: &str) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let archive = folder.path().join("image.tar");
    save(name, &archive)?;
    let compressed = folder.path().join("image.tar.gz");
    let file = File::create(&compressed)
        .with_context(|| format!("cannot create {}", compressed.display()))?;
    run(Command::new("gzip")
        .args(["--to-stdout", "--no-name"])
        .arg(&archive)
        .stdout(file))?;
    let size = compressed
        .metadata()
        .with_context(|| format!("cannot look at {}", compressed.display()))?;
    Ok(size.len())
}

/// Fails with what to do unless an engine answers.
pub(crate) fn need_engine() -> anyhow::Result<()> {
    if answers() {
        return Ok(());
    }
    bail!(
        "no Docker engine answers; start it, let this user reach it, or run `cargo xtask e2e --setup` as root, which installs and starts one"
    )
}

fn quietly(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

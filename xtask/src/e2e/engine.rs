//! The Docker engine of a machine that has none.
//!
//! Called by `setup`, as root. An engine that answers is left alone; one that is installed here is started without systemd, which
//! containers lack.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::host;
use crate::{docker, project};

const START: Duration = Duration::from_secs(30);
const LOG: &str = "/var/log/dockerd.log";
const SETTINGS: &str = "/etc/docker/daemon.json";
const RUNTIME: &str = "/usr/local/sbin/minimesh-oci-runtime";
/// The number of CAP_SYS_RESOURCE, capability(7).
const SYS_RESOURCE: u32 = 24;

/// Makes sure that an engine answers.
pub(crate) fn start() -> anyhow::Result<()> {
    if docker::answers() {
        return Ok(());
    }
    let missing: Vec<&str> = [
        ("dockerd", "docker.io"),
        ("docker", "docker-cli"),
        ("jq", "jq"),
    ]
    .into_iter()
    .filter(|(program, _)| project::find_program(program).is_none())
    .map(|(_, package)| package)
    .collect();
    if missing.contains(&"docker.io") {
        // Debian's docker.io brings the command line until trixie, and recommends it from then on.
        host::apt_install(&["docker.io", "jq", "iptables"])?;
        if project::find_program("docker").is_none() {
            host::apt_install(&["docker-cli"])?;
        }
    } else if !missing.is_empty() {
        host::apt_install(&missing)?;
    }
    // Where there is systemd, the package has started the engine.
    if docker::answers() {
        return Ok(());
    }
    if lacks_sys_resource()? {
        register_runtime()?;
    }
    println!("starting the Docker engine");
    drop(fs::remove_file("/var/run/docker.pid"));
    let log = fs::File::create(LOG).with_context(|| format!("cannot create {LOG}"))?;
    let errors = log.try_clone().context("cannot share the log")?;
    project::run(
        Command::new("setsid")
            .args(["--fork", "dockerd"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors),
    )?;
    let start = Instant::now();
    while start.elapsed() < START {
        if docker::answers() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(250));
    }
    let log = fs::read_to_string(LOG).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or(&[]);
    bail!(
        "the Docker engine does not start; the end of {LOG}:\n{}",
        tail.join("\n")
    )
}

/// Whether root here can never have CAP_SYS_RESOURCE, which the engine gives to privileged containers.
fn lacks_sys_resource() -> anyhow::Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read own status")?;
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .context("/proc/self/status tells no bounding set")?;
    Ok(bounding & (1 << SYS_RESOURCE) == 0)
}

/// Makes the reduced runtime the engine's default, keeping its other settings.
fn register_runtime() -> anyhow::Result<()> {
    let script = project::root().join("e2e/kind/engine/oci-runtime");
    fs::copy(&script, RUNTIME)
        .and_then(|_| fs::set_permissions(RUNTIME, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot install {RUNTIME}"))?;
    let file = Path::new(SETTINGS);
    let mut settings: Value = match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{SETTINGS} is not JSON; repair or remove it"))?,
        Err(_) => json!({}),
    };
    settings["default-runtime"] = json!("minimesh");
    settings["runtimes"]["minimesh"] = json!({ "path": RUNTIME });
    fs::create_dir_all("/etc/docker").context("cannot make /etc/docker")?;
    fs::write(file, format!("{settings:#}\n")).with_context(|| format!("cannot write {SETTINGS}"))
}

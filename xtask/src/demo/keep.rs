//! Pods that outlive the demo, and their end.
//!
//! Called by `cargo xtask demo --keep` and `--stop`. The process ids are in a file, because nothing else knows them: the
//! namespaces have no names and last as long as a process in them.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;
use nix::sys::signal::Signal;
use testkit::process::Process;

use super::{Cast, Lab, project};

/// Leaves the pods running and tells how to look around.
pub(super) fn keep(lab: Lab, cast: Cast) -> anyhow::Result<()> {
    // The links between the pods live in the node's namespace, which lasts as long as a process in it.
    let holder = lab
        .node()
        .enter(|| Command::new("sleep").arg("infinity").spawn())?;
    let holder = Process::new("node", holder).detach();
    let (client, server) = (cast.client.sidecar.id(), cast.server.sidecar.id());
    let (client_ip, server_ip) = (cast.client.plain.pod.ip4(), cast.server.plain.pod.ip4());
    let mut ids = vec![holder, cast.stranger.detach()];
    for mesh_pod in [cast.client, cast.server] {
        ids.push(mesh_pod.sidecar.detach());
        ids.push(mesh_pod.plain.detach());
    }
    let folder = lab.keep();
    let mut state = format!("{}\n", folder.display());
    for id in ids {
        state.push_str(&format!("{id}\n"));
    }
    fs::create_dir_all(project::root().join("target"))?;
    fs::write(state_file(), state)?;
    // Entering the user namespace that one is already in is an error.
    let user = if in_user_namespace()? {
        "--user --preserve-credentials "
    } else {
        ""
    };
    let enter = |id| format!("nsenter {user}--net --target {id}");
    println!("\nThe pods keep running. Look around (programs that the machine has):");
    println!(
        "    {} curl http://{server_ip}/                          # as the client's application",
        enter(client)
    );
    println!(
        "    {} curl localhost:15020/stats/prometheus          # the server's sidecar",
        enter(server)
    );
    println!(
        "    {} nft list ruleset                               # the client's rules",
        enter(client)
    );
    println!(
        "    {} curl http://{client_ip}:15021/healthz/ready       # as the kubelet",
        enter(holder)
    );
    println!("    tail -f {}/*.sidecar.log", folder.display());
    println!("    cargo xtask demo --stop");
    Ok(())
}

/// Ends what [`keep`] left.
pub(super) fn stop() -> anyhow::Result<()> {
    let state = fs::read_to_string(state_file()).context("nothing was left running")?;
    let mut lines = state.lines();
    let folder = lines
        .next()
        .context("the file of the demo's process ids is empty")?;
    for id in lines {
        // An id may belong to somebody else by now; ours run in a folder or under a name that we know.
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if command.contains(folder) || command.starts_with("sleep\0infinity") {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.parse()?), Signal::SIGKILL);
        }
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {folder}"))?;
    fs::remove_file(state_file())?;
    println!("stopped");
    Ok(())
}

/// Whether this process's user ids are not the machine's own, all of which the first namespace maps to themselves.
fn in_user_namespace() -> anyhow::Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_whitespace().ne(["0", "0", "4294967295"]))
}

fn state_file() -> PathBuf {
    project::root().join("target/demo.pids")
}

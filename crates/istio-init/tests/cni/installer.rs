//! The installer in two folders that stand for those of a node.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use contract::cni::{PLUGIN, POD_ANNOTATIONS};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::process::eventually;

/// The two folders of a node.
struct Node {
    folder: TempDir,
}

/// An installer that runs; it is killed where a test fails.
struct Running {
    child: Child,
}

/// What the installer does after a change follows within milliseconds; a busy machine may take longer.
const LIMIT: Duration = Duration::from_secs(20);

// === impl Node ===

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::create_dir(folder.path().join("net.d")).unwrap();
        Self { folder }
    }

    /// With the configuration of a network plugin in `10-pods.conflist`.
    fn with_network() -> Self {
        let node = Self::new();
        node.write("10-pods.conflist", &network(&[]));
        node
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("bin").join(PLUGIN)
    }

    fn configuration(&self, name: &str) -> PathBuf {
        self.folder.path().join("net.d").join(name)
    }

    fn write(&self, name: &str, configuration: &Value) {
        let path = self.configuration(name);
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, configuration.to_string()).unwrap();
        fs::rename(unfinished, path).unwrap();
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.configuration(name)).unwrap()).unwrap()
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_istio-init"));
        command
            .arg("install-cni")
            .arg(format!(
                "--mounted-cni-bin-dir={}",
                self.folder.path().join("bin").display()
            ))
            .arg(format!(
                "--mounted-cni-net-dir={}",
                self.folder.path().join("net.d").display()
            ))
            .args(flags)
            .env_clear()
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, flags: &[&str]) -> Running {
        Running {
            child: self.command(flags).spawn().unwrap(),
        }
    }

    fn check(&self) -> Output {
        self.command(&["--check"]).output().unwrap()
    }

    fn is_ready(&self) -> bool {
        self.check().status.success()
    }

    #[track_caller]
    fn becomes_ready(&self) {
        assert!(
            eventually(LIMIT, || self.is_ready()),
            "{}",
            String::from_utf8_lossy(&self.check().stderr)
        );
    }

    /// Nothing that was being written is left.
    #[track_caller]
    fn is_tidy(&self) {
        for entry in ["bin", "net.d"]
            .iter()
            .flat_map(|name| fs::read_dir(self.folder.path().join(name)).unwrap())
        {
            let path = entry.unwrap().path();
            assert!(
                path.extension()
                    .is_none_or(|ending| ending != "minimesh-tmp"),
                "{}",
                path.display()
            );
        }
    }
}

// === impl Running ===

impl Running {
    /// Asks it to end and returns what it has said.
    #[track_caller]
    fn ends(mut self) -> String {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut errors, &mut said).unwrap();
        }
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn network(more: &[Value]) -> Value {
    let mut plugins = vec![
        json!({"type": "bridge", "mtu": 1400}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ];
    plugins.extend_from_slice(more);
    json!({"cniVersion": "0.3.1", "name": "pods", "plugins": plugins})
}

fn entry(excluded: &[&str]) -> Value {
    let mut entry = json!({"type": PLUGIN, "capabilities": {POD_ANNOTATIONS: true}});
    if !excluded.is_empty() {
        entry["excludeNamespaces"] = json!(excluded);
    }
    entry
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_program_and_its_entry_come_to_the_node_and_stay_there() {
    let node = Node::with_network();
    let path = node.configuration("10-pods.conflist");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!node.is_ready());
    let installer = node.start(&["--exclude-namespaces", "kube-system"]);
    let excluded = || {
        node.command(&["--check", "--exclude-namespaces=kube-system"])
            .output()
            .unwrap()
    };
    assert!(
        eventually(LIMIT, || excluded().status.success()),
        "{:?}",
        excluded()
    );
    assert_eq!(
        node.read("10-pods.conflist"),
        network(&[entry(&["kube-system"])])
    );
    assert_eq!(mode(&path), 0o640);
    assert_eq!(mode(&node.program()), 0o755);
    assert_eq!(
        fs::read(node.program()).unwrap(),
        fs::read(env!("CARGO_BIN_EXE_istio-init")).unwrap()
    );
    let said = installer.ends();
    assert!(said.contains("stays on this node"), "{said}");
    assert!(excluded().status.success());
    node.is_tidy();
}

#[test]
fn what_others_overwrite_is_repaired() {
    let node = Node::with_network();
    let installer = node.start(&[]);
    node.becomes_ready();

    node.write(
        "10-pods.conflist",
        &network(&[json!({"type": "bandwidth"})]),
    );
    node.becomes_ready();
    assert_eq!(
        node.read("10-pods.conflist"),
        network(&[json!({"type": "bandwidth"}), entry(&[])])
    );

    fs::remove_file(node.program()).unwrap();
    node.becomes_ready();

    // One that comes first by its name is the one that the runtime uses.
    node.write("05-other.conflist", &network(&[]));
    node.becomes_ready();
    assert_eq!(node.read("05-other.conflist"), network(&[entry(&[])]));

    // Somebody who puts a plugin behind ours is left in peace.
    let more = network(&[entry(&[]), json!({"type": "another"})]);
    node.write("05-other.conflist", &more);
    assert!(node.is_ready());
    drop(installer);
    assert_eq!(node.read("05-other.conflist"), more);
    node.is_tidy();
}

#[test]
fn an_upgrade_replaces_program_and_entry() {
    let node = Node::with_network();
    node.write(
        "10-pods.conflist",
        &network(&[json!({"type": PLUGIN, "from": "before"})]),
    );
    fs::write(node.program(), "the version before").unwrap();
    let installer = node.start(&[]);
    node.becomes_ready();
    assert_eq!(node.read("10-pods.conflist"), network(&[entry(&[])]));
    installer.ends();
}

#[test]
fn told_to_it_takes_everything_away_at_the_end() {
    let node = Node::with_network();
    node.write("20-unused.conflist", &network(&[entry(&["old"])]));
    let installer = node.start(&["--remove-on-exit"]);
    node.becomes_ready();
    let said = installer.ends();
    assert!(said.contains("gone from this node"), "{said}");
    assert!(!node.program().exists());
    for name in ["10-pods.conflist", "20-unused.conflist"] {
        assert_eq!(node.read(name), network(&[]), "{name}");
    }
    node.is_tidy();
}

#[test]
fn it_waits_for_a_configuration_that_it_can_use_and_says_what_it_waits_for() {
    let node = Node::new();
    let installer = node.start(&[]);
    let refused = |part: &str| {
        let output = node.check();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(part),
            "{part}: {said}"
        );
    };
    refused("no network configuration");
    fs::write(
        node.configuration("10-single.conf"),
        r#"{"cniVersion": "1.0.0", "type": "bridge"}"#,
    )
    .unwrap();
    refused("10-single.conf");
    fs::remove_file(node.configuration("10-single.conf")).unwrap();
    fs::write(node.configuration("10-pods.conflist"), "{\"cniVersion\"").unwrap();
    refused("10-pods.conflist");
    node.write("10-pods.conflist", &network(&[]));
    node.becomes_ready();
    installer.ends();
}

#[test]
fn only_the_configuration_that_is_named_is_used() {
    let node = Node::with_network();
    node.write("99-named.conflist", &network(&[]));
    let installer = node.start(&["--cni-conf-name=99-named.conflist"]);
    let ready = || {
        node.command(&["--check", "--cni-conf-name=99-named.conflist"])
            .status()
            .unwrap()
            .success()
    };
    assert!(eventually(LIMIT, ready));
    assert_eq!(node.read("10-pods.conflist"), network(&[]));
    installer.ends();
}

#[test]
fn wrong_flags_are_told_and_nothing_is_touched() {
    let node = Node::with_network();
    let output = node
        .command(&["--frob", "--check=perhaps"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--frob") && said.contains("perhaps"),
        "{said}"
    );
    assert!(!node.program().exists());
}

#[test]
fn every_flag_is_in_the_help_text() {
    let node = Node::new();
    let output = node.command(&["--help"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for part in [
        "--check",
        "--remove-on-exit",
        "EXCLUDE_NAMESPACES",
        "--cni-conf-name VALUE",
    ] {
        assert!(
            output.status.success() && said.contains(part),
            "{part}: {said}"
        );
    }
}

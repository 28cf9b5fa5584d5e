//! The program as it is started: its addresses, its errors, its signals.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::process::{Process, eventually};

const LIMIT: Duration = Duration::from_secs(20);

struct Program {
    process: Process,
    dir: TempDir,
}

/// The program with nothing of the test's own environment.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_injector"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn files() -> TempDir {
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(dir.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    for (name, file) in [
        ("config", "files/config"),
        ("mesh", "files/mesh"),
        ("values", "values.yaml"),
    ] {
        std::fs::copy(chart.join(file), dir.path().join(name)).unwrap();
    }
    dir
}

/// By the environment alone, because every flag has a variable.
fn configured(dir: &TempDir) -> Command {
    let mut command = command();
    command
        .env("INJECT_DIR", dir.path())
        .env("MESH_CONFIG_FILE", dir.path().join("mesh"))
        .env("TLS_CERT_FILE", dir.path().join("tls.crt"))
        .env("TLS_KEY_FILE", dir.path().join("tls.key"))
        .env("HTTPS_ADDR", "127.0.0.1:0");
    command
}

fn start() -> Program {
    let dir = files();
    let log = File::create(dir.path().join("log")).unwrap();
    let child = configured(&dir).stderr(log).spawn().unwrap();
    Program {
        process: Process::new("injector", child),
        dir,
    }
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

impl Program {
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until the log holds `text`.
    fn says(&self, text: &str) {
        assert!(
            eventually(LIMIT, || self.log().contains(text)),
            "{text} is not in the log: {}",
            self.log()
        );
    }

    fn address(&self) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once("address=").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

#[test]
fn it_says_where_it_listens_and_ends_well_when_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut program = start();
        program.says("ready");
        let address = program.address();
        assert_ne!(address.port(), 0);
        assert!(TcpStream::connect(address).is_ok());
        program.process.signal(signal).unwrap();
        let status = program.process.wait(LIMIT).unwrap();
        assert!(status.success(), "{status}: {}", program.log());
        assert!(program.log().contains("draining"));
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn it_opens_only_the_webhooks_port() {
    let program = start();
    program.says("ready");
    assert_eq!(program.log().matches("listening").count(), 1);
}

#[test]
fn what_is_missing_is_told_by_flag_and_variable() {
    let (code, stderr) = run(&mut command());
    assert_eq!(code, Some(2));
    for text in [
        "--inject-dir (INJECT_DIR)",
        "--tls-cert-file (TLS_CERT_FILE)",
        "--tls-key-file",
    ] {
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_named() {
    let table = [
        ("--https-addr=nowhere", "--https-addr"),
        ("--https-addr=127.0.0.1:70000", "70000"),
        ("--log_output_level=loud", "loud"),
        ("--drain-duration=5", "5s"),
        ("--no-such-flag", "--no-such-flag"),
    ];
    for (flag, expected) in table {
        let (code, stderr) = run(configured(&files()).arg(flag));
        assert_eq!(code, Some(2), "{flag}: {stderr}");
        assert!(stderr.contains(expected), "{flag}: {stderr}");
    }
}

#[test]
fn a_busy_port_is_an_error_that_names_flag_and_address() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let (code, stderr) = run(configured(&files()).arg(format!("--https-addr={address}")));
    assert_eq!(code, Some(1));
    for text in ["--https-addr", &address, "in use"] {
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn an_unreadable_certificate_is_an_error_that_names_flag_and_file() {
    let (code, stderr) = run(configured(&files()).arg("--tls-cert-file=/nowhere/tls.crt"));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("/nowhere/tls.crt (--tls-cert-file)"),
        "{stderr}"
    );
}

#[test]
fn a_cluster_that_cannot_be_found_is_an_error_that_says_where_it_was_looked_for() {
    let dir = files();
    let (code, stderr) = run(command()
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .env("INJECT_DIR", dir.path()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/nowhere/kubeconfig"), "{stderr}");
}

#[test]
fn help_and_version_are_answered() {
    for flag in ["--help", "--version"] {
        let output = command().arg(flag).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty());
    }
}

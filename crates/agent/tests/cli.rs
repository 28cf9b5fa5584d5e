//! The program as a user, the kubelet and a hook meet it: flags, exit codes, signals.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

#[path = "cli/program.rs"]
mod program;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use testkit::{http::get, process::eventually};

use program::{Agent, EPHEMERAL, LIMIT, post, run};

/// Longer than any test may take, so that an end within [`LIMIT`] is not the deadline's.
const LONG_DRAIN: &str = "--drain-duration=60s";

/// A folder that goes away.
struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder of the build.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn wrong_settings_are_told_all_at_once_with_exit_code_2() {
    let settings = [
        ("ISTIO_KUBE_APP_PROBERS", "{\"a\": "),
        ("ENVOY_STATUS_PORT", "70000"),
    ];
    let output = run(&["proxy", "sidecar", "--drain-duration=5"], &settings);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    for expected in [
        "--app-probers (env ISTIO_KUBE_APP_PROBERS): ",
        "--readiness-port (env ENVOY_STATUS_PORT): `70000` is not a port number",
        "--drain-duration (env TERMINATION_DRAIN_DURATION): `5` is not a duration",
    ] {
        assert!(
            output.stderr.contains(expected),
            "{expected} is not in\n{}",
            output.stderr
        );
    }
}

#[test]
fn a_wrong_local_mesh_ends_the_start_and_says_where_it_is_wrong() {
    let folder = Folder::new("local-mesh");
    let file = folder.0.join("mesh.yaml");
    fs::write(
        &file,
        "services:\n- name: web\n  namespace: shop\n  prots: []\n",
    )
    .unwrap();
    let flag = format!("--local-mesh={}", file.display());
    let output = run(&[&EPHEMERAL[..], &[&flag]].concat(), &[]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let expected = format!(
        "agent: --local-mesh (env AGENT_LOCAL_MESH) is refused\n{}:4:3: services[0].prots: unknown field `prots`, expected one of name,",
        file.display()
    );
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
}

#[test]
fn a_local_mesh_is_followed_while_the_proxy_runs() {
    let folder = Folder::new("followed-mesh");
    let file = folder.0.join("mesh.yaml");
    fs::write(&file, "{}").unwrap();
    let agent = Agent::start(&[&format!("--local-mesh={}", file.display())]);
    let metric = |line: &str| {
        let page = get(agent.prometheus, "/metrics", LIMIT).unwrap().body;
        page.contains(line)
    };
    let refused = "minimesh_agent_files_refused{files=\"local-mesh\"}";
    assert!(eventually(LIMIT, || metric(&format!("{refused} 0"))));
    fs::write(&file, "services: web").unwrap();
    assert!(eventually(LIMIT, || metric(&format!("{refused} 1"))));
    let ready = get(agent.status, "/healthz/ready", LIMIT).unwrap();
    assert_eq!(ready.status, 200);
    assert!(
        ready
            .body
            .contains("local-mesh: refused, the last good one is in use:"),
        "{}",
        ready.body
    );
    assert!(
        agent.log().contains("the last good ones stay in use"),
        "{}",
        agent.log()
    );
    fs::write(&file, "settings: {accessLogFile: /dev/stdout}").unwrap();
    assert!(eventually(LIMIT, || metric(&format!("{refused} 0"))));
    let logs_are_on = || {
        let page = get(agent.admin, "/logging", LIMIT).unwrap().body;
        page.contains("access_log: text")
    };
    assert!(eventually(LIMIT, logs_are_on));
}

#[test]
fn wrong_usage_has_exit_code_2_and_says_what_is_wrong() {
    let table: [(&[&str], &str); 9] = [
        (&[], "Usage"),
        (&["fly"], "fly"),
        (&["proxy", "router"], "gateways are not there yet"),
        (&["proxy", "envoy"], "no such role"),
        (&["proxy", "--log_output_level=loud"], "loud"),
        (&["wait", "--nothing"], "--nothing"),
        (&["wait", "--url=https://localhost/"], "is not an http URL"),
        (
            &["request", "GET", "/", "--debug-port=8080"],
            "8080 is not one of 15000",
        ),
        (&["request", "GE T", "/"], "is not an HTTP request"),
    ];
    for (args, expected) in table {
        let output = run(args, &[]);
        assert_eq!(output.code, Some(2), "{args:?}: {}", output.stderr);
        assert!(
            output.stderr.contains(expected),
            "{args:?}: {}",
            output.stderr
        );
    }
}

#[test]
fn version_and_help_succeed() {
    let output = run(&["version"], &[]);
    assert_eq!(output.code, Some(0));
    assert_eq!(
        output.stdout,
        concat!("agent ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let output = run(&["proxy", "--help"], &[]);
    assert_eq!(output.code, Some(0));
    assert!(
        output.stdout.contains("--access-log-file"),
        "{}",
        output.stdout
    );
}

#[test]
fn a_busy_port_is_named_with_its_purpose() {
    let held = TcpListener::bind("[::]:0").unwrap();
    let port = held.local_addr().unwrap().port();
    for (flag, purpose) in [
        ("--status-port", "status and probes"),
        ("--admin-port", "the admin interface"),
        ("--prometheus-port", "metrics"),
        ("--inbound-port", "inbound"),
        ("--outbound-port", "outbound"),
        ("--readiness-port", "readiness"),
    ] {
        let mut args = EPHEMERAL.to_vec();
        let flag = format!("{flag}={port}");
        args.retain(|arg| flag.split('=').next() != arg.split('=').next());
        args.push(&flag);
        let output = run(&args, &[]);
        assert_eq!(output.code, Some(1), "{flag}: {}", output.stderr);
        let address = format!(":{port} ");
        assert!(
            output.stderr.contains(&address),
            "{flag}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(purpose), "{flag}: {}", output.stderr);
        assert!(
            output.stderr.contains("in use"),
            "{flag}: {}",
            output.stderr
        );
    }
}

#[test]
fn an_access_log_that_cannot_be_written_is_told_at_start() {
    let mut args = EPHEMERAL.to_vec();
    args.push("--access-log-file=/nonexistent/log");
    let output = run(&args, &[]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("cannot open the access log /nonexistent/log"),
        "{}",
        output.stderr
    );
}

#[test]
fn sigusr1_opens_the_access_log_anew_and_harms_nothing_without_one() {
    let folder = Folder::new("access-log");
    let path = folder.0.join("log");
    let agent = Agent::start(&[&format!("--access-log-file={}", path.display())]);
    fs::rename(&path, folder.0.join("log.1")).unwrap();
    agent.process.signal(Signal::SIGUSR1).unwrap();
    assert!(eventually(LIMIT, || path.exists()), "{}", agent.log());
    let agent = Agent::start(&[]);
    agent.process.signal(Signal::SIGUSR1).unwrap();
    assert!(
        eventually(LIMIT, || agent.log().contains("access log opened anew")),
        "{}",
        agent.log()
    );
    let answer = get(agent.readiness, "/healthz/ready", LIMIT).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn it_becomes_ready_with_no_file_and_no_variable_at_all() {
    let agent = Agent::start(&[]);
    for port in [agent.readiness, agent.status] {
        let answer = get(port, "/healthz/ready", LIMIT).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "ready\n"));
    }
    for (port, path) in [
        (agent.status, "/stats/prometheus"),
        (agent.prometheus, "/stats/prometheus"),
    ] {
        let page = get(port, path, LIMIT).unwrap().body;
        assert!(page.contains("istio_build{component=\"proxy\""), "{page}");
        assert!(page.contains("istio_requests"), "{page}");
    }
}

#[test]
fn unknown_flags_are_passed_over_with_one_warning() {
    let agent = Agent::start(&["--later=1", "--even-later", "2"]);
    let log = agent.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("--later --even-later"), "{log}");
}

#[test]
fn sigterm_turns_readiness_off_drains_and_ends_with_success() {
    let mut agent = Agent::start(&["--drain-duration=700ms"]);
    let start = Instant::now();
    agent.process.signal(Signal::SIGTERM).unwrap();
    let off = eventually(LIMIT, || {
        get(agent.status, "/healthz/ready", LIMIT).is_ok_and(|answer| answer.status == 503)
    });
    assert!(off, "{}", agent.log());
    let status = agent.process.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", agent.log());
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(700),
        "ended after {took:?}, the application may not be done yet"
    );
}

#[test]
fn waiting_for_the_last_connection_ends_early_when_there_is_none() {
    let mut agent = Agent::start(&[
        LONG_DRAIN,
        "--exit-on-zero-active-connections",
        "--minimum-drain-duration=100ms",
    ]);
    agent.process.signal(Signal::SIGTERM).unwrap();
    assert!(
        agent.process.wait(LIMIT).unwrap().success(),
        "{}",
        agent.log()
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut agent = Agent::start(&[LONG_DRAIN]);
    agent.process.signal(Signal::SIGTERM).unwrap();
    let draining = eventually(LIMIT, || agent.log().contains("draining"));
    assert!(draining, "{}", agent.log());
    agent.process.signal(Signal::SIGINT).unwrap();
    assert!(
        agent.process.wait(LIMIT).unwrap().success(),
        "{}",
        agent.log()
    );
}

#[test]
fn after_a_drain_by_the_hook_a_signal_ends_it_at_once() {
    let mut agent = Agent::start(&[LONG_DRAIN]);
    assert_eq!(post(agent.status, "/drain").unwrap(), 200);
    assert_eq!(
        get(agent.readiness, "/healthz/ready", LIMIT)
            .unwrap()
            .status,
        503
    );
    assert!(
        agent.process.try_wait().unwrap().is_none(),
        "it must go on until the signal"
    );
    agent.process.signal(Signal::SIGTERM).unwrap();
    assert!(
        agent.process.wait(LIMIT).unwrap().success(),
        "{}",
        agent.log()
    );
}

#[test]
fn quitquitquit_ends_it_at_once() {
    let mut agent = Agent::start(&[LONG_DRAIN]);
    assert_eq!(post(agent.status, "/quitquitquit").unwrap(), 200);
    assert!(
        agent.process.wait(LIMIT).unwrap().success(),
        "{}",
        agent.log()
    );
}

#[test]
fn wait_ends_when_the_sidecar_is_ready() {
    let agent = Agent::start(&[]);
    let url = format!(
        "--url=http://localhost:{}/healthz/ready",
        agent.readiness.port()
    );
    let output = run(
        &["wait", &url, "--timeoutSeconds=10", "--periodMillis=10"],
        &[],
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
}

#[test]
fn wait_gives_up_and_says_why() {
    let agent = Agent::start(&[]);
    post(agent.status, "/drain").unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = held.local_addr().unwrap().port();
    for (port, reason) in [
        (agent.status.port(), "the answer is 503"),
        (silent, "no answer within 50 ms"),
        (1, "no connection: "),
    ] {
        let url = format!("--url=http://localhost:{port}/healthz/ready");
        let args = [
            "wait",
            &url,
            "--timeoutSeconds=1",
            "--periodMillis=50",
            "--requestTimeoutMillis=50",
        ];
        let output = run(&args, &[]);
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        assert!(output.stderr.contains(reason), "{}", output.stderr);
        assert!(
            output.stderr.contains("not ready after 1 s"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn istio_iptables_becomes_the_program_beside_it() {
    let folder = Folder::new("beside");
    let agent = folder.0.join("pilot-agent");
    fs::hard_link(env!("CARGO_BIN_EXE_agent"), &agent).unwrap();
    let args = ["istio-iptables", "-p", "15001", "-x", "", "--help"];
    let output = program::run_program(&agent, &args, &[("PATH", "/nonexistent")]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("cannot run istio-init"),
        "{}",
        output.stderr
    );

    let script = folder.0.join("istio-init");
    fs::write(&script, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 126\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let output = program::run_program(&agent, &args, &[]);
    assert_eq!(output.stdout, "<-p><15001><-x><><--help>");
    assert_eq!(output.code, Some(126), "{}", output.stderr);
}

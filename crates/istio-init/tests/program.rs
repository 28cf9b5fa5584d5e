//! The program from outside: its streams and exit codes, without any privilege.

use std::process::{Command, Output};

/// Runs the program with these words and variables, and no others.
fn run(words: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_istio-init"));
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args(words)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn wrong_flags_are_one_line_each_and_exit_with_2() {
    let (status, stdout, stderr) = run(&["-p", "0", "-z", "x", "--nope"], &[("PROXY_UID", "-1")]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{stderr}");
    assert!(
        lines.iter().all(|line| line.starts_with("error ")),
        "{stderr}"
    );
    for name in [
        "--nope",
        "--envoy-port",
        "--inbound-capture-port",
        "PROXY_UID=\"-1\"",
    ] {
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}

#[test]
fn with_log_as_json_every_line_is_an_object() {
    let (status, _, stderr) = run(&["--log_as_json", "-p", "\"0\"", "-c", "a\u{7f}b"], &[]);
    assert_eq!(status, Some(2));
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    for line in stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("the line is JSON");
        assert_eq!(
            (&line["level"], &line["scope"]),
            (&"error".into(), &"istio-init".into())
        );
        assert!(
            line["msg"]
                .as_str()
                .is_some_and(|message| message.contains("expected")),
            "{line}"
        );
    }
}

#[test]
fn a_dry_run_prints_the_plan_and_nothing_else() {
    let (status, stdout, stderr) = run(&["istio-iptables", "-i", "*", "-b", "*", "-n"], &[]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.starts_with("table inet istio-proxy-nat\n"),
        "{stdout}"
    );
    let (status, stdout, stderr) = run(
        &["--output=iptables"],
        &[("DRY_RUN", "true"), ("ISTIO_SERVICE_CIDR", "*")],
    );
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("* nat\n-N ISTIO_INBOUND\n"), "{stdout}");
}

#[test]
fn warnings_do_not_stop_the_work() {
    let (status, _, stderr) = run(&["-n", "-b", "80", "-d", "80"], &[]);
    assert_eq!(status, Some(0));
    assert!(stderr.starts_with("warn port 80 is included"), "{stderr}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let (status, stdout, stderr) = run(&["--help"], &[]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("--istio-service-exclude-cidr CIDRS"),
        "{stdout}"
    );
    assert_eq!(
        run(&["--version"], &[]),
        (
            Some(0),
            concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned(),
            String::new()
        )
    );
}

#[test]
fn a_reader_that_has_gone_is_an_error_and_no_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_istio-init"));
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let output = command
        .args(["-n"])
        .env_clear()
        .stdout(full)
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("error cannot write to standard output: "),
        "{stderr}"
    );
}

#[test]
fn explain_says_by_which_rule_and_a_word_that_is_wrong_is_named() {
    let packet = "tcp out 10.0.0.1:80 uid 1000";
    let (status, stdout, stderr) = run(&["explain", "--packet", packet, "-i", "*"], &[]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("  ISTIO_OUTPUT: jump ISTIO_REDIRECT\n"),
        "{stdout}"
    );
    assert!(stdout.ends_with("=> captured: redirected to port 15001 of the pod itself\n"));
    let (status, stdout, stderr) = run(&["explain", "--packet", "tcp off 10.0.0.1:80"], &[]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("\"off\": expected a direction"), "{stderr}");
}
